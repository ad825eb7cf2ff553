"""What the gate decided holds while nothing else went into service; then it is asked again, a few times."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.logging import disable_run_logger

from core.layout import Layout
from core.logs.timeline import Timeline
from core.settings.evaluation import RefitSettings
from core.settings.tree import Recipe
from core.storage import UNFINISHED
from flows.loop.judgements import gate_key
from flows.promotion.approvals import keep_waiting, list_waiting
from flows.promotion.gate import Approval, BestBaseline, Decision
from flows.steps import release as module
from flows.steps.bundles import Learned
from flows.steps.step import Output
from tests.unit.flows.promotion.test_approvals import waiting

RECIPE = Recipe()
WON = Decision(promote=True, reason="it is better", metric="ndcg_at_10", candidate=0.2, served="blend")
LOST = Decision(promote=False, reason="it is below", metric="ndcg_at_10", candidate=0.2)
WRITER = Output(Path("writer"), "w", True)
WRITTEN = {"bleu_4": 1.0, "samples": [{"user_id": "u7", "real": "What somebody wrote"}]}
POPULAR = BestBaseline(kind="popularity", value=0.3, difference=-0.1, low=-0.2, high=-0.05, p_value=0.01)


@pytest.fixture
def released(monkeypatch):
    """Runs `release` with what the gate decides each time, and which promotions come too late."""

    def call(
        decisions, n_late=0, instead=None, gaps=(), after_refit=lambda decision: decision, recipe=RECIPE, asks=True
    ):
        gate, late = iter(decisions), [True] * n_late
        seen = SimpleNamespace(
            promoted=[],
            reported=[],
            published=[],
            refitted=[],
            warned=[],
            recorded=[],
            kept=[],
            begun=[],
            writers=[],
            pages=[],
            logged=[],
        )

        def promote(run, *, bundle, metrics, decision):
            if late:
                late.pop()
                return None
            seen.promoted.append((bundle, metrics["served"]))
            return "version"

        def report(run, made, evaluated, decision):
            seen.reported.append(decision.reason)
            return {**evaluated, "served": decision.served}, run.layout.reports / "page.html"

        def record(layout, digest, decision, *, promoted, page):
            seen.recorded.append(promoted)
            seen.pages.append(page)
            return SimpleNamespace(state="promoted" if promoted else "refused", says=f"{decision.reason}.")

        replaced = {
            "evaluate_candidate": lambda run, **inputs: Output(
                Path(), "", {"ranking": {}, "gaps": gaps, "writer": WRITTEN}
            ),
            "pass_gate": lambda run, **inputs: next(gate),
            "pass_gate_with_baseline": lambda run, **inputs: instead,
            "choose_writer": lambda run, candidate, training: WRITER,
            "bundle_of_baseline": lambda *inputs: (
                seen.writers.append(inputs[-1]) or (Output(Path(), "", True), Output(Path("popular"), "", "digest"))
            ),
            "refit": lambda run, *inputs: seen.refitted.append("candidate") or Output(Path("refit"), "", "digest"),
            "refit_baseline": lambda run, *inputs: (
                seen.writers.append(inputs[-1]) or seen.refitted.append("baseline") or Output(Path("again"), "", "d")
            ),
            "promote_bundle": promote,
            "_report": report,
            "version_in_service": lambda name: None,
            "record_judgement": record,
            "begin_canary": lambda layout, bundle, judged, generation: seen.begun.append((bundle, generation)),
            "publish_gate": lambda layout, decision: None,
            "keep_figures": lambda run, *, bundle, metrics: seen.kept.append(bundle),
            "get_run_logger": lambda: SimpleNamespace(
                warning=lambda form, line: seen.warned.append(line),
                info=lambda form, *words: seen.logged.append(form % words),
            ),
        }
        for name, function in replaced.items():
            monkeypatch.setattr(module, name, function)
        monkeypatch.setattr(module.artifacts, "publish_metrics", lambda metrics, k, url: None)
        monkeypatch.setattr(module.artifacts, "publish_decision", lambda decision, _: seen.published.append(decision))
        monkeypatch.setattr(
            "flows.promotion.decision.decide_refit", lambda bundle, decision, model: after_refit(decision)
        )
        run = SimpleNamespace(recipe=recipe, layout=Layout(Path("work"), "t"), page_url=str)
        training, clean = Output(Path("training"), "t", None), Output(Path("clean"), "c", None)
        learned = Learned(training, {}, Output(Path("candidate"), "k", "digest"))
        return module.release(run, SimpleNamespace(clean=clean), learned, asks=asks), seen

    return call


def test_what_passes_the_gate_is_fitted_again_and_promoted_once(released):
    result, seen = released([WON])
    assert (result.version, seen.promoted) == ("version", [(Path("refit"), "blend")])
    assert seen.published == [WON]
    assert seen.refitted == ["candidate"]


def test_a_canary_is_fitted_again_with_its_figures_and_goes_into_no_service(released):
    canary = WON.model_copy(update={"promote": False, "canary": True, "served": None, "generation": 4})
    result, seen = released([canary])
    assert (result.version, result.bundle, result.decision.verdict) == (None, Path("refit"), "canary")
    assert (seen.promoted, seen.refitted, seen.kept, seen.recorded) == ([], ["candidate"], [Path("refit")], [False])
    assert seen.pages == ["page.html"]
    assert seen.begun == [(Path("refit"), 4)]
    _, seen = released([WON])
    assert (seen.kept, seen.recorded, seen.begun) == ([], [True], [])


def test_a_run_keeps_figures_of_feedback_text_and_nobodys_texts(released):
    result, _ = released([WON])
    assert result.metrics["writer"] == {"bleu_4": 1.0}


def test_what_the_gate_refuses_is_not_fitted_again(released):
    result, seen = released([LOST])
    assert (result.version, seen.promoted, seen.refitted) == (None, [], [])
    lost = LOST.model_copy(update={"lost_to_baseline": True, "baseline": POPULAR})
    _, seen = released([lost], instead=lost)
    assert (seen.promoted, seen.refitted) == ([], [])


def test_the_log_of_a_run_ends_with_what_the_gate_decided_and_why(released):
    assert released([WON])[1].logged == [f"the gate's decision: promoted, as {WON.reason}."]
    assert released([LOST])[1].logged == [f"the gate's decision: refused, as {LOST.reason}."]


def test_where_the_refit_is_switched_off_what_was_judged_is_promoted(released):
    recipe = Recipe(refit=RefitSettings(enabled=False))
    _, seen = released([WON], recipe=recipe)
    assert (seen.promoted, seen.refitted) == ([(Path("candidate"), "blend")], [])
    lost = LOST.model_copy(update={"lost_to_baseline": True, "baseline": POPULAR})
    instead = lost.model_copy(update={"promote_baseline": True, "served": "popularity"})
    _, seen = released([lost], instead=instead, recipe=recipe)
    assert (seen.promoted, seen.refitted) == ([(Path("popular"), "popularity")], [])


def test_a_refit_that_is_in_service_already_is_not_promoted_again(released):
    already = WON.model_copy(update={"promote": False, "reason": "it is in service"})
    result, seen = released([WON], after_refit=lambda _: already)
    assert (result.version, result.decision, seen.promoted) == (None, already, [])


def test_a_gap_beyond_noise_is_a_warning_in_the_log(released):
    gap = {
        "grouping": "age", "metric": "ndcg_at_10", "best": "old", "worst": "young", "gap": 0.1, "low": 0.05,
        "high": 0.15, "adjusted_p_value": 0.002,
        "groups": {"old": {"n": 30, "mean": 0.3}, "young": {"n": 20, "mean": 0.2}},
    }  # fmt: skip
    _, seen = released([WON], gaps=[{**gap, "beyond_noise": True}, {**gap, "beyond_noise": False}])
    assert len(seen.warned) == 1
    assert seen.warned[0].startswith("ndcg_at_10 differs by age beyond noise: old 0.3000")


def test_what_changed_meanwhile_is_what_the_candidate_is_compared_with_then(released):
    result, seen = released([WON, LOST], n_late=1)
    assert (result.version, result.decision, seen.promoted) == (None, LOST, [])
    result, seen = released([WON, WON], n_late=1)
    assert (result.version, result.decision.promote) == ("version", True)
    assert seen.reported == [WON.reason] * 2


def test_after_a_few_tries_it_is_refused_with_a_sentence(released):
    result, seen = released([WON] * 3, n_late=9)
    assert (result.version, result.decision.promote, result.metrics["served"]) == (None, False, None)
    assert result.decision.reason == (
        "it is better; what is in service changed 3 times while this was decided: run the flow again"
    )
    assert seen.reported[-1] == result.decision.reason


def test_the_baseline_in_its_place_is_what_is_promoted(released):
    lost = LOST.model_copy(update={"lost_to_baseline": True, "baseline": POPULAR})
    instead = lost.model_copy(update={"promote_baseline": True, "served": "popularity"})
    _, seen = released([lost, lost], n_late=1, instead=instead)
    assert seen.promoted == [(Path("again"), "popularity")]
    assert set(seen.refitted) == {"baseline"}
    assert set(seen.writers) == {WRITER}  # as it is judged, and fitted again


def test_the_queries_of_a_window_of_its_own_lie_in_the_shop_until_the_gate_has_decided(tmp_path, monkeypatch):
    layout, made = Layout(tmp_path, "shop"), []

    def build(clean, feast, target, features, opens):
        target.mkdir()
        made.append(opens)
        return target

    monkeypatch.setitem(sys.modules, "features.training", SimpleNamespace(build_queries=build))
    step = SimpleNamespace(layout=layout, recipe=RECIPE, device="cpu")
    opens = datetime(2026, 1, 1, tzinfo=UTC)
    with module._test_events(step, tmp_path / "training", tmp_path / "clean") as events:
        queries = events.queries_since(opens)
        assert (events.queries_since(opens), made) == (queries, [opens])
        # Of a gate that is killed they are found there, by whoever prunes or forgets somebody.
        assert queries.parent.parent == layout.training("").absolute()
        assert queries.parent.name.endswith(UNFINISHED)
    assert list(layout.training("").iterdir()) == []


def test_who_is_forgotten_waits_for_nobodys_approval(released):
    result, seen = released([WON.model_copy(update={"needs_approval": True})], asks=False)
    assert (result.version, result.decision.waits) == ("version", False)
    assert seen.promoted == [(Path("refit"), "blend")]


def test_what_waits_in_another_run_is_not_asked_again(released, monkeypatch):
    asked = Approval(state="asked already", comment="run calm-owl")
    monkeypatch.setattr(module, "ask_already", lambda run, bundle, decision: asked)
    monkeypatch.setattr(module, "read_standing", lambda name: SimpleNamespace(generation=None))
    result, seen = released([WON.model_copy(update={"needs_approval": True})])
    assert (result.version, seen.promoted, seen.recorded) == (None, [], [False])
    assert result.decision.reason == "it is better; the same waits for approval already (run calm-owl)"


def test_of_a_run_that_fails_with_its_answer_the_time_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    layout, timeline = Layout(tmp_path, "shop"), Timeline(Layout(tmp_path, "shop").timeline)
    asked = waiting(1, until="2100-01-01T00:00:00+00:00")
    keep_waiting(layout, asked)
    timeline.add("gate", "digest", "waiting", "It is better.", key=gate_key(asked.flow_run_id))

    def fail(*_):
        raise OSError("no room")

    replaced = {
        "check_approvable": lambda run: None,
        "take_up": lambda run: (asked, None),
        "note_used": lambda *_: None,
        "replace": lambda run, **_: run,
        "_describe": lambda *_: "",
        "wait": lambda *_: Approval(state="approved", by="bob"),
        "follow_approval": lambda decision, *_: decision,
        "_evaluate": fail,
    }
    for name, one in replaced.items():
        monkeypatch.setattr(module, name, one)
    with disable_run_logger(), pytest.raises(OSError, match="no room"):
        module.release_answered(SimpleNamespace(layout=layout))
    entry = timeline.newest("gate")
    assert (entry.state, list_waiting(layout)) == ("unchanged", [])
    assert "approved by bob, but its run ended before that was done: failed" in entry.says
