"""What a request reads of a user, and what a pushed event changes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.logs.events import Interaction
from core.settings.features import FeatureSettings, SeenSettings
from features.archive.publication import publish, require_published
from features.counting.views import ITEM_PROFILE, USER_HISTORY, USER_SEEN, VIEWS
from features.errors import FeatureError, StoreNotReady
from features.feast.definitions import ONLINE_USER, USER_EVENTS
from features.feast.store import ONLINE_FILE, open_store
from features.online import OnlineFeatures
from features.refresh import online_store_of, refresh_features
from recommender.inputs.ids import IdMap
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from tests.integration.features.shop import ITEMS, LATER, LOG, REVIEWS, SETTINGS, USERS, event
from tests.integration.features.superseding import check_superseding
from tests.unit.features.shops import START, Row, history_before, kinds_before, ratings_before, write_shop


def with_items(tmp_path: Path, ids: Iterable[str]) -> Path:
    """The clean tables of the shop, with more items in its catalogue."""
    more = [{"item_id": item} for item in ids]
    return write_shop(tmp_path / "more", LOG, users=USERS, items=[*ITEMS, *more], reviews=REVIEWS)


def test_an_unknown_user_is_none_and_a_quiet_one_is_cold(refreshed: Path) -> None:
    online = OnlineFeatures(refreshed, SETTINGS)
    assert online.read_user("nobody") is None
    assert online.read_user("w") == UserState(
        items=("c",), values=(1.0,), mean_rating=1.0, n_ratings=1, seen=SeenItems.of_items("c"), events=("view",)
    )
    assert online.read_user("quiet") == UserState(seen=SeenItems())


def test_feasts_own_reads_tell_what_the_quick_ones_do(refreshed: Path) -> None:
    store, online = open_store(refreshed), OnlineFeatures(refreshed, SETTINGS)
    frame = pd.DataFrame({"user_id": list(USERS), "event_timestamp": [START + timedelta(days=1)] * len(USERS)})
    offline = store.get_historical_features(frame, store.get_feature_service(ONLINE_USER)).to_arrow().to_pylist()
    served = store.get_online_features(store.get_feature_service(ONLINE_USER), {"user_id": list(USERS)}).to_dict()
    assert [row["user_id"] for row in offline] == list(USERS)
    for n, row in enumerate(offline):
        state = replace(UserState.from_row(row), mean_rating=None)
        quick = online.read_user(row["user_id"])
        assert quick is not None
        assert replace(quick, mean_rating=None) == state
        if row["user_id"] != "quiet":  # who has no row of the view has nulls there, as Feast has it
            assert repr({name: values[n] for name, values in served.items()}) == repr(
                {name: row[name] for name in served}
            )


@pytest.mark.parametrize(
    "pushed",
    [
        [event("g", 10)],
        [event("c", 10, value=5.0), event("g", 10), event("a", 11, kind="impression")],
        [event("f", 11), event("g", 10)],
        [event("a", 9.5, user="new", value=2.0), event("b", 9.7, user="new")],
        [event("d", 8)],
        [event("a", 4, value=2.0), event("e", 2), event("a", 9, kind="click")],
    ],
    ids=["new item", "rating, tie, ignored", "out of order", "new user", "same instant as the last", "late"],
)
def test_a_push_gives_what_a_refresh_with_the_events_would(
    feast: Path, tmp_path: Path, pushed: list[Interaction]
) -> None:
    online = OnlineFeatures(feast, SETTINGS)
    online.push(pushed, range(1, len(pushed) + 1))
    log = LOG + [
        Row(e.user_id, e.item_id, (e.timestamp - START).total_seconds(), e.value, e.event, n + 1, e.event_id)
        for n, e in enumerate(pushed)
    ]
    user = pushed[0].user_id
    items, values = history_before(log, user, 2**60, 3)
    ratings = ratings_before(log, 2**60, user=user)
    state = online.read_user(user, LATER)
    assert state is not None
    assert (list(state.items), list(state.values)) == (items, values)
    assert list(state.events) == kinds_before(log, user, 2**60, 3)
    assert state.n_ratings == len(ratings)
    users = {**USERS, "w": {"country": None}, **({"new": {"country": None}} if user == "new" else {})}
    clean = write_shop(tmp_path / "clean", log, users=users, items=ITEMS, reviews=REVIEWS)
    refresh_features(clean, tmp_path / "again", SETTINGS)
    again = OnlineFeatures(tmp_path / "again", SETTINGS).read_user(user, LATER)
    assert again == state
    assert again.features == state.features
    # The refreshed store gives the same again.
    refresh_features(clean, feast, SETTINGS)
    assert online.read_user(user, LATER) == state


def test_a_push_is_known_to_the_next_read_and_once_is_enough(feast: Path) -> None:
    online = OnlineFeatures(feast, SETTINGS)
    before = online.read_items(["g", "a"], LATER)["item_n_events"]
    online.push([event("g", 20, value=4.0)], [7])
    state = online.read_user("u", LATER)
    assert state is not None
    assert (state.items, state.values[-1], state.n_ratings) == (("e", "a", "g"), 4.0, 5)
    assert list(online.read_items(["g", "a"], LATER)["item_n_events"]) == [before[0] + 1, before[1]]
    online.push([event("g", 20, value=4.0)], [7])
    online.push([event("f", 20), event("g", 20, value=4.0)], [6, 7])
    again = online.read_user("u", LATER)
    assert (again, again.features) == (state, state.features)
    # Another event that looks the same is another event.
    online.push([event("g", 20, value=4.0)], [8])
    twice = online.read_user("u", LATER)
    assert twice is not None
    assert twice.n_ratings == 6


def test_a_refresh_brings_all_that_was_seen_online(tmp_path: Path) -> None:
    log = [Row("bot", f"i{n}", n) for n in range(60)] + [Row("few", "i1", 61), Row("few", "i2", 62)]
    feast = tmp_path / "feast"
    refresh_features(write_shop(tmp_path / "clean", log), feast, FeatureSettings())
    online, ids = OnlineFeatures(feast, FeatureSettings()), IdMap(tuple(f"i{n}" for n in range(60)))
    bot, few = online.read_user("bot"), online.read_user("few")
    assert bot is not None
    assert few is not None
    assert (len(bot.items), sorted(bot.seen_places(ids).tolist())) == (50, list(range(60)))
    assert sorted(few.seen_places(ids).tolist()) == [1, 2]


def test_what_was_seen_is_known_at_any_length_by_kind_and_by_age(tmp_path: Path) -> None:
    chosen = SeenSettings(events=("purchase", "impression"), within_days=1.0)
    settings = FeatureSettings(max_history=3, seen=chosen)
    refresh_features(with_items(tmp_path, [*(f"p{n}" for n in range(40)), "shown"]), tmp_path / "feast", settings)
    online = OnlineFeatures(tmp_path / "feast", settings)

    def seen(hours: float) -> SeenItems | None:
        state = online.read_user("u", START + timedelta(hours=hours))
        assert state is not None
        return state.seen

    assert seen(1) == SeenItems()  # all that u did before are views
    pushed = [event(f"p{n}", 3600 * n, kind="purchase") for n in range(40)]
    # A view makes nothing seen here, an impression does, and a late event does not make an item older.
    others = [
        event("b", 7200),
        event("shown", 3600, kind="impression"),
        event("p30", 60, kind="purchase"),
    ]
    online.push([*pushed, *others], range(1, 44))
    online.push([*pushed, *others], range(1, 44))
    assert seen(20) == SeenItems.of_items([*(f"p{n}" for n in range(40)), "shown"])
    assert seen(40) == SeenItems.of_items([f"p{n}" for n in range(16, 40)])
    assert seen(63) == SeenItems.of_items(["p39"])
    # A request may look further back than the settings do, or less far.
    at = START + timedelta(hours=63)
    assert online.read_seen("u", 30.0, at) == seen(20)
    assert online.read_seen("u", 1.0, at) == seen(63)
    assert online.read_seen("nobody", 30.0, at) == SeenItems()
    assert seen(63.1) == SeenItems()


def test_a_store_of_another_version_is_not_read(feast: Path) -> None:
    published = require_published(feast)
    publish(feast, published.model_copy(update={"version": published.version - 1}))
    online = OnlineFeatures(feast, SETTINGS)
    with pytest.raises(StoreNotReady, match=rf"version={published.version - 1}, expected {published.version}, that of"):
        online.read_user("u")
    publish(feast, published)
    assert online.read_user("u") is not None


def test_a_refresh_with_older_tables_leaves_a_newer_push_alone(clean: Path, feast: Path, tmp_path: Path) -> None:
    online = OnlineFeatures(feast, SETTINGS)
    online.push([event("g", 20), event("a", 9, user="v")], [1, 2])
    # v's newest event is of the same time as the push, so only the number of events shows which row holds more.
    refresh_features(clean, feast, FeatureSettings(max_history=3, n_affinities=1))
    states = [online.read_user(user) for user in "uv"]
    assert [state.items[-1] for state in states if state] == ["g", "f"]
    assert [state.features["n_events"] for state in states if state] == [8, 3]


def test_pushes_at_once_lose_nothing(tmp_path: Path) -> None:
    feast = tmp_path / "feast"
    refresh_features(with_items(tmp_path, (f"g{n}" for n in range(30))), feast, SETTINGS)
    onlines = [OnlineFeatures(feast, FeatureSettings(max_history=50)) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: onlines[n % 2].push([event(f"g{n}", 20 + n, user=f"x{n}")], [n + 1]), range(30)))
    assert list(onlines[0].read_items([f"g{n}" for n in range(30)])["item_n_events"]) == [1] * 30
    states = [onlines[1].read_user(f"x{n}") for n in range(30)]
    assert [state.items for state in states if state] == [(f"g{n}",) for n in range(30)]


def test_another_process_reads_and_pushes_while_this_one_refreshes(tmp_path: Path) -> None:
    feast, clean = tmp_path / "feast", with_items(tmp_path, (f"p{n}" for n in range(60)))
    refresh_features(clean, feast, SETTINGS)
    script = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from features.feast.offline_store import with_columns
from features.online import OnlineFeatures
from core.settings.features import FeatureSettings
from core.logs.events import Interaction
online = OnlineFeatures(Path(sys.argv[1]), FeatureSettings(max_history=100))
print("ready", flush=True)
for n in range(60):
    at = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=n)
    online.push([Interaction(f"p{n}", "x", f"p{n}", "view", at)], [n + 1])
    assert online.read_user("u") is not None
print(len(online.read_user("x").items))
"""
    other = subprocess.Popen([sys.executable, "-c", script, str(feast)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    for max_history in (2, 3, 2, 3):
        refresh_features(clean, feast, FeatureSettings(max_history=max_history))
    assert other.communicate(timeout=120)[0] == "60\n"
    assert other.returncode == 0


def test_a_time_without_a_zone_is_refused(refreshed: Path) -> None:
    naive = Interaction("e", "u", "a", "view", datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(FeatureError, match="timestamp=2026-01-01T00:00:00, expected a time zone"):
        OnlineFeatures(refreshed, SETTINGS).push([naive], [1])


def test_a_stored_row_is_replaced_only_by_one_that_holds_as_much(feast: Path) -> None:
    check_superseding(feast)


def test_feasts_own_push_and_materialise_write_the_same_rows(clean: Path, tmp_path: Path) -> None:
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    store = open_store(tmp_path / "feast")
    online = online_store_of(store)
    before = {
        view: online.read_rows(store.config, view, entities)
        for view, entities in (
            (USER_HISTORY, ["u", "v", "w"]),
            (USER_SEEN, ["u", "v", "w"]),
            (ITEM_PROFILE, list("abcdefg")),
        )
    }
    for path in (tmp_path / "feast").glob(f"{ONLINE_FILE}*"):
        path.unlink()
    store = open_store_again(tmp_path / "feast")
    store.materialize(START - timedelta(days=1), START + timedelta(days=1), feature_views=list(VIEWS))
    again = online_store_of(store)
    for view, rows in before.items():
        assert again.read_rows(store.config, view, [row.entity for row in rows]) == rows
    facts = {**before[USER_HISTORY][0].facts(USER_HISTORY), "n_views": 99, "n_events": 99}
    at = START + timedelta(days=9)
    frame = pd.DataFrame([{"user_id": "u", "timestamp": at, "event_timestamp": at, **facts}])
    store.push(USER_EVENTS, frame)
    assert again.read_rows(store.config, USER_HISTORY, ["u"])[0].facts(USER_HISTORY)["n_events"] == 99


def open_store_again(folder: Path) -> Any:
    """The store with tables of its own to write into."""
    from core.settings.features import FeatureStoreSettings
    from features.feast.definitions import define_repository
    from features.feast.store import create_store

    store = create_store(folder)
    store.apply(define_repository(folder, FeatureStoreSettings()))
    return store
