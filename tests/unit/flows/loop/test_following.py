"""What follows from a look: alarms are told once, what is wanted is started once, and a bad source is no storm."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import duckdb
import pytest
from prefect.logging import disable_run_logger

from core.layout import Layout
from core.logs.timeline import Timeline
from core.promotions import model_folder
from core.settings.loop import RetrainingSettings
from core.storage import write_json
from flows.loop import changes, following, notices
from flows.loop.following import follow
from flows.params import PipelineParams
from tests.unit.flows.loop.test_looks import alarm

LEARNED = datetime(2026, 1, 10, tzinfo=UTC)
RULES = RetrainingSettings(min_new_events=3, min_new_share=0.0)
SERVED = SimpleNamespace(data=SimpleNamespace(learned_until_at=LEARNED))


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop with ten events, four of them new, and the events that Prefect was sent."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    sent = []

    def emit(shop, name, says, key, payload=None):
        sent.append((name, key, payload))
        return True

    for module in (following, notices):
        monkeypatch.setattr(module, "emit", emit)
    clean = tmp_path / "clean"
    clean.mkdir()
    days = ", ".join(f"({day})" for day in range(5, 15))
    rows = f"SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_days(day - 1) AS timestamp FROM (VALUES {days}) t(day)"
    duckdb.sql(f"COPY ({rows}) TO '{clean / 'interactions.parquet'}'")
    layout = Layout(tmp_path, "vineyard")
    return SimpleNamespace(layout=layout, timeline=Timeline(layout.timeline), sent=sent, clean=clean)


def look(shop, *alarms, clean=True, rules=RULES):
    params = PipelineParams(shop="vineyard", refresh=True)
    with disable_run_logger():
        return follow(shop.layout, params, alarms, SERVED, shop.clean if clean else None, rules)


def put_in_service(shop, *steps):
    now = datetime.now(UTC)
    written = [
        {"at": (now - age).isoformat(), "action": action, "version": version, "digest": version, "withdrawn": gone}
        for action, version, gone, age in steps
    ]
    write_json(model_folder(shop.layout.model_name) / "in_service.json", {"changes": written})


def test_fifty_looks_at_broken_data_are_one_alarm_one_decision_one_event_and_no_run(shop):
    bad = alarm("data.gate", broken=True)
    assert {look(shop, bad, alarm("quality.ndcg"), clean=False).action for _ in range(50)} == {"none"}
    assert [(entry.kind, entry.subject, entry.count) for entry in shop.timeline.read()] == [
        ("alarm", "data.gate", 50),
        ("alarm", "quality.ndcg", 50),
        ("decision", "none", 50),
    ]
    assert [name for name, _, _ in shop.sent] == ["sommelier.alarm.raised"] * 2


def test_an_alarm_is_told_by_the_next_look_where_one_was_killed_before_it_told(shop, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*_):
        raise Killed

    def look_and_die(*alarms):
        with monkeypatch.context() as patched:
            patched.setattr(notices, "emit", dies)
            with pytest.raises(Killed):
                look(shop, *alarms)

    look_and_die(alarm())
    for _ in range(2):
        look(shop, alarm())
    assert [name for name, _, _ in shop.sent][:1] == ["sommelier.alarm.raised"]
    for _ in range(RULES.clear_looks - 1):
        look(shop)
    look_and_die()
    for _ in range(2):
        look(shop)
    told = [name for name, _, _ in shop.sent if name.startswith("sommelier.alarm")]
    assert told == ["sommelier.alarm.raised", "sommelier.alarm.cleared"]


def test_what_is_wanted_is_said_in_an_event_with_the_parameters_of_the_run(shop):
    look(shop, alarm())
    decided = look(shop, alarm())
    assert decided.action == "pipeline"  # nothing was ever trained in full
    entry = shop.timeline.newest("decision")
    assert (entry.subject, entry.state) == ("pipeline", "wanted")
    assert shop.timeline.find(entry.cause).subject == "data.price"
    name, _, payload = shop.sent[-1]
    assert name == "sommelier.wanted.pipeline"
    assert PipelineParams.model_validate(payload["params"]) == PipelineParams(shop="vineyard", decision=entry.id)


def test_while_a_run_is_waited_for_no_other_is_wanted_and_one_that_never_began_is_given_up(shop, monkeypatch):
    wanted = [look(shop, alarm()).action for _ in range(5)]
    assert wanted == ["none", "pipeline", "none", "none", "none"]
    assert shop.timeline.newest("decision").details["rule"] == "busy"
    later = RULES.model_copy(update={"give_up_h": 1e-9})
    assert look(shop, alarm(), rules=later).action == "pipeline"
    decisions = [(entry.subject, entry.state) for entry in shop.timeline.read(["decision"])]
    assert decisions == [("none", "nothing"), ("pipeline", "lost"), ("none", "nothing"), ("pipeline", "wanted")]


def test_what_was_withdrawn_has_learned_what_is_new(shop):
    """Of ten events four are new to the bundle that is back; a rollback keeps them from being learned again at once."""
    days = timedelta(days=1)
    put_in_service(
        shop,
        ("promoted", "v1", [], 9 * days),
        ("promoted", "v2", [], 8 * days),
        ("rolled back", "v1", ["v2"], 7 * days),
    )
    many = RULES.model_copy(update={"min_new_events": 5})
    assert look(shop, alarm("quality.ndcg"), rules=many).rule == "not yet"
    assert look(shop, alarm("quality.ndcg"), rules=many).rule == "rolled back"
    assert [entry.kind for entry in shop.timeline.read()][:3] == ["promotion", "promotion", "rollback"]
    assert look(shop, alarm("quality.ndcg")).action == "pipeline"


def test_what_follows_a_model_store_that_was_put_back_is_recorded_and_told(shop):
    kept = [("promoted", "v1", [], timedelta(days=9)), ("promoted", "v2", [], timedelta(days=8))]
    now = datetime.now(UTC)

    def put(*steps):
        written = [
            {"at": (now - age).isoformat(), "action": action, "version": version, "digest": version, "withdrawn": gone}
            for action, version, gone, age in steps
        ]
        write_json(model_folder(shop.layout.model_name) / "in_service.json", {"changes": written})

    put(*kept, ("promoted", "v3", [], timedelta(days=7)), ("promoted", "v4", [], timedelta(days=6)))
    assert len(changes.record_changes(shop.layout)) == 4
    put(*kept)  # of a backup
    assert changes.record_changes(shop.layout) == []
    put(*kept, ("rolled back", "v1", ["v2"], timedelta(days=1)))
    assert [entry.kind for entry in changes.record_changes(shop.layout)] == ["rollback"]
    assert changes.record_changes(shop.layout) == []
    assert [name for name, _, _ in shop.sent] == ["sommelier.promoted", "sommelier.rolled-back"]


def test_changes_of_what_is_in_service_are_recorded_once_and_the_newest_is_told(shop):
    put_in_service(shop, ("promoted", "v1", [], timedelta(days=2)), ("promoted", "v2", [], timedelta(days=1)))
    assert [entry.subject for entry in changes.record_changes(shop.layout, cause=7)] == [
        "sommelier-vineyard:v1",
        "sommelier-vineyard:v2",
    ]
    assert changes.record_changes(shop.layout) == []
    assert [entry.cause for entry in shop.timeline.read()] == [None, 7]
    assert [(name, payload["version"]) for name, _, payload in shop.sent] == [("sommelier.promoted", "v2")]


def test_a_promotion_whose_process_was_killed_before_it_told_is_told_by_the_next_look(shop, monkeypatch):
    put_in_service(shop, ("promoted", "v1", [], timedelta(days=1)))
    with monkeypatch.context() as patched:
        patched.setattr(notices, "emit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            changes.record_changes(shop.layout)
    look(shop)
    assert [name for name, _, _ in shop.sent] == ["sommelier.promoted"]
