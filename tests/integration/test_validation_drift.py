"""Simulated shops, validated and monitored: dirt and drift are found, and only where there is some."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.logs.events import EventLog, Interaction
from core.settings.monitoring import DriftSettings
from core.settings.source import SimulatedSource
from core.settings.validation import ValidationSettings
from monitoring.answers.staleness import Learned
from monitoring.drift import Places, report_drift
from monitoring.signals.activity import FloodRule
from tests.unit.validation.source_files import read_rows
from validation.gate import validate
from validation.sources.ingest import ingest
from validation.summary import ValidationSummary

pytestmark = pytest.mark.long


def _shop(folder: Path, **settings: object) -> ValidationSummary:
    source = SimulatedSource(n_users=400, n_items=150, **settings)
    log = folder / "events.sqlite"
    at = datetime(2026, 7, 1, tzinfo=UTC)
    visits = [("u10000", "i10000"), ("newcomer", "i10001"), ("u10000", "no-such-item")]
    EventLog(log).append([Interaction(f"live-{user}-{item}", user, item, "view", at) for user, item in visits])
    ingest(source, folder / "raw", log)
    return validate(folder / "raw", folder / "clean", ValidationSettings(), folder / "docs")


@pytest.fixture(scope="module")
def clean_shop(tmp_path_factory: pytest.TempPathFactory) -> ValidationSummary:
    return _shop(tmp_path_factory.mktemp("shop"), dirty_share=0.0)


def test_a_clean_shop_loses_only_the_unknown_item_of_the_event_log(clean_shop: ValidationSummary) -> None:
    assert {name: table.rules for name, table in clean_shop.tables.items()} == {
        "users": {},
        "items": {},
        "interactions": {"item_id_known": 1},
        "feedback": {},
    }
    assert all(table.duplicates == 0 for table in clean_shop.tables.values())
    rows = read_rows(clean_shop.folder / "interactions.parquet")
    live = {row["event_id"] for row in rows if row["event_id"].startswith("live")}
    assert live == {"live-u10000-i10000", "live-newcomer-i10001"}


def test_a_visitor_of_the_service_becomes_a_user(clean_shop: ValidationSummary) -> None:
    assert clean_shop.tables["users"].rows_derived == 1
    assert "newcomer" in {row["user_id"] for row in read_rows(clean_shop.folder / "users.parquet")}


def test_a_dirty_shop_is_cleaned(tmp_path: Path) -> None:
    summary = _shop(tmp_path, dirty_share=0.05)
    events = summary.tables["interactions"]
    assert 0.02 < events.quarantined_share < 0.06
    assert events.duplicates > 0
    assert {"item_id_required", "user_id_required", "item_id_known", "timestamp_in_range", "timestamp_parses",
            "event_in_set", "value_parses", "value_in_range"} <= set(events.rules)  # fmt: skip
    assert {"text_required", "item_id_known"} <= set(summary.tables["feedback"].rules)
    assert summary.tables["feedback"].warnings["rating_parses"] == summary.tables["feedback"].cleaned["emptied_rating"]
    assert not any("&amp;" in row["text"] for row in read_rows(summary.folder / "feedback.parquet"))
    known = {row["item_id"] for row in read_rows(summary.folder / "items.parquet")}
    assert {row["item_id"] for row in read_rows(summary.folder / "interactions.parquet")} <= known


@pytest.mark.parametrize("drift", ["none", "taste", "catalogue"])
def test_drift_is_reported_where_there_is_some(tmp_path: Path, drift: str, clean_shop: ValidationSummary) -> None:
    summary = clean_shop if drift == "none" else _shop(tmp_path, dirty_share=0.0, drift=drift)
    places = Places(summary.folder, tmp_path / "monitoring", tmp_path / "looks", tmp_path / "drift.html")
    end = datetime(2026, 6, 30, tzinfo=UTC)  # the visits of the service come later
    report = report_drift(places, "shop", Learned(end), DriftSettings(), FloodRule(20, 50), end)
    assert report.drifted == (drift != "none"), [alarm.says for alarm in report.alarms]
