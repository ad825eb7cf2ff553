"""A refresh with news alone ends where a full rebuild does: offline, online, for every user and item."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.logs.events import EventLog, Interaction
from core.settings.features import FeatureSettings
from features.archive.events import TABLES
from features.archive.publication import open_published, require_published
from features.archive.shop_facts import load_published
from features.counting.views import VIEWS
from features.feast.store import open_store
from features.refresh import online_store_of, refresh_features
from tests.unit.features.shops import START, Row, write_shop

SETTINGS = FeatureSettings(max_history=3, windows_days=(1, 3))
USERS = {user: {"country": "FR"} for user in "uvw"}
ITEMS: list[dict[str, Any]] = [
    {"item_id": item, "category": category, "brand": brand, "price": price}
    for item, category, brand, price in (
        ("a", "Tools", "Acme", 9.5), ("b", "Tools", None, None), ("c", "Bells", "Acme", 1.25), ("d", None, None, 3.0),
    )
]  # fmt: skip

logs = st.lists(
    st.builds(
        Row,
        user=st.sampled_from("uvwx"),
        item=st.sampled_from("abcde"),
        # Late ones too: a later part may hold what happened earlier.
        at=st.sampled_from([0.0, 1.0, 2.0, 86_400.0, 172_800.0, 400_000.0]),
        value=st.none() | st.sampled_from([1.0, 2.5, 5.0]),
        event=st.sampled_from(["view", "click", "purchase", "impression"]),
        position=st.none() | st.integers(0, 2),
    ),
    min_size=3,
    max_size=30,
)
TEXTS = ("twang and hum", "twang once more", "hum and fizz", "nothing new")
reviews = st.lists(
    st.tuples(st.sampled_from("uvy"), st.sampled_from("ab"), st.integers(0, 3).map(float), st.sampled_from(TEXTS)),
    unique_by=lambda review: review[:3],
    max_size=8,
)


@settings(
    max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(logs, reviews, st.data())
def test_parts_end_where_a_rebuild_does(log: list[Row], reviews: list[Any], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(1, len(log)), min_size=1, max_size=2)))
    changed = data.draw(st.sampled_from([None, "Bells", "Whistles"]))
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), 0
        for cut in [*cuts, len(log)]:
            last = cut == len(log)
            items = [{**ITEMS[0], "category": changed}, *ITEMS[1:]] if last else ITEMS[:3]
            users = {**USERS, "u": {"country": "NL"}} if last else USERS
            clean = write_shop(
                folder / "clean",
                log[:cut],
                users=users,
                items=items,
                reviews=reviews if last else reviews[: len(reviews) // 2],
            )
            summary = refresh_features(clean, folder / "parts", SETTINGS)
            assert summary.new_events == cut - before
            assert summary.rebuilt == (before == 0)
            before = cut
        assert refresh_features(clean, folder / "whole", SETTINGS).rows == summary.rows
        assert rows_online(folder / "parts") == rows_online(folder / "whole")
        assert archived(folder / "parts") == archived(folder / "whole")


def test_what_is_gone_from_the_tables_goes_from_the_store(tmp_path: Path) -> None:
    log = [Row("u", "a", 1), Row("u", "b", 2), Row("v", "e", 3)]
    refresh_features(write_shop(tmp_path / "clean", log, items=ITEMS), tmp_path / "feast", SETTINGS)
    clean = write_shop(tmp_path / "clean", log[:1], items=ITEMS)
    summary = refresh_features(clean, tmp_path / "feast", SETTINGS)
    assert (summary.rebuilt, summary.rows["events"]) == (True, 1)
    refresh_features(clean, tmp_path / "whole", SETTINGS)
    assert rows_online(tmp_path / "feast") == rows_online(tmp_path / "whole")
    assert {view: set(rows) for view, rows in rows_online(tmp_path / "feast").items()} == {
        "user_history": {"u"}, "user_profile": {"u"}, "user_seen": {"u"}, "item_profile": {"a", "b", "c", "d"},
    }  # fmt: skip


def test_many_parts_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.refresh.MAX_PARTS", 3)
    log = [Row("u", "abc"[n % 3], n) for n in range(4)]
    for n in range(1, len(log) + 1):
        clean = write_shop(tmp_path / "clean", log[:n], users=USERS, items=ITEMS)
        refresh_features(clean, tmp_path / "feast", SETTINGS)
    assert require_published(tmp_path / "feast").n_parts == 2
    refresh_features(clean, tmp_path / "whole", SETTINGS)
    assert archived(tmp_path / "feast") == archived(tmp_path / "whole")
    assert rows_online(tmp_path / "feast") == rows_online(tmp_path / "whole")


def test_a_refresh_that_was_killed_before_publishing_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = [Row("u", "a", 1), Row("u", "b", 2), Row("v", "c", 3)]
    refresh_features(write_shop(tmp_path / "clean", log[:2], items=ITEMS), tmp_path / "feast", SETTINGS)
    clean = write_shop(tmp_path / "clean", log, items=ITEMS)
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refresh_features(clean, tmp_path / "feast", SETTINGS)
    assert len(load_published(tmp_path / "feast")[1].events) == 2
    assert refresh_features(clean, tmp_path / "feast", SETTINGS).new_events == 1
    refresh_features(clean, tmp_path / "whole", SETTINGS)
    assert rows_online(tmp_path / "feast") == rows_online(tmp_path / "whole")


def test_an_event_counts_once_whichever_way_it_comes_first(tmp_path: Path) -> None:
    """Through the clean tables before its push, or through the push before the clean tables."""
    from features.online import OnlineFeatures

    log, feast = EventLog(tmp_path / "events.sqlite", above=0), tmp_path / "feast"
    old = [Row("u", "a", 1), Row("u", "b", 2)]
    clean = write_shop(tmp_path / "clean", old, items=ITEMS)
    refresh_features(clean, feast, SETTINGS, event_log=log.path)
    events = [Interaction(f"l{n}", "u", "c", "view", Row("u", "c", 5 + n).timestamp) for n in (1, 2, 3)]
    log.append(events)
    rows = [Row("u", "c", 5 + n, position=n, event_id=f"l{n}") for n in (1, 2, 3)]
    online = OnlineFeatures(feast, SETTINGS)
    online.push(events[:1], [1])
    clean = write_shop(tmp_path / "clean", [*old, *rows[:2]], items=ITEMS)
    refresh_features(clean, feast, SETTINGS, event_log=log.path)
    for _ in range(2):
        online.push(events, [1, 2, 3])
        state = online.read_user("u", START)
        assert state is not None
        assert state.features["n_events"] == 5
        assert list(online.read_items(["c"], START)["item_n_events"]) == [3]
    log.close()


def rows_online(feast: Path) -> dict[str, dict[str, Any]]:
    """Every row of every view."""
    store = open_store(feast)
    online = online_store_of(store)
    connection = online._get_conn(store.config)
    found = {}
    for view in VIEWS:
        entities = [entity for (entity,) in connection.execute(f"SELECT entity FROM {view} ORDER BY 1")]
        rows = online.read_rows(store.config, view, entities)
        found[view] = {row.entity: repr((row.facts(view), row.newest_us, row.n_events)) for row in rows}
    return found


def archived(feast: Path) -> dict[str, list[str]]:
    """Every row of the offline store, in an order of their own."""
    published = require_published(feast)
    archive = open_published(feast, published)
    return {table: sorted(map(repr, archive.read(table, published.n_parts).to_pylist())) for table in TABLES}
