"""What a run asks somebody, and what it goes on with; with Prefect's part replaced."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from core.layout import Layout
from core.settings.evaluation import GateSettings
from core.settings.tree import Recipe
from flows.errors import ApprovalImpossible
from flows.promotion.approvals import keep_waiting, now
from flows.steps import approval as module
from flows.steps.approval import Answer, ask_already, begin_waiting, check_approvable, take_up, wait
from flows.steps.step import Output
from tests.unit.flows.promotion.test_approvals import WON, waiting
from tests.unit.flows.promotion.written_bundle import write_bundle


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "flow_run", SimpleNamespace(id="01ab", name="calm-owl", flow_name="pipeline"))
    monkeypatch.setattr(module, "deployment", SimpleNamespace(id=None))
    recipe = Recipe(gate=GateSettings(approval="required"))
    return SimpleNamespace(layout=Layout(tmp_path, "shop"), recipe=recipe, generation=2)


def test_a_flow_of_no_deployment_is_refused_before_it_begins(run, monkeypatch):
    with pytest.raises(ApprovalImpossible, match=r"a flow run of no deployment.*gate\.approval=none"):
        check_approvable(run)
    check_approvable(SimpleNamespace(recipe=Recipe()))
    monkeypatch.setattr(module, "deployment", SimpleNamespace(id="d"))
    check_approvable(run)


def test_a_run_that_asked_nobody_begins_at_its_beginning_and_so_does_one_whose_bundle_is_gone(run, monkeypatch):
    warned = []
    monkeypatch.setattr(module, "get_run_logger", lambda: SimpleNamespace(warning=lambda *said: warned.append(said)))
    assert (take_up(run), warned) == (None, [])
    keep_waiting(run.layout, waiting(1))
    assert take_up(run) is None
    assert str(run.layout.root / "refits/again") in warned[0][1]


def test_the_same_bundle_against_the_same_one_in_service_is_asked_once(run):
    bundle = write_bundle(run.layout.refit_bundle("again"), "d1", shop="shop")
    keep_waiting(run.layout, waiting(1))
    assert ask_already(run, bundle, WON) is None  # this very run
    keep_waiting(run.layout, waiting(2))
    assert ask_already(run, bundle, WON).describe() == "the same waits for approval already (run calm-owl-2)"
    assert ask_already(run, bundle, WON.model_copy(update={"generation": 9})) is None


class Value(SimpleNamespace):
    def model_dump(self, mode):
        return {"mode": mode}


def test_what_a_run_waits_with_says_where_it_lies_and_until_when(run):
    bundle = write_bundle(run.layout.refit_bundle("again"), "d1", shop="shop")
    made = module.Made(
        Output(run.layout.bundle("new"), "c", "digest"),
        Output(run.layout.training("t"), "t", Value()),
        Output(run.layout.clean("c"), "c", Value()),
    )
    one = begin_waiting(run, made, bundle, WON)
    assert (one.bundle, one.digest, one.forgotten, one.run) == ("refits/again", "d1", 2, "calm-owl")
    assert {name: part.folder for name, part in one.parts.items()} == {
        "candidate": "candidates/new", "training": "training/t", "clean": "clean/c"
    }  # fmt: skip
    assert not one.is_late(now() + timedelta(hours=47.9))
    assert one.is_late(now() + timedelta(hours=48.1))


@pytest.mark.parametrize(
    ("approve", "after_h", "said"), [(True, 47, "approved"), (False, 47, "refused"), (True, 49, "late")]
)
def test_an_answer_counts_by_when_it_was_given(run, monkeypatch, approve, after_h, said):
    one, asked = waiting(1), []
    answered = module.datetime.fromisoformat(one.until) + timedelta(hours=after_h - 48)
    monkeypatch.setattr(module, "get_run_logger", lambda: SimpleNamespace(info=lambda *_: None))
    monkeypatch.setattr(module, "_answered_at", lambda: answered)
    answer = Answer(approve=approve, comment=" fine ", by="ann")
    monkeypatch.setattr(
        module, "suspend_flow_run", lambda wait_for_input, timeout, key: asked.append((timeout, key)) or answer
    )
    found = wait(one, "why")
    assert (found.state, found.comment) == (said, "" if said == "late" else "fine")
    assert asked[0][0] == pytest.approx(3600 * 72, abs=120)
    assert asked[0][1].replace("approval-", "").isdecimal()
