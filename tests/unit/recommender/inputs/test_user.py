import numpy as np

from recommender.inputs.seen import SeenItems, item_key
from recommender.inputs.user import UserState


def test_nothing_is_known_of_an_empty_row():
    assert UserState.from_row({}) == UserState()
    assert UserState().is_cold


def test_a_row_of_the_store_is_read_with_nan_as_none():
    row = {
        "history_items": np.array(["a", "b"]),
        "history_values": np.array([4.0, np.nan]),
        "history_events": np.array(["rating", "view"]),
        "mean_rating": float("nan"),
        "n_ratings": 1,
        "own_words": None,
        "attributes": "country FR",
        "seen_keys": np.array([item_key("c"), item_key("a")]),
    }
    assert UserState.from_row(row) == UserState(
        ("a", "b"), (4.0, None), None, 1, "", "country FR", SeenItems.of_items(["a", "c"]), ("rating", "view")
    )


def test_without_the_keys_nothing_is_known_of_what_was_seen_and_with_none_nothing_was():
    assert UserState.from_row({"seen_keys": None}).seen is None
    assert UserState.from_row({"seen_keys": []}).seen == SeenItems()


def test_a_history_without_values_has_as_many_nones():
    assert UserState.from_row({"history_items": ["a", "b"], "history_values": None}).values == (None, None)


def test_where_kinds_are_not_known_there_are_none():
    assert UserState.from_row({"history_items": ["a", "b"], "history_events": None}).events == ()
    assert UserState.from_history(["a", "b"]).events == ()


def test_a_bare_history_keeps_the_latest_place_of_a_repeat():
    state = UserState.from_history(["a", "b", "a", "c"])
    assert state.items == ("b", "a", "c")
    assert state.values == (None, None, None)
    assert not state.is_cold
