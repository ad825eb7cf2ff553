"""Whatever clients send: after the data gate and a refresh, the online rows are those of a rebuild, and stay so."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from core.logs.events import EventLog
from core.settings.features import FeatureSettings
from core.settings.source import TablesSource
from core.settings.validation import ValidationSettings
from features.online import OnlineFeatures
from features.refresh import refresh_features
from serving.api.events import EventsRequest
from serving.errors import BadRequest
from serving.events.intake import EventIntake
from serving.events.terms import EventTerms
from tests.integration.features.test_incremental import archived
from tests.integration.features.test_repair import rows_online
from tests.unit.validation.source_files import json_lines, write
from validation.gate import validate
from validation.sources.ingest import ingest

pytestmark = pytest.mark.long

FEATURES = FeatureSettings(max_history=3, windows_days=(1, 3))
RULES = ValidationSettings(min_interactions=1, max_quarantined_share=1.0)
TERMS = EventTerms(names={"buy": "purchase", "noise": ""})
START = datetime(2026, 2, 1, tzinfo=UTC)
ITEMS = [{"item_id": f"i{n}", "category": "Tea", "price": n} for n in range(3)]
ROWS: list[dict[str, Any]] = [
    {"event_id": f"s{n}", "user_id": f"u{n % 2}", "item_id": f"i{n % 3}", "event": "view",
     "timestamp": (START - timedelta(hours=n + 1)).isoformat()}
    for n in range(6)
]  # fmt: skip

events = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from([None, " ", "x", "x.0", "8.0", "s1"]),
        "user_id": st.sampled_from(["u0", "u1", " u1 ", "visitor", "7.0", "7", "\u00a0", "null"]),
        "item_id": st.sampled_from(["i0", "i1", " i2", "ghost", "spirit", ""]),
        "event": st.sampled_from(["view", "rating", "buy", "noise", "impression", "wish"]),
        "value": st.sampled_from([None, None, 1.0, 4.5, 5.0, 0.0]),
        "timestamp": st.none() | st.integers(0, 5).map(lambda hours: (START + timedelta(hours=hours)).isoformat()),
    }
)
rounds = st.lists(st.tuples(st.lists(events, max_size=8), st.lists(events, max_size=4)), min_size=2, max_size=2)


def sent(user: str, item: str) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "event": "view", "timestamp": START.isoformat()}


def send(intake: EventIntake, batch: list[dict[str, Any]]) -> None:
    """One request per event, as a client whose request was refused would go on."""
    for event in batch:
        try:
            request = EventsRequest.model_validate_json(json.dumps({"events": [event]}))
            assert intake.accept(request.interactions(TERMS)).pushed
        except (BadRequest, ValueError):
            continue


def pass_gate(folder: Path, log: EventLog, exported: list[dict[str, Any]]) -> Path:
    write(folder / "in" / "interactions.jsonl", json_lines(*ROWS, *exported))
    write(folder / "in" / "items.jsonl", json_lines(*ITEMS))
    ingest(TablesSource(path=folder / "in"), folder / "raw", log.path)
    return validate(folder / "raw", folder / "clean", RULES, folder / "docs").folder


def export(log: EventLog) -> list[dict[str, Any]]:
    """Every second event, as a warehouse gives it: its clock knows whole seconds."""
    return [
        {"event_id": one.event_id, "user_id": one.user_id, "item_id": one.item_id, "event": one.event,
         "value": one.value, "timestamp": one.timestamp.isoformat(timespec="seconds")}
        for sequence, one in log.read() if sequence % 2
    ]  # fmt: skip


@settings(
    max_examples=2, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@example([([sent("u0", "ghost"), sent("visitor", "ghost"), sent("u1", "i0")], [sent("7.0", "spirit")]), ([], [])])
@given(rounds)
def test_events_through_gate_and_refresh_end_where_a_rebuild_does(rounds: list[tuple[Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        feast, log = folder / "feast", EventLog(folder / "events.sqlite")
        refresh_features(pass_gate(folder, log, []), feast, FEATURES, event_log=log.path)
        online, intake = OnlineFeatures(feast, FEATURES), EventIntake(log)
        intake.connect(online)
        for before, meanwhile in rounds:
            send(intake, before)
            clean = pass_gate(folder, log, export(log))
            send(intake, meanwhile)  # pushed, and not known to the tables
            log.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=1)
            refresh_features(clean, feast, FEATURES, event_log=log.path)
        clean = pass_gate(folder, log, export(log))
        refresh_features(clean, feast, FEATURES, event_log=log.path)
        refresh_features(clean, folder / "whole", FEATURES, event_log=log.path)
        whole = rows_online(folder / "whole")
        assert rows_online(feast) == whole
        assert archived(feast) == archived(folder / "whole")
        logged = list(log.read())
        online.push([event for _, event in logged], [sequence for sequence, _ in logged])
        assert rows_online(feast) == whole
        log.close()
