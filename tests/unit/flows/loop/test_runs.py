"""A run on the time line: what it follows from and how it ended, without values that an error is about."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from prefect.exceptions import Pause

from core.errors import SommelierError
from core.logs.timeline import Timeline
from core.settings.loop import RetrainingSettings
from flows.loop import evidence, runs
from flows.loop.evidence import _took
from flows.loop.runs import WAITED_S, record_end, recorded, settle_lost_runs
from flows.params import PipelineParams


@pytest.fixture
def timeline(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "timeline_of", lambda _: Timeline(tmp_path / "timeline.sqlite"))
    return Timeline(tmp_path / "timeline.sqlite")


@pytest.fixture
def within(monkeypatch):
    """Be within a run of a flow."""

    def enter(flow="pipeline", number=1):
        monkeypatch.setattr(runs, "runtime", SimpleNamespace(id=f"id-{number}", flow_name=flow, name=f"run {number}"))

    enter()
    return enter


@recorded
def work(params: PipelineParams) -> str:
    """Fail where it is told to."""
    if params.refresh:
        raise SommelierError("Cannot work", got="user=u0007", expected="nobody", do="Ask for less")
    return "done"


def states(timeline):
    return [(entry.subject, entry.state, entry.count) for entry in timeline.read(["run"])]


def test_a_run_follows_from_its_decision(timeline, within):
    decision = timeline.add("decision", "pipeline", "wanted", "Quality is lost.")
    assert work(PipelineParams(decision=decision.id)) == "done"
    assert states(timeline) == [("pipeline", "completed", 1)]
    assert timeline.newest("run").cause == decision.id
    assert timeline.find(decision.id).state == "started"


def test_how_it_failed_is_said_without_whom_it_is_about(timeline, within):
    with pytest.raises(SommelierError, match="u0007"):
        work(PipelineParams(refresh=True))
    assert states(timeline) == [("pipeline", "failed", 1)]
    assert timeline.newest("run").says == "pipeline failed: Cannot work. Ask for less."


def test_what_runs_every_hour_stands_there_only_where_it_fails_and_the_same_failure_once(timeline, within):
    for number in range(5):
        within("refresh-features", number)
        work(PipelineParams())
        with pytest.raises(SommelierError):
            work(PipelineParams(refresh=True))
    assert states(timeline) == [("refresh-features", "failed", 5)]


def test_nothing_is_recorded_of_what_prefect_does_not_run(timeline, within, monkeypatch):
    monkeypatch.setattr(runs, "runtime", SimpleNamespace(id=None, flow_name=None, name=None))
    assert work(PipelineParams()) == "done"
    assert not timeline.path.exists()


def begun(timeline, number=1):
    return runs._add(timeline, "pipeline", "running", "It goes on.", f"id-{number}", f"run {number}")


@pytest.mark.parametrize(("type_", "ended"), [("CRASHED", "crashed"), ("CANCELLING", "cancelled")])
def test_of_a_run_that_was_killed_the_runner_says_it(timeline, type_, ended):
    begun(timeline)
    for number in (1, 2):  # the second had not begun yet
        run = SimpleNamespace(id=f"id-{number}", name=f"run {number}", parameters={"params": {"shop": "vineyard"}})
        # By name, as Prefect's runner calls it.
        state = SimpleNamespace(type=SimpleNamespace(value=type_))
        record_end(flow=SimpleNamespace(name="pipeline"), flow_run=run, state=state)
    assert states(timeline) == [("pipeline", ended, 1)] * 2


def test_what_ended_while_nobody_looked_is_settled_as_prefect_has_it(timeline, within, monkeypatch):
    for number in (1, 2, 3):
        begun(timeline, number)
    monkeypatch.setattr(runs, "end_of", {"id-2": ("crashed", "Gone."), "id-3": None}.get)
    assert [entry.says for entry in settle_lost_runs(timeline)] == ["Gone."]
    assert [state for _, state, _ in states(timeline)] == ["running", "crashed", "running"]


def test_a_time_line_that_cannot_be_written_keeps_no_run_from_its_work(timeline, within):
    timeline.path.write_text("no database " * 200)
    assert work(PipelineParams()) == "done"


def test_a_run_that_waits_for_somebody_goes_on_as_one_run_and_its_wait_is_no_work(timeline, within):
    answers = iter([Pause(), None])

    @recorded
    def ask(params: PipelineParams) -> None:
        if (first := next(answers)) is not None:
            raise first

    with pytest.raises(Pause):
        ask(PipelineParams())
    entry = timeline.newest("run")
    assert (entry.state, entry.says) == ("waiting", "pipeline waiting: for somebody's approval")
    assert [one.id for one in timeline.lasting("run")] == [entry.id]
    time.sleep(0.05)
    ask(PipelineParams())
    after = timeline.find(entry.id)
    assert (states(timeline), after.details[WAITED_S] >= 0.05) == ([("pipeline", "completed", 1)], True)
    took = datetime.fromisoformat(after.until) - datetime.fromisoformat(after.at)
    assert _took(after, datetime.now(UTC)) == took - timedelta(seconds=after.details[WAITED_S])


def test_a_run_that_begins_while_a_look_gives_its_decision_up_is_not_lost(timeline, monkeypatch):
    decision = timeline.add("decision", "pipeline", "wanted", "Quality is lost.")
    rules = RetrainingSettings(give_up_h=1e-9)

    def begin_meanwhile(shop):
        timeline.settle(decision, runs.STARTED)
        return ""

    monkeypatch.setattr(evidence, "_waiting", begin_meanwhile)
    busy = evidence._busy(timeline, "vineyard", rules, datetime.now(UTC))
    assert busy == f"the run of pipeline that decision {decision.id} wants has just begun"
    assert timeline.find(decision.id).state == "started"
