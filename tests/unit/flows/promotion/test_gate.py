"""The gate holds a candidate against the best baseline, by the interval, and against the bundle in service."""

import pytest
from pydantic import ValidationError

from core.settings.evaluation import GateSettings
from flows.promotion.gate import BestBaseline, decide, decide_baseline, find_best_baseline
from recommender.metrics.significance import Comparison

METRIC = "ndcg_at_10"


def baseline(value, low, high, kind="popularity_recent", difference=None):
    middle = (low + high) / 2 if difference is None else difference
    return BestBaseline(kind=kind, value=value, difference=middle, low=low, high=high, p_value=0.5)


def against(candidate, champion, half=0.001):
    """A comparison with the bundle in service whose interval reaches `half` to both sides."""
    by = candidate - champion
    return Comparison(METRIC, candidate, champion, by, by - half, by + half, 0.5, 100)


def decided(candidate, champion=None, best=None, half=0.001, **settings):
    compared = None if champion is None else against(candidate, champion, half)
    return decide(GateSettings(**settings), metric=METRIC, candidate=candidate, baseline=best, champion=compared)


def refused(value=0.0313):
    return decided(0.0107, best=baseline(value, -0.0261, -0.0150, difference=-0.0206))


def test_the_first_bundle_that_surely_beats_the_best_baseline_is_promoted():
    decision = decided(0.05, best=baseline(0.02, 0.01, 0.05))
    assert (decision.promote, decision.served, decision.lost_to_baseline) == (True, "blend", False)
    assert decision.reason == (
        "no bundle was in service; ndcg_at_10 0.0500 is surely better than the best baseline, "
        "popularity, recent window 0.0200 (+0.0300 [+0.0100, +0.0500])"
    )


def test_a_candidate_that_is_surely_worse_than_the_best_baseline_is_refused_for_it():
    decision = refused()
    assert (decision.promote, decision.promote_baseline, decision.served) == (False, False, None)
    assert decision.lost_to_baseline
    assert decision.reason == (
        "ndcg_at_10 0.0107 is surely worse than popularity, recent window 0.0313 (-0.0206 [-0.0261, -0.0150])"
    )


@pytest.mark.parametrize(("low", "high"), [(-0.02, 0.001), (-0.02, 0.0), (0.0, 0.0), (0.0, 0.01)])
def test_where_the_interval_holds_zero_the_candidate_is_promoted_and_the_reason_says_so(low, high):
    decision = decided(0.0651, best=baseline(0.0656, low, high))
    assert decision.promote
    assert "ndcg_at_10 0.0651 cannot be told apart from the best baseline, popularity, recent" in decision.reason
    assert f"[{low:+.4f}, {high:+.4f}]" in decision.reason


@pytest.mark.parametrize(
    ("candidate", "tolerance", "promote"),
    [(0.095, 0.05, True), (0.094, 0.05, False), (0.094, 0.1, True), (0.0, 1.0, True)],
)
def test_where_the_interval_cannot_tell_a_candidate_may_fall_short_by_the_tolerance(candidate, tolerance, promote):
    decision = decided(candidate, best=baseline(0.1, -0.2, 0.1), baseline_tolerance=tolerance)
    assert (decision.promote, decision.lost_to_baseline) == (promote, not promote)
    if not promote:
        assert "falls short of popularity, recent window 0.1000" in decision.reason
        assert "by more than 5%, though not surely" in decision.reason


@pytest.mark.parametrize(
    ("rule", "low", "high", "is_lost"),
    [
        ("not_surely_worse", -0.02, -0.01, True),
        ("not_surely_worse", -0.02, 0.01, False),
        ("surely_better", -0.02, -0.01, True),
        ("surely_better", -0.02, 0.01, True),
        ("surely_better", 0.0, 0.01, True),
        ("surely_better", 0.001, 0.01, False),
        ("off", -0.02, -0.01, False),
    ],
)
def test_the_rule_for_baselines_is_a_setting(rule, low, high, is_lost):
    decision = decided(0.05, best=baseline(0.05, low, high), beat_baseline=rule)
    assert (decision.lost_to_baseline, decision.promote) == (is_lost, not is_lost)
    assert decision.baseline is not None


def test_without_the_rule_for_baselines_the_reason_names_none():
    decision = decided(0.01, best=baseline(0.05, -0.05, -0.03), beat_baseline="off")
    assert decision.reason == "no bundle was in service"


def test_the_rule_of_before_is_no_setting_any_more():
    with pytest.raises(ValidationError, match="beat_popularity"):
        GateSettings(beat_popularity=True)


def test_a_worse_candidate_leaves_the_bundle_in_service():
    decision = decided(0.049, champion=0.050, best=baseline(0.02, 0.01, 0.04))
    assert (decision.promote, decision.served, decision.lost_to_baseline) == (False, None, False)
    assert decision.champion == 0.050
    assert decision.reason == "ndcg_at_10 0.0490 is below 0.0500 (in service 0.0500 less the tolerance)"


def test_an_equal_candidate_replaces():
    assert decided(0.05, champion=0.05, best=baseline(0.02, 0.01, 0.04)).promote


def test_the_tolerance_is_a_share_of_the_champions_figure():
    assert decided(0.046, champion=0.050, tolerance=0.1).promote
    assert not decided(0.044, champion=0.050, tolerance=0.1).promote


@pytest.mark.parametrize(
    ("rule", "half", "tolerance", "promote"),
    [
        ("not_surely_worse", 0.002, 0.0, True),
        ("not_surely_worse", 0.0005, 0.0, False),
        ("not_surely_worse", 0.0005, 0.1, True),
        ("surely_better", 0.002, 0.0, False),
        ("surely_better", 0.0005, 0.0, False),
    ],
)
def test_the_bundle_in_service_may_be_read_by_the_interval_too(rule, half, tolerance, promote):
    decision = decided(0.049, champion=0.050, half=half, tolerance=tolerance, beat_champion=rule)
    assert decision.promote is promote
    assert "(-0.0010 [" in decision.reason
    assert decided(0.06, champion=0.05, half=half, beat_champion=rule).promote


def test_the_baseline_serves_in_the_candidates_place():
    decision = decide_baseline(GateSettings(), refused(), None)
    assert (decision.promote, decision.promote_baseline, decision.served) == (False, True, "popularity_recent")
    assert decision.reason == refused().reason + "; that baseline is served instead"


def test_the_baseline_replaces_a_bundle_in_service_that_it_is_not_worse_than():
    decision = decide_baseline(GateSettings(), refused(), against(0.0313, 0.0200))
    assert decision.promote_baseline
    assert decision.reason.endswith("; that baseline is served instead: ndcg_at_10 0.0313 is not below 0.0200")
    assert (decision.champion, decision.comparison) == (0.02, against(0.0313, 0.0200))


def test_the_baseline_leaves_a_better_bundle_in_service():
    decision = decide_baseline(GateSettings(), refused(), against(0.0313, 0.0400))
    assert (decision.promote, decision.promote_baseline, decision.served) == (False, False, None)
    assert decision.reason.endswith(
        "; that baseline is not served either: ndcg_at_10 0.0313 is below 0.0400 (in service 0.0400 less the tolerance)"
    )


def metrics(**figures):
    models = {"als": 0.9, "bm25": 0.8, **figures, "blend": 0.1}
    differences = {
        model: {METRIC: {"mean": 0.1 - value, "low": 0.0 - value, "high": 0.2 - value, "p_value": 0.3}}
        for model, value in models.items()
    }
    return {"ranking": {model: {METRIC: value} for model, value in models.items()}, "differences": differences}


def test_the_best_baseline_is_the_best_of_those_that_can_serve():
    best = find_best_baseline(metrics(popularity=0.2, popularity_recent=0.4, item_knn=0.3, text_encoder=0.1), METRIC)
    assert best == BestBaseline(
        kind="popularity_recent", value=0.4, difference=0.1 - 0.4, low=-0.4, high=0.2 - 0.4, p_value=0.3
    )
    first_of_equals = find_best_baseline(metrics(popularity=0.2, item_knn=0.2), METRIC)
    assert first_of_equals is not None
    assert first_of_equals.kind == "popularity"
    assert find_best_baseline(metrics(), METRIC) is None
