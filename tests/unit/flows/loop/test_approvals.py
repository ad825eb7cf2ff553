"""Answers to runs that wait, and the ends of those that nobody answered, by what Prefect says of them."""

from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest

from core.experiments import stop
from core.layout import Layout
from core.logs.timeline import PAGE, Timeline
from flows.errors import NothingWaits
from flows.loop import approvals, judgements, notices
from flows.loop.approvals import answer, end_late_approvals
from flows.loop.canary import begin_canary
from flows.loop.judgements import gate_key, record_answer, record_judgement, settle_lost_canaries
from flows.promotion.approvals import keep_waiting, list_waiting, now
from flows.promotion.decision import follow_approval
from flows.promotion.gate import Approval
from flows.promotion.model_store import promote
from tests.unit.flows.promotion.test_approvals import WON, waiting
from tests.unit.flows.promotion.written_bundle import write_bundle


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Layout(tmp_path, "shop")


@pytest.fixture
def ends(monkeypatch):
    """How runs ended, by id, for Prefect's server; and the answers that it was given."""
    seen = SimpleNamespace(ended={}, answered=[])
    monkeypatch.setattr(approvals, "end_of", seen.ended.get)
    monkeypatch.setattr(approvals, "_is_suspended", lambda _: True)
    monkeypatch.setattr(approvals, "answer", lambda one, approve: seen.answered.append((one.flow_run_id, approve)))
    return seen


def test_a_run_that_nobody_answered_in_time_goes_on_with_a_no_and_others_wait(layout, ends):
    keep_waiting(layout, waiting(1, until=(now() - timedelta(seconds=1)).isoformat()))
    keep_waiting(layout, waiting(2, until=(now() + timedelta(hours=1)).isoformat()))
    assert [one.flow_run_id for one in end_late_approvals(layout)] == ["01ab"]
    # The run itself drops what it waited with.
    assert (ends.answered, len(list_waiting(layout))) == ([("01ab", False)], 2)


@pytest.mark.parametrize(("hours", "told"), [(1, "its run ended before anybody"), (-1, "not approved in time")])
def test_of_a_run_that_was_cancelled_or_given_up_the_time_line_says_so(layout, ends, hours, told):
    keep_waiting(layout, waiting(1, until=(now() + timedelta(hours=hours)).isoformat()))
    Timeline(layout.timeline).add("gate", "digest", "waiting", "It is better.", key=gate_key("01ab"))
    ends.ended["01ab"] = ("cancelled", "")
    end_late_approvals(layout)
    entry = Timeline(layout.timeline).newest("gate")
    assert (entry.state, told in entry.says, list_waiting(layout), ends.answered) == ("refused", True, [], [])


@pytest.mark.parametrize(
    ("state", "in_service", "ends_as", "told"),
    [
        ("approved", "old", "unchanged", "approved by bob, but its run ended before that was done: crashed."),
        ("approved", "d1", "promoted", "approved by bob, and its run ended after it went into service: crashed."),
        ("refused", "old", "refused", "refused by bob."),
    ],
)
def test_of_a_run_that_was_answered_and_ended_on_its_way_the_time_line_says_what_happened(
    layout, ends, state, in_service, ends_as, told
):
    keep_waiting(layout, waiting(1, until=(now() + timedelta(hours=1)).isoformat()))
    Timeline(layout.timeline).add("gate", "digest", "waiting", "It is better.", key=gate_key("01ab"))
    record_answer(layout, "01ab", Approval(state=state, by="bob"))
    promote(write_bundle(layout.bundle("one"), in_service, shop="shop"), layout.model_name, {"digest": in_service})
    ends.ended["01ab"] = ("crashed", "")
    end_late_approvals(layout)
    entry = Timeline(layout.timeline).newest("gate")
    assert (entry.state, told in entry.says, list_waiting(layout)) == (ends_as, True, [])


@pytest.mark.parametrize("began", [False, True])
def test_what_was_approved_as_a_canary_and_ended_before_one_began_does_not_stay_one(layout, ends, monkeypatch, began):
    monkeypatch.setattr(notices, "emit", lambda *_: True)
    tried = WON.model_copy(update={"promote": False, "canary": True})
    run = SimpleNamespace(id=None, subject="pipeline", details={"flow_run_id": "01ab"})
    monkeypatch.setattr(judgements, "current_run", lambda _: run)
    keep_waiting(layout, waiting(1, until=(now() + timedelta(hours=1)).isoformat(), decision=tried))
    page = "v1/evaluation/candidate-digest.html"
    record_judgement(layout, "candidate-digest", tried, promoted=False, waits="until noon", page=page)
    yes = Approval(state="approved", by="bob")
    record_answer(layout, "01ab", yes)
    standing = SimpleNamespace(generation=WON.generation)
    gate = record_judgement(layout, "candidate-digest", follow_approval(tried, yes, standing), promoted=False)
    assert (gate.state, gate.details[PAGE]) == ("canary", page)
    if began:
        begin_canary(layout, write_bundle(layout.refit_bundle("again"), "d1", shop="shop"), gate, 0)
        stop(layout.model_name, "canary-d1")
    ends.ended["01ab"] = ("crashed", "")
    end_late_approvals(layout)
    entry = Timeline(layout.timeline).newest("gate")
    told = "it is better; approved by bob, but its run ended before that was done: crashed. Run the flow again."
    assert (entry.state, entry.says) == (("canary", gate.says) if began else ("unchanged", told))
    assert list_waiting(layout) == []


@pytest.fixture
def wanted(layout, monkeypatch):
    """Has the gate want a canary in a run that nobody is asked about, and gives its entry and the run's."""
    timeline = Timeline(layout.timeline)
    run = timeline.add(
        "run", "pipeline", "running", "pipeline goes on.", details={"flow_run_id": "01ab"}, key="run/01ab"
    )
    monkeypatch.setattr(judgements, "current_run", lambda _: run)

    tried = WON.model_copy(update={"promote": False, "canary": True, "needs_approval": False})

    def judge():
        return record_judgement(layout, "d1", tried, promoted=False)

    return SimpleNamespace(run=run, judge=judge, timeline=timeline)


def test_of_a_canary_that_no_run_began_the_next_look_says_so(layout, wanted):
    gate = wanted.judge()
    assert settle_lost_canaries(layout) == []  # its run goes on
    wanted.timeline.settle(wanted.run, "crashed")
    (settled,) = settle_lost_canaries(layout)
    told = "it is better; its run ended before a canary began: crashed. Run the flow again."
    assert (settled.id, settled.state, settled.says) == (gate.id, "unchanged", told)
    assert wanted.timeline.newest("gate") == settled
    assert settle_lost_canaries(layout) == []


def test_a_run_that_is_tried_again_by_the_same_id_is_a_canary_again(layout, wanted):
    wanted.judge()
    wanted.timeline.settle(wanted.run, "failed")
    settle_lost_canaries(layout)
    wanted.timeline.settle(wanted.run, "running")
    again = wanted.judge()
    assert (again.state, again.says) == ("canary", "it is better.")
    wanted.timeline.settle(wanted.run, "failed")
    assert [one.state for one in settle_lost_canaries(layout)] == ["unchanged"]


@pytest.mark.parametrize("ends_as", ["completed", "crashed"])
@pytest.mark.parametrize("is_told", [False, True])
def test_a_canary_that_began_stays_one_whatever_became_of_its_run(layout, wanted, monkeypatch, ends_as, is_told):
    gate = wanted.judge()
    if not is_told:  # killed before the time line had it
        monkeypatch.setattr("flows.loop.canary.record_canary", lambda *_: None)
    begin_canary(layout, write_bundle(layout.refit_bundle("again"), "d1", shop="shop"), gate, 0)
    stop(layout.model_name, "canary-d1")
    wanted.timeline.settle(wanted.run, ends_as)
    assert settle_lost_canaries(layout) == []
    assert wanted.timeline.newest("gate").state == "canary"


def test_a_canary_that_waits_for_an_approval_is_left_to_it(layout, wanted):
    wanted.judge()
    keep_waiting(layout, waiting(1, until=(now() + timedelta(hours=1)).isoformat()))
    wanted.timeline.settle(wanted.run, "crashed")
    assert settle_lost_canaries(layout) == []


def test_where_a_run_completed_without_a_canary_the_gates_word_stays(layout, wanted):
    wanted.judge()
    wanted.timeline.settle(wanted.run, "completed")
    assert settle_lost_canaries(layout) == []


def test_one_that_cannot_be_asked_about_now_does_not_keep_the_others(layout, ends, monkeypatch, caplog):
    for number in (1, 2, 3):
        keep_waiting(layout, waiting(number, until=(now() - timedelta(seconds=1)).isoformat()))

    def answer_late(one, approve):
        if one.flow_run_id == "02ab":
            raise NothingWaits("Cannot answer for a run", got="run=r", expected="one that waits", do="Look")

    def end_of(run):
        if run == "01ab":
            raise httpx.ConnectError("no server")

    monkeypatch.setattr(approvals, "answer", answer_late)
    monkeypatch.setattr(approvals, "end_of", end_of)
    assert [one.flow_run_id for one in end_late_approvals(layout)] == ["03ab"]
    assert "no server" in caplog.text
    assert "one that waits" in caplog.text


@pytest.mark.parametrize("answered", [None, SimpleNamespace(status=SimpleNamespace(value="REJECT"), details=None)])
def test_an_answer_that_prefect_does_not_take_says_so(answered, monkeypatch):
    from prefect.exceptions import ObjectNotFound

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def resume_flow_run(self, flow_run_id, run_input):
            if answered is None:
                raise ObjectNotFound(Exception())
            return answered

    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda sync_client: Client())
    one = waiting(1, flow_run_id="019b76da-a800-7000-8000-000000000000")
    with pytest.raises(NothingWaits, match="run=calm-owl-1, "):
        answer(one, approve=True)


def test_the_gates_entry_waits_and_is_the_same_once_it_is_answered(layout, monkeypatch):
    told = []
    monkeypatch.setattr(notices, "emit", lambda shop, name, says, key, more=None: told.append((name, says)) or True)
    run = SimpleNamespace(id=None, subject="pipeline", details={"flow_run_id": "01ab"})
    monkeypatch.setattr(judgements, "current_run", lambda _: run)
    asked = record_judgement(layout, "candidate-digest", WON, promoted=False, waits="until noon, by mail")
    assert (asked.state, told) == (
        "waiting", [("sommelier.gate.waiting", "it is better; until noon, by mail.")]
    )  # fmt: skip
    standing = SimpleNamespace(generation=WON.generation)
    no = follow_approval(WON, Approval(state="refused", by="bob", comment="no"), standing)
    after = record_judgement(layout, "candidate-digest", no, promoted=False)
    assert (after.id, after.state, after.says) == (asked.id, "refused", "it is better; refused by bob (no).")
    assert after.details["approval"]["by"] == "bob"
    assert [name for name, _ in told] == ["sommelier.gate.waiting", "sommelier.gate.refused"]


def test_a_run_that_finds_the_same_bundle_waiting_changes_nothing(layout):
    standing = SimpleNamespace(generation=WON.generation)
    again = follow_approval(WON, Approval(state="asked already", comment="run calm-owl"), standing)
    assert record_judgement(layout, "candidate-digest", again, promoted=False).state == "unchanged"
