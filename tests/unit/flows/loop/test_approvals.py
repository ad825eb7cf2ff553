"""Answers to runs that wait, and the ends of those that nobody answered, by what Prefect says of them."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from core.layout import Layout
from core.logs.timeline import Timeline
from flows.errors import NothingWaits
from flows.loop import approvals, judgements
from flows.loop.approvals import answer, end_late_approvals
from flows.loop.judgements import gate_key, record_judgement, record_waiting
from flows.promotion.approvals import keep_waiting, list_waiting, now
from flows.promotion.decision import follow_approval
from flows.promotion.gate import Approval
from tests.unit.flows.promotion.test_approvals import WON, waiting


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
    monkeypatch.setattr(judgements, "emit", lambda shop, name, says, key, more=None: told.append((name, says)))
    run = SimpleNamespace(id=None, subject="pipeline", details={"flow_run_id": "01ab"})
    monkeypatch.setattr(judgements, "current_run", lambda _: run)
    asked = record_waiting(layout, "candidate-digest", WON, "until noon, by mail")
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
