"""Users and items as of moments of the past: what is known of them then, and nothing of what came later."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from core.settings.features import FeatureSettings, SeenSettings
from features.errors import CleanTablesError
from features.point_in_time.states import StatesThen
from recommender.inputs.ids import IdMap
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from tests.unit.features.shops import START_US, Row, write_shop

DAY_S = 86_400
DAY_US = DAY_S * 1_000_000
EVENTS = [
    # Three in one basket: the one of the highest position is the newest, whatever their names say.
    Row("u", "z", 0, event="purchase", position=0),
    Row("u", "b", 0, event="purchase", position=1),
    Row("u", "m", 0, event="purchase", position=2),
    Row("u", "b", DAY_S + 10, 4.0, "rating", position=3),
    Row("u", "a", DAY_S + 20, 1.0, "rating", position=4),
    Row("v", "a", DAY_S + 30, 5.0, "rating", position=5),
    Row("u", "c", 2 * DAY_S + 5, 5.0, "rating", position=6),
]  # fmt: skip
IDS = IdMap(("a", "b", "c", "new"))


def _states(folder: Path, **settings: object) -> StatesThen:
    clean = write_shop(folder, EVENTS, users={"u": {"country": "FR"}, "v": {}})
    return StatesThen(clean, FeatureSettings(**settings))  # type: ignore[arg-type]


def test_a_user_is_as_the_day_began(tmp_path: Path) -> None:
    states = _states(tmp_path)
    first, second, third = states(["u", "u", "u"], [START_US + n * DAY_US for n in (1, 2, 3)])
    assert first.items == ("z", "b", "m")
    assert (first.mean_rating, first.n_ratings, first.attributes) == (None, 0, "country FR")
    assert first.events == ("purchase",) * 3
    assert second.items == ("z", "m", "b", "a")
    assert (second.values, second.mean_rating, second.n_ratings) == ((None, None, 4.0, 1.0), 2.5, 2)
    assert second.seen == SeenItems.of_items("zbma")
    assert second.features["n_purchases"] == 3
    assert second.features["n_rating_events"] == 2
    assert third.items[-1] == "c"


def test_what_was_read_is_given_back_with_the_last_user(tmp_path: Path) -> None:
    states = _states(tmp_path)
    found, read = states(["u", "v"], [START_US + DAY_US] * 2), weakref.ref(states)
    assert found[0].items_then is found[1].items_then
    assert found[0].items_then is not None
    found[0].items_then.of(IDS)
    gc.disable()
    try:
        del states
        assert read() is not None
        del found
        assert read() is None
    finally:
        gc.enable()


def test_history_and_what_is_seen_are_as_the_settings_have_them(tmp_path: Path) -> None:
    (state,) = _states(tmp_path, max_history=2, seen=SeenSettings(events=("purchase",)))(["u"], [START_US + 2 * DAY_US])
    assert state.items == ("b", "a")
    assert state.seen == SeenItems.of_items("zbm")


def test_items_are_as_of_the_same_moment_and_shared_by_its_users(tmp_path: Path) -> None:
    states = _states(tmp_path, windows_days=(30, 1))
    u, v, before = states(["u", "v", "u"], [START_US + n * DAY_US for n in (2, 2, 1)])
    assert u.items_then is v.items_then
    assert u.items_then is not None
    assert before.items_then is not None
    assert u.items_then.of(IDS).popularity.tolist() == [[2, 2], [1, 2], [0, 0], [0, 0]]  # the shortest window first
    assert before.items_then.of(IDS).popularity.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    means = u.items_then.of(IDS).numbers(np.arange(4))["item_mean_rating"]
    np.testing.assert_array_equal(means, [3.0, 4.0, np.nan, np.nan])
    assert u.items_then.counts_at(IDS, np.array([1])).tolist() == [[1, 2]]
    assert before.items_then.day == u.items_then.day - 1


def test_two_bundles_that_ask_in_turn_share_what_was_counted_of_their_items(tmp_path: Path) -> None:
    states, others = _states(tmp_path), IdMap(("c", "a"))
    (user,) = states(["u"], [START_US + 2 * DAY_US])
    assert user.items_then is not None
    first, second = user.items_then.of(IDS), user.items_then.of(others)
    assert second.popularity[:, 0].tolist() == [0, 2]
    assert user.items_then.of(IDS) is first
    assert user.items_then.of(others) is second
    days = states(["u"] * 4, [START_US + n * DAY_US for n in (3, 4, 5, 6)])
    for day in days:
        assert day.items_then is not None
        day.items_then.of(IDS)
    assert user.items_then.of(IDS) is not first  # of few moments what was counted is kept


def test_of_strangers_nothing_is_known(tmp_path: Path) -> None:
    stranger, early = _states(tmp_path)(["nobody", "v"], [START_US + DAY_US] * 2)
    assert stranger == early == UserState(seen=SeenItems())


def test_clean_tables_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(CleanTablesError, match=r"users.*parquet"):
        StatesThen(tmp_path, FeatureSettings())
