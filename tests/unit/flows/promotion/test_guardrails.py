"""What must not get worse: each guardrail holds, breaks, or says why nothing was measured."""

from dataclasses import replace

import pytest

from core.settings.evaluation import GateSettings, GuardrailSettings
from flows.promotion.gate import AgainstChampion, decide
from flows.promotion.guardrails import Guardrail, check_guardrails, say_broken
from recommender.evaluation.differences import GapChange, Judgement, SegmentDifference
from recommender.evaluation.latency import Latency
from recommender.metrics.significance import Comparison

METRIC = "ndcg_at_10"
BETTER = Comparison(METRIC, 0.06, 0.05, 0.01, 0.005, 0.015, 0.001, 400)
SEGMENT = SegmentDifference("history", "cold", 80, 0.020, 0.040, -0.020, -0.03, -0.01, 0.0005, 0.004)
GAP = GapChange("history", 0.05, 0.03, 0.02, 0.01, 0.03)
SOUND = Judgement(BETTER, (replace(SEGMENT, adjusted_p_value=0.2),), (replace(GAP, low=-0.01),), 500, 510)
QUICK = Latency(2.0, 2.0, 40)


def writer(supported, n):
    return {"statement_precision": supported / n, "n_statements": float(n)}


EQUAL = writer(40, 80), writer(42, 80)


def states(judgement=SOUND, latency=QUICK, writers=EQUAL, is_baseline=False, **settings):
    found = check_guardrails(GuardrailSettings(**settings), judgement, latency, writers, is_baseline=is_baseline)
    return {one.name: one.state for one in found}


def test_all_hold_for_what_is_no_worse():
    assert set(states().values()) == {"held"}
    assert list(states()) == ["segments", "group_gap", "coverage", "latency", "groundedness"]


@pytest.mark.parametrize(
    ("name", "setting", "given"),
    [
        ("segments", "segment_loss", {"judgement": replace(SOUND, segments=(SEGMENT,))}),
        ("group_gap", "gap_growth", {"judgement": replace(SOUND, gaps=(GAP,))}),
        ("coverage", "coverage_loss", {"judgement": replace(SOUND, n_shown=250)}),
        ("latency", "latency_growth", {"latency": Latency(41.0, 20.0, 40)}),
        ("groundedness", "groundedness_loss", {"writers": (writer(20, 80), writer(42, 80))}),
    ],
)
def test_each_breaks_alone_and_can_be_switched_off(name, setting, given):
    found = states(**given)
    assert {one for one, state in found.items() if state == "broken"} == {name}
    assert name not in states(**given, **{setting: None})


def test_losses_within_noise_or_within_the_limit_do_not_count():
    within = replace(SEGMENT, candidate=0.039, difference=-0.001)
    assert states(replace(SOUND, segments=(within,)))["segments"] == "held"
    assert states(replace(SOUND, segments=(within,)), segment_loss=0.0)["segments"] == "broken"
    assert states(replace(SOUND, gaps=(replace(GAP, growth=0.004),)))["group_gap"] == "held"
    assert states(latency=Latency(6.9, 2.0, 40))["latency"] == "held"  # within the slack
    assert states(latency=Latency(7.1, 2.0, 40))["latency"] == "broken"
    assert states(writers=(writer(1, 8), writer(3, 8)))["groundedness"] == "held"  # too few to tell


def test_a_loss_to_a_champion_that_knows_newer_events_does_not_bind():
    ahead = Judgement(replace(BETTER, champion_is_ahead=True), (SEGMENT,), (GAP,), 500, 510)
    found = states(ahead)
    assert (found["segments"], found["group_gap"]) == ("not measured", "not measured")


def test_a_baseline_in_service_binds_a_fitted_model_by_segments_and_texts_alone():
    worse = replace(SOUND, segments=(SEGMENT,), gaps=(GAP,), n_shown=250)
    slow, weak = Latency(41.0, 20.0, 40), (writer(20, 80), writer(42, 80))
    assert set(states(worse, slow, weak).values()) == {"broken"}
    found = states(worse, slow, weak, is_baseline=True)
    assert {one for one, state in found.items() if state == "broken"} == {"segments", "groundedness"}
    assert set(states(is_baseline=True).values()) == {"held"}
    (said,) = (
        one.found
        for one in check_guardrails(GuardrailSettings(), worse, slow, weak, is_baseline=True)
        if one.name == "coverage"
    )
    assert said.startswith("its lists show 250 different items, those of the bundle in service 510; at least 255 are")
    assert said.endswith("it does not count, as a baseline is in service, which is no measure of this")


def test_what_is_not_there_is_not_measured():
    assert set(states(None, None, (None, writer(1, 2))).values()) == {"not measured"}
    assert states(writers=(writer(1, 2), {"n_reviews": 0}))["groundedness"] == "not measured"


def test_a_broken_guardrail_refuses_what_is_surely_better_and_is_named_with_its_figures():
    found = check_guardrails(GuardrailSettings(), replace(SOUND, segments=(SEGMENT,)), QUICK, (None, None))
    against = AgainstChampion(BETTER, "sommelier-t:one", segments=(SEGMENT,), guardrails=found)
    decision = decide(GateSettings(), metric=METRIC, candidate=0.06, baseline=None, champion=against)
    assert (decision.promote, decision.verdict, decision.served) == (False, "refuse", None)
    assert decision.reason.startswith("its ndcg_at_10 of 0.0600 is significantly better than the 0.0500 of")
    assert decision.reason.endswith(
        "; the guardrail segments is broken: 1 of 1 segments lose significantly more than 5%: history cold: 0.0200 "
        "against 0.0400 (difference -0.0200, 95 % interval [-0.0300, -0.0100], corrected p = 0.0040, 80 users)"
    )
    assert (decision.segments, decision.guardrails) == ((SEGMENT,), found)
    assert type(decision).model_validate_json(decision.model_dump_json()) == decision


@pytest.mark.parametrize(
    ("rollout", "low", "verdict"),
    [
        ("promote", -0.01, "promote"),
        ("canary", 0.005, "canary"),
        ("canary_undecided", 0.005, "promote"),
        ("canary_undecided", -0.01, "canary"),
    ],
)
def test_what_passes_is_promoted_or_tried_on_some_users_first(rollout, low, verdict):
    held = (Guardrail(name="latency", state="held", found="quick"),)
    against = AgainstChampion(replace(BETTER, low=low), "sommelier-t:one", guardrails=held)
    settings = GateSettings(rollout=rollout)
    decision = decide(settings, metric=METRIC, candidate=0.06, baseline=None, champion=against)
    assert (decision.verdict, decision.promote) == (verdict, verdict == "promote")
    assert decision.served == ("blend" if verdict == "promote" else None)
    assert (f"recipe.gate.rollout={rollout}" in decision.reason) is (verdict == "canary")
    first = decide(settings, metric=METRIC, candidate=0.06, baseline=None, champion=AgainstChampion())
    assert first.verdict == "promote"
    assert say_broken(held) == ""
