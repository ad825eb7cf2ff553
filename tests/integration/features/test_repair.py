"""A wrong online history does not outlive the next refresh, and what was refused does not come back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.logs.events import EventLog, Interaction
from core.settings.features import FeatureSettings
from features.archive.publication import require_published
from features.feast.store import open_store
from features.online import OnlineFeatures
from features.refresh import online_store_of, refresh_features
from serving.events.intake import EventIntake
from tests.integration.features.test_incremental import rows_online as rows_with_numbers
from tests.unit.features.shops import Row, write_shop

SETTINGS = FeatureSettings(max_history=3, windows_days=(1, 3))
ITEMS = [{"item_id": item, "price": 2.0} for item in "abc"]
OLD = [Row("u", "a", 1), Row("u", "b", 2), Row("v", "a", 3)]


class SealingLog(EventLog):
    """A log whose events are sealed as soon as they are there."""

    def append(self, events: Sequence[Interaction]) -> list[Interaction]:
        new = super().append(events)
        self.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=1)
        return new


@pytest.fixture(params=[EventLog, SealingLog])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    log = request.param(tmp_path / "events.sqlite", above=0)
    yield log
    log.close()


def rows_online(feast: Path) -> dict[str, dict[str, str]]:
    """Every row of every view, but for the number in the event log up to which it is known."""
    return {
        view: {entity: re.sub(r"'\w*log_sequence': \d+", "", row) for entity, row in rows.items()}
        for view, rows in rows_with_numbers(feast).items()
    }


def logged(user: str, item: str, n: int) -> Interaction:
    return Interaction(f"l{n}", user, item, "view", Row(user, item, 10 + n).timestamp)


def clean_of(tmp_path: Path, rows: list[Row], mark: int, items: Sequence[dict[str, Any]] = ITEMS) -> Path:
    """Clean tables that were made when the log had so many events."""
    folder = write_shop(tmp_path / "clean", rows, items=items)
    (folder / "summary.json").write_text(json.dumps({"log_sequence": mark}), encoding="utf-8")
    return folder


def test_what_the_gate_refused_leaves_the_online_store_with_the_next_refresh(tmp_path: Path, log: EventLog) -> None:
    """Whether its entities have other events, have none, or are a user that nothing else names."""
    feast = tmp_path / "feast"
    refresh_features(clean_of(tmp_path, OLD, 0), feast, SETTINGS, event_log=log.path)
    online = OnlineFeatures(feast, SETTINGS)
    assert len(online.read_items(["c"])["item_n_events"]) == 1
    events = [logged("u", "c", 1), logged("visitor", "c", 2), logged("v", "b", 3), logged("v", "c", 4)]
    log.append(events)
    online.push(events, [1, 2, 3, 4])
    assert list(online.read_items(["c"])["item_n_events"]) == [3]
    rows = [*OLD, Row("v", "b", 13, position=3, event_id="l3")]
    clean = clean_of(tmp_path, rows, 4)
    summary = refresh_features(clean, feast, SETTINGS, event_log=log.path)
    assert (summary.new_events, summary.rebuilt) == (1, False)
    refresh_features(clean, tmp_path / "whole", SETTINGS, event_log=log.path)
    assert rows_online(feast) == rows_online(tmp_path / "whole")
    # The service has a copy of the items' rows.
    assert list(online.read_items(["c"])["item_n_events"]) == [0]
    # Late pushes of the same events change nothing: neither of rows that are gone nor of those that stay.
    online.push(events, [1, 2, 3, 4])
    assert rows_online(feast) == rows_online(tmp_path / "whole")
    # What comes after the mark does.
    online.push([logged("visitor", "c", 5)], [5])
    assert online.read_user("visitor") is not None
    assert list(online.read_items(["c"])["item_n_events"]) == [1]


def test_refused_events_alone_are_a_reason_to_refresh(tmp_path: Path, log: EventLog) -> None:
    """The clean tables are the same as before then."""
    feast = tmp_path / "feast"
    clean = clean_of(tmp_path, OLD, 0)
    refresh_features(clean, feast, SETTINGS, event_log=log.path)
    before = rows_online(feast)
    log.append([logged("u", "c", 1)])
    OnlineFeatures(feast, SETTINGS).push([logged("u", "c", 1)], [1])
    assert rows_online(feast) != before
    summary = refresh_features(clean_of(tmp_path, OLD, 1), feast, SETTINGS, event_log=log.path)
    assert (summary.new_events, summary.rebuilt) == (0, False)
    assert rows_online(feast) == before
    assert require_published(feast).log_sequence == 1


def test_a_push_beyond_the_mark_stays(tmp_path: Path, log: EventLog) -> None:
    feast = tmp_path / "feast"
    refresh_features(clean_of(tmp_path, OLD, 0), feast, SETTINGS, event_log=log.path)
    events = [logged("visitor", "b", 1), logged("visitor", "c", 2)]
    log.append(events)
    online = OnlineFeatures(feast, SETTINGS)
    online.push(events, [1, 2])
    refresh_features(clean_of(tmp_path, OLD, 1), feast, SETTINGS, event_log=log.path)
    state = online.read_user("visitor")
    assert state is not None
    assert "c" in state.items
    # It is known with the next mark, and so is that the other one was refused.
    rows = [*OLD, Row("visitor", "c", 12, position=2, event_id="l2")]
    clean = clean_of(tmp_path, rows, 2)
    refresh_features(clean, feast, SETTINGS, event_log=log.path)
    refresh_features(clean, tmp_path / "whole", SETTINGS, event_log=log.path)
    assert rows_online(feast) == rows_online(tmp_path / "whole")


def post(log: EventLog, online: OnlineFeatures, events: list[Interaction]) -> None:
    """As the service does."""
    intake = EventIntake(log)
    intake.connect(online)
    assert intake.accept(events).pushed


def test_an_event_on_an_unknown_item_waits_for_the_refresh_that_brings_the_item(tmp_path: Path, log: EventLog) -> None:
    feast = tmp_path / "feast"
    refresh_features(clean_of(tmp_path, OLD, 0), feast, SETTINGS, event_log=log.path)
    online = OnlineFeatures(feast, SETTINGS)
    post(log, online, [logged("u", "new", 1), logged("u", "a", 2), logged("visitor", "new", 3)])
    assert [event.item_id for _, event in log.read()] == ["new", "a", "new"]
    assert n_events(online, "u", "new") == (3, 0)
    assert online.read_user("visitor") is None

    rows = [*OLD, *(Row(u, i, 10 + n, position=n, event_id=f"l{n}") for u, i, n in
                    (("u", "new", 1), ("u", "a", 2), ("visitor", "new", 3)))]  # fmt: skip
    clean = clean_of(tmp_path, rows, 3, [*ITEMS, {"item_id": "new", "price": 1.0}])
    refresh_features(clean, feast, SETTINGS, event_log=log.path)
    refresh_features(clean, tmp_path / "whole", SETTINGS, event_log=log.path)
    assert rows_online(feast) == rows_online(tmp_path / "whole")
    assert n_events(online, "u", "new") == (4, 2)
    post(log, online, [logged("visitor", "new", 4)])
    assert n_events(online, "visitor", "new") == (2, 3)


def n_events(online: OnlineFeatures, user: str, item: str) -> tuple[int, int]:
    state = online.read_user(user)
    assert state is not None
    return int(state.features["n_events"]), int(online.read_items([item])["item_n_events"][0])


def test_events_count_after_the_log_was_deleted_and_what_only_it_held_goes(tmp_path: Path) -> None:
    feast, log = tmp_path / "feast", EventLog(tmp_path / "events.sqlite")
    refresh_features(clean_of(tmp_path, OLD, 0), feast, SETTINGS, event_log=log.path)
    online = OnlineFeatures(feast, SETTINGS)
    post(log, online, [logged("u", "c", 1)])
    rows = [*OLD, Row("u", "c", 11, position=1, event_id="l1")]
    refresh_features(clean_of(tmp_path, rows, log.newest()), feast, SETTINGS, event_log=log.path)
    post(log, online, [logged("v", "c", 2)])  # no refresh knows of it
    assert list(online.read_items(["c"])["item_n_events"]) == [2]

    for file in tmp_path.glob("events.sqlite*"):
        file.unlink()
    post(log, online, [logged("w", "c", 3)])
    assert list(online.read_items(["c"])["item_n_events"]) == [3]
    rows = [*OLD, Row("w", "c", 13, position=1, event_id="l3")]
    clean = clean_of(tmp_path, rows, log.newest())
    assert refresh_features(clean, feast, SETTINGS, event_log=log.path).rebuilt
    assert list(online.read_items(["c"])["item_n_events"]) == [1]
    refresh_features(clean, tmp_path / "whole", SETTINGS, event_log=log.path)
    assert rows_online(feast) == rows_online(tmp_path / "whole")
    post(log, online, [logged("u", "c", 4)])
    assert list(online.read_items(["c"])["item_n_events"]) == [2]
    log.close()


def test_an_event_that_no_refresh_knew_leaves_the_online_store_with_its_deleted_log(tmp_path: Path) -> None:
    """No row of the archive is gone: that the log is another one is the reason to rebuild."""
    feast, log = tmp_path / "feast", EventLog(tmp_path / "events.sqlite")
    log.append([logged("u", "a", 1)])
    rows = [*OLD, Row("u", "a", 11, position=1, event_id="l1")]
    refresh_features(clean_of(tmp_path, rows, log.newest()), feast, SETTINGS, event_log=log.path)
    online = OnlineFeatures(feast, SETTINGS)
    post(log, online, [logged("v", "c", 2)])
    for file in tmp_path.glob("events.sqlite*"):
        file.unlink()
    # The source has the first event by now.
    log.append([logged("u", "a", 1)])
    assert refresh_features(clean_of(tmp_path, rows, log.newest()), feast, SETTINGS, event_log=log.path).rebuilt
    assert list(online.read_items(["c"])["item_n_events"]) == [0]
    log.close()


def test_what_was_written_is_on_the_disk_before_a_mark_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last commit before a mark waits for the disk, and takes those before it along."""
    feast = tmp_path / "feast"
    refresh_features(clean_of(tmp_path, OLD, 0), feast, SETTINGS)
    store = open_store(feast)
    online = online_store_of(store)
    connection = online._get_conn(store.config)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    features = OnlineFeatures(feast, SETTINGS)
    features._store._opened = online, store.config
    features._store._seen = features._store._stamp()
    features.push([logged("u", "a", 1)], [1])
    connection.set_trace_callback(None)
    full = [n for n, one in enumerate(statements) if "synchronous = FULL" in one]
    last_write = max(n for n, one in enumerate(statements) if "INSERT OR REPLACE INTO item_profile" in one)
    settled = [n for n, one in enumerate(statements) if "'settled'" in one and "INSERT" in one]
    assert last_write < full[0] < settled[0]
