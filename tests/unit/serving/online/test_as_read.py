"""What is kept of the features that a list was made by: the values as they were read, and no more than a little."""

from __future__ import annotations

from pydantic_core import from_json, to_json

from features.counting.sketches import Arrival, Attributes, new_user, take_into_user
from features.online import FeaturesOf
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from serving.online.as_read import KEPT_ITEMS, features_as_read

SECOND_US = 1_000_000


def test_counts_are_those_of_the_row_and_the_features_are_not_worked_out() -> None:
    row = new_user()
    for second, item in enumerate(["a", "b", "b"]):
        kind, value = ("rating", 4.0) if item == "b" else ("view", None)
        arrival = Arrival(item, kind, True, value, second * SECOND_US, second, second)
        take_into_user(row, arrival, Attributes("Tea", None, None), 20)
    features = FeaturesOf(row, 60 * SECOND_US, 3)
    user = UserState.from_row(row | {"mean_rating": 4.0}, features=features, seen=SeenItems.of_items(["a", "b"]))
    found = from_json(to_json(features_as_read(user)))
    assert found["history"] == ["a", "b"]
    assert found["events"] == ["view", "rating"]
    assert found["ratings"] == [None, 4.0]
    assert (found["n_history"], found["n_seen"], found["mean_rating"]) == (2, 2, 4.0)
    assert found["counts"]["n_events"] == 3
    assert found["counts"]["n_ratings"] == row["n_ratings"]
    assert found["counts"]["last_event_us"] == 2 * SECOND_US
    assert "n_purchases" not in found["counts"], "zeros are left out"
    assert (found["categories"], found["brands"]) == (["Tea"], [])
    assert "_found" not in vars(features)


def test_of_a_long_history_the_newest_is_kept_and_all_is_counted() -> None:
    items = tuple(f"item-{number:08d}" for number in range(5000))
    row = new_user() | {
        "n_events": 10**9,
        "categories": [f"c{n}" for n in range(900)],
        "category_counts": [9] * 900,
    }
    user = UserState(
        items, (5.0,) * 5000, events=("purchase",) * 5000, attributes="x" * 9000, features=FeaturesOf(row, 0, 3)
    )
    found = features_as_read(user)
    assert found["history"] == items[-KEPT_ITEMS:]
    assert (len(found["events"]), len(found["ratings"]), found["n_history"]) == (KEPT_ITEMS, KEPT_ITEMS, 5000)
    assert found["categories"] == ["c0", "c1", "c2"]
    assert len(to_json(found)) < 1000


def test_of_long_names_the_beginning_is_kept() -> None:
    row = new_user() | {"categories": ["c" * 2000] * 3, "brands": ["b" * 2000] * 3}
    user = UserState(("i" * 2000,) * 20, (None,) * 20, features=FeaturesOf(row, 0, 3))
    found = features_as_read(user)
    assert found["history"] == ("i" * 100,) * KEPT_ITEMS
    assert (found["categories"], found["brands"]) == (["c" * 100] * 3, ["b" * 100] * 3)


def test_of_nobody_known_and_of_a_bare_history_there_are_no_counts() -> None:
    assert features_as_read(UserState()) == {
        "history": (),
        "n_history": 0,
        "n_seen": 0,
        "mean_rating": None,
        "attributes": "",
    }
    assert features_as_read(UserState.from_history(["a"]))["history"] == ("a",)
