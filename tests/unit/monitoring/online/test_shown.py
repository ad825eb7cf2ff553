"""Which shown items were clicked, and the table that is exported of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from core.experiments import Experiment
from core.logs.events import EventLog, Interaction
from core.logs.predictions import EXPORTED, Prediction, PredictionLog
from monitoring.online.erasure import erase_exported
from monitoring.online.export import export_predictions
from monitoring.online.shown import open_shown

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLICKS = ("click", "purchase")
WINDOW_S = 600.0
TRIED = Experiment.model_validate(
    {"name": "try", "kind": "split", "variants": (), "started_at": NOON.isoformat(), "generation": 1}
)


def answer(name: str, minutes: float = 0.0, **more: Any) -> Prediction:
    fields: dict[str, Any] = {
        "recommendation_id": name,
        "at": (NOON + timedelta(minutes=minutes)).isoformat(),
        "endpoint": "/v1/recommend",
        "model": "sommelier-tiny:v1",
        "items": ("a", "b", "c"),
        "scores": (3.0, 2.0, 1.0),
        "parts": ("sequence", "text", "text"),
        "user_id": "u",
        "unit": "user",
    }
    return Prediction(**{**fields, **more})


def write(folder: Path, *answers: Prediction) -> Path:
    log = PredictionLog(folder, max_bytes=10**7, days=30, max_waiting=10**6, flush_s=0.0)
    log.start()
    for one in answers:
        assert log.add(one)
    assert log.flush(20)
    log.close()
    return folder


def event(
    number: int, item: str, minutes: float, user: str = "u", kind: str = "click", of: str | None = None
) -> Interaction:
    return Interaction(f"e{number}", user, item, kind, NOON + timedelta(minutes=minutes), None, of)


def clicked(folder: Path, *events: Interaction) -> list[tuple[str, str]]:
    log = EventLog(folder / "events.sqlite")
    log.append(events)
    with open_shown(folder / "predictions", log, CLICKS, WINDOW_S) as (connection, _):
        return connection.execute("SELECT recommendation_id, item_id FROM clicked ORDER BY ALL").fetchall()


def test_an_event_that_names_the_answer_counts_for_it_alone(tmp_path: Path) -> None:
    write(tmp_path / "predictions", answer("r1"), answer("r2", 1))
    assert clicked(tmp_path, event(1, "b", 2, of="r1"), event(2, "c", 3, user="another", of="r2")) == [
        ("r1", "b"),
        ("r2", "c"),
    ]


def test_an_event_without_a_name_counts_for_the_last_answer_that_showed_the_item(tmp_path: Path) -> None:
    write(tmp_path / "predictions", answer("r1"), answer("r2", 5), answer("r3", 6, items=("x",), scores=(1.0,)))
    assert clicked(tmp_path, event(1, "a", 2), event(2, "b", 7), event(3, "x", 5.5)) == [("r1", "a"), ("r2", "b")]


def test_an_event_without_a_name_counts_for_no_experiment_whose_list_was_not_the_last(tmp_path: Path) -> None:
    write(
        tmp_path / "predictions",
        answer("r1", experiment="try"),
        answer("r2", 1, endpoint="/v1/search", items=("a",), scores=(1.0,)),
        answer("r3", 2, items=("b",), scores=(1.0,), user_id="v"),  # somebody else's
        answer("r4", 2, items=("c",), scores=(1.0,), role="preview"),
        answer("r5", 5, experiment="another", items=("c",), scores=(1.0,)),
    )
    log = EventLog(tmp_path / "events.sqlite")
    # a was shown again by the search, and c by another experiment after its click; b only here.
    log.append([event(1, "a", 3), event(2, "b", 3), event(3, "c", 3), event(4, "c", 6), event(5, "a", 4, of="r1")])
    found = {}
    for one in ("try", "another", None):
        asked = None if one is None else TRIED.model_copy(update={"name": one})
        with open_shown(tmp_path / "predictions", log, CLICKS, WINDOW_S, experiment=asked) as (connection, _):
            rows = connection.execute(
                "SELECT recommendation_id, item_id, reacted_at FROM clicked ORDER BY ALL"
            ).fetchall()
            found[one] = [(name, item, (at - NOON).total_seconds() / 60) for name, item, at in rows]
    assert found["try"] == [("r1", "a", 4.0), ("r1", "b", 3.0), ("r1", "c", 3.0)]
    assert found["another"] == [("r5", "c", 6.0)]
    assert found[None] == sorted([*found["try"], *found["another"], ("r2", "a", 3.0)])


def test_of_an_experiment_little_is_held_and_its_memory_is_bounded(tmp_path: Path) -> None:
    write(tmp_path / "predictions", answer("r1", experiment="try"), answer("r2", experiment="another"))
    log = EventLog(tmp_path / "events.sqlite")
    with open_shown(tmp_path / "predictions", log, CLICKS, WINDOW_S, experiment=TRIED) as (connection, _):
        held = {row[0] for row in connection.execute("DESCRIBE answers").fetchall()}
        assert not held & {"scores", "parts", "propensities", "dropped", "request_id"}
        assert connection.execute("SELECT recommendation_id FROM answers").fetchall() == [("r1",)]
        ((limit, spilled),) = connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
        ).fetchall()
        assert limit.startswith("488")  # MiB
        assert Path(spilled).is_dir()
    assert not Path(spilled).exists()


@pytest.mark.parametrize(
    "no_click",
    [
        event(1, "a", 11),  # too late
        event(1, "a", 11, of="r1"),
        event(1, "a", -1),  # before it was shown
        event(1, "z", 1, of="r1"),  # was not shown
        event(1, "a", 1, of="r9"),  # of an answer that nobody knows
        event(1, "a", 1, user="v"),  # somebody else
        event(1, "a", 1, kind="impression"),
    ],
)
def test_what_is_no_click(tmp_path: Path, no_click: Interaction) -> None:
    write(tmp_path / "predictions", answer("r1"))
    assert clicked(tmp_path, no_click) == []


def test_several_events_on_an_item_are_one_click_and_a_visitors_count_too(tmp_path: Path) -> None:
    write(tmp_path / "predictions", answer("r1", user_id=None, visitor_id="v"))
    assert clicked(tmp_path, event(1, "a", 1, user="v"), event(2, "a", 2, user="v", kind="purchase")) == [("r1", "a")]


def test_a_shadow_gets_no_clicks(tmp_path: Path) -> None:
    write(tmp_path / "predictions", answer("r1", role="shadow"))
    assert clicked(tmp_path, event(1, "a", 1), event(2, "a", 1, of="r1")) == []


def test_what_was_dropped_is_counted(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "a.jsonl").write_text(
        '{"dropped": 3, "at": "2026-03-01T12:00:00+00:00"}\n{"dropped": 4, "at": "2026-02-01T12:00:00+00:00"}\n{"drop'
    )
    with open_shown(
        tmp_path / "predictions", EventLog(tmp_path / "none"), CLICKS, WINDOW_S, since=NOON - timedelta(days=1)
    ) as (connection, dropped):
        assert dropped == 3
        assert connection.execute("SELECT count(*) FROM answers").fetchall() == [(0,)]


def test_of_drops_those_count_whose_time_touches_what_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "a.jsonl").write_text(
        '{"dropped": 1, "dropped_since": "2026-02-27T12:00:00+00:00", "at": "2026-02-28T11:00:00+00:00"}\n'
        '{"dropped": 10, "dropped_since": "2026-02-27T12:00:00+00:00", "at": "2026-03-09T12:00:00+00:00"}\n'
        '{"dropped": 100, "dropped_since": "2026-03-01T12:00:00+00:00", "at": "2026-03-09T12:00:00+00:00"}\n'
        '{"dropped": 1000, "dropped_since": "2026-03-01T12:00:01+00:00", "at": "2026-03-09T12:00:00+00:00"}\n'
        '{"dropped": 10000, "at": "2026-03-01T12:00:00+00:00"}\n'
        '{"dropped": 100000, "at": "2026-03-01T12:00:01+00:00"}\n'
    )
    since = NOON - timedelta(days=1)
    for until, expected in ((NOON, 10_110), (None, 111_110)):
        given: dict[str, Any] = {"since": since, "until": until}
        with open_shown(tmp_path / "predictions", EventLog(tmp_path / "none"), CLICKS, WINDOW_S, **given) as (
            _,
            dropped,
        ):
            assert dropped == expected


def test_the_export_has_a_row_per_shown_item_and_says_what_was_clicked(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        answer("r1", propensities=(0.8, 0.1, 0.1)),
        answer("r2", 1, items=(), scores=(), parts=()),
        answer("r3", 2, items=("a",), scores=(1.0,), parts=(), user_id=None, visitor_id="v", unit="visitor"),
    )
    events = EventLog(tmp_path / "events.sqlite")
    events.append([event(1, "b", 1, kind="purchase", of="r1")])
    file, rows = export_predictions(log, events, log / EXPORTED, CLICKS, WINDOW_S)
    assert rows == 4
    table = duckdb.sql(
        "SELECT recommendation_id, position, item_id, score, part, propensity, clicked, event, user_id, visitor_id "
        f"FROM read_parquet('{file}')"
    ).fetchall()
    assert table == [
        ("r1", 1, "a", 3.0, "sequence", 0.8, False, None, "u", None),
        ("r1", 2, "b", 2.0, "text", 0.1, True, "purchase", "u", None),
        ("r1", 3, "c", 1.0, "text", 0.1, False, None, "u", None),
        ("r3", 1, "a", 1.0, None, None, False, None, None, "v"),
    ]
    assert str(pq.read_schema(file).field("at").type) == "timestamp[us, tz=UTC]"


def test_an_export_is_rewritten_without_the_forgotten(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        answer("r1", user_id="gone-user"),
        answer("r2", 1),
        answer("r3", 2, user_id=None, visitor_id="gone-user"),
    )
    file, _ = export_predictions(log, EventLog(tmp_path / "none"), log / EXPORTED, CLICKS, WINDOW_S)
    assert erase_exported(log, lambda user: user == "gone-user") == 6
    assert pq.read_table(file).column("recommendation_id").unique().to_pylist() == ["r2"]
    assert b"gone-user" not in file.read_bytes()
    assert erase_exported(log, lambda user: user == "gone-user") == 0
    assert erase_exported(tmp_path / "none", lambda _: True) == 0


def test_the_export_says_what_rules_did_to_each_place(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        answer("r1", rules=("pin:spring", "", "boost:0 bury:1")),
        answer("r2", 1),
    )
    events = EventLog(tmp_path / "events.sqlite")
    events.append([event(1, "a", 1, of="r1")])
    file, _ = export_predictions(log, events, log / EXPORTED, CLICKS, WINDOW_S)
    rows = [(row["recommendation_id"], row["item_id"], row["rule"], row["clicked"]) for row in rows_of(file)]
    assert rows == [
        ("r1", "a", "pin:spring", True),
        ("r1", "b", None, False),
        ("r1", "c", "boost:0 bury:1", False),
        ("r2", "a", None, False),
        ("r2", "b", None, False),
        ("r2", "c", None, False),
    ]


def rows_of(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found
