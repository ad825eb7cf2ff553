"""The gate holds a candidate against the best baseline, by the interval, and against the bundle in service."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from core.settings.evaluation import GateSettings
from flows.promotion.gate import AgainstChampion, BestBaseline, decide, decide_baseline, find_best_baseline
from recommender.metrics.significance import Comparison

METRIC = "ndcg_at_10"


def baseline(value, low, high, kind="popularity_recent", difference=None):
    middle = (low + high) / 2 if difference is None else difference
    return BestBaseline(kind=kind, value=value, difference=middle, low=low, high=high, p_value=0.5)


def against(candidate, champion, half=0.0005, n_queries=100):
    """Held against the bundle in service, with an interval that reaches `half` to both sides."""
    by = candidate - champion
    window = ("2025-06-01T12:00:00+00:00", "2025-06-08T18:30:00+00:00")
    compared = Comparison(METRIC, candidate, champion, by, by - half, by + half, 0.5, n_queries, *window)
    return AgainstChampion(compared, tag="sommelier-t:one")


@pytest.mark.parametrize(("undecided", "promoted"), [("promote", True), ("keep", False), ("figures", False)])
def test_a_loss_to_a_champion_that_knows_newer_events_is_undecided(undecided, promoted):
    compared = against(0.04, 0.05)
    ahead = replace(compared, comparison=replace(compared.comparison, champion_is_ahead=True))
    settings = GateSettings(undecided=undecided)
    decision = decide(settings, metric=METRIC, candidate=0.04, baseline=None, champion=ahead)
    assert decision.promote is promoted
    assert (
        "is significantly worse, by more than recipe.gate.tolerance allows, than the 0.0500 of the bundle"
        in decision.reason
    )
    assert "has learned from newer events than this one had when it was evaluated" in decision.reason
    assert f"in such a case recipe.gate.undecided={undecided} " in decision.reason
    assert not decide(settings, metric=METRIC, candidate=0.04, baseline=None, champion=compared).promote


def decided(candidate, champion=None, best=None, half=0.0005, n_queries=100, **settings):
    compared = AgainstChampion() if champion is None else against(candidate, champion, half, n_queries)
    return decide(GateSettings(**settings), metric=METRIC, candidate=candidate, baseline=best, champion=compared)


def refused(value=0.0313):
    return decided(0.0107, best=baseline(value, -0.0261, -0.0150, difference=-0.0206))


def test_the_first_bundle_that_surely_beats_the_best_baseline_is_promoted():
    decision = decided(0.05, best=baseline(0.02, 0.01, 0.05))
    assert (decision.promote, decision.served, decision.lost_to_baseline) == (True, "blend", False)
    assert decision.reason == (
        "no bundle was in service; the candidate's ndcg_at_10 of 0.0500 is significantly better than that of the "
        "best baseline on test, popularity, recent window, with 0.0200 "
        "(difference +0.0300, 95 % interval [+0.0100, +0.0500])"
    )


def test_a_candidate_that_is_surely_worse_than_the_best_baseline_is_refused_for_it():
    decision = refused()
    assert (decision.promote, decision.promote_baseline, decision.served) == (False, False, None)
    assert decision.lost_to_baseline
    assert decision.reason == (
        "the candidate's ndcg_at_10 of 0.0107 is significantly worse than that of the best baseline on test, "
        "popularity, recent window, with 0.0313 (difference -0.0206, 95 % interval [-0.0261, -0.0150])"
    )


@pytest.mark.parametrize(("low", "high"), [(-0.02, 0.001), (-0.02, 0.0), (0.0, 0.0), (0.0, 0.01)])
def test_where_the_interval_holds_zero_the_candidate_is_promoted_and_the_reason_says_so(low, high):
    decision = decided(0.0651, best=baseline(0.0656, low, high))
    assert decision.promote
    assert (
        "ndcg_at_10 of 0.0651 does not differ significantly from that of the best baseline on test, pop"
        in decision.reason
    )
    assert f"[{low:+.4f}, {high:+.4f}]" in decision.reason


@pytest.mark.parametrize(
    ("candidate", "tolerance", "promote"),
    [(0.095, 0.05, True), (0.094, 0.05, False), (0.094, 0.1, True), (0.0, 1.0, True)],
)
def test_where_the_interval_cannot_tell_a_candidate_may_fall_short_by_the_tolerance(candidate, tolerance, promote):
    decision = decided(candidate, best=baseline(0.1, -0.2, 0.1), baseline_tolerance=tolerance)
    assert (decision.promote, decision.lost_to_baseline) == (promote, not promote)
    if not promote:
        assert "is below that of the best baseline on test, popularity, recent window, with 0.1000" in decision.reason
        assert "by more than recipe.gate.baseline_tolerance=0.05 allows, though not significantly" in decision.reason


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


WHERE = (
    "measured on choices of 100 users from 2025-06-01 12:00 to 2025-06-08 18:30 that neither bundle had learned from"
)


@pytest.mark.parametrize("rule", ["promote", "keep", "figures"])
def test_what_is_surely_better_replaces_and_what_is_surely_worse_does_not_by_any_rule(rule):
    best = baseline(0.02, 0.01, 0.04)
    better, worse = (decided(value, champion=0.050, best=best, undecided=rule) for value in (0.051, 0.049))
    assert (better.promote, better.served) == (True, "blend")
    assert better.reason.startswith(
        "its ndcg_at_10 of 0.0510 is significantly better than the 0.0500 of the bundle in service "
        f"(difference +0.0010, 95 % interval [+0.0005, +0.0015]), {WHERE}; "
    )
    assert (worse.promote, worse.served, worse.lost_to_baseline, worse.champion) == (False, None, False, 0.050)
    assert worse.reason == (
        "its ndcg_at_10 of 0.0490 is significantly worse, by more than recipe.gate.tolerance allows, than the 0.0500 "
        f"of the bundle in service (difference -0.0010, 95 % interval [-0.0015, -0.0005]), {WHERE}"
    )


@pytest.mark.parametrize(
    ("rule", "candidate", "promote"),
    [
        ("promote", 0.049, True), ("keep", 0.051, False), ("figures", 0.049, False), ("figures", 0.05, True),
        ("figures", 0.051, True),
    ],
)  # fmt: skip
def test_where_the_interval_cannot_tell_a_setting_settles_it_and_the_reason_says_so(rule, candidate, promote):
    decision = decided(candidate, champion=0.050, half=0.002, undecided=rule)
    assert decision.promote is promote
    assert f"ndcg_at_10 of {candidate:.4f} does not differ significantly from the 0.0500 of the" in decision.reason
    assert f"{WHERE}; in such a case recipe.gate.undecided={rule} " in decision.reason


def test_by_default_the_fresher_bundle_goes_in():
    assert decided(0.049, champion=0.050, half=0.002).promote
    assert GateSettings().undecided == "promote"


@pytest.mark.parametrize(("n_queries", "promote"), [(49, True), (50, False)])
def test_an_interval_over_too_few_users_says_nothing(n_queries, promote):
    decision = decided(0.03, champion=0.05, n_queries=n_queries)
    assert decision.promote is promote
    assert f"measured on choices of {n_queries} users" in decision.reason
    rule = "in such a case recipe.gate.undecided=promote takes the newer one"
    few = f"which is fewer than recipe.gate.min_queries=50; {rule}"
    assert (few in decision.reason) is promote
    assert not decided(0.03, champion=0.05, n_queries=49, undecided="keep").promote
    assert not decided(0.03, champion=0.05, n_queries=49, undecided="figures").promote


SETTLED = {"promote": "takes the newer one", "keep": "keeps the one in service", "figures": "goes by the figure alone"}


@pytest.mark.parametrize(("rule", "promote"), [("promote", True), ("keep", False), ("figures", True)])
def test_without_any_event_that_neither_learned_the_setting_settles_it(rule, promote):
    nothing = AgainstChampion(tag="sommelier-t:one")
    decision = decide(GateSettings(undecided=rule), metric=METRIC, candidate=0.05, baseline=None, champion=nothing)
    assert (decision.promote, decision.comparison, decision.champion) == (promote, None, None)
    assert decision.reason == (
        "it cannot be compared with the bundle in service, sommelier-t:one: there are no choices of users that neither "
        f"has learned from; in such a case recipe.gate.undecided={rule} {SETTLED[rule]}"
    )


def test_the_tolerance_is_a_share_of_the_champions_figure():
    assert decided(0.046, champion=0.050, tolerance=0.1).promote
    assert not decided(0.044, champion=0.050, tolerance=0.1).promote
    assert decided(0.046, champion=0.050, half=0.01, tolerance=0.1, undecided="figures").promote
    assert not decided(0.044, champion=0.050, half=0.01, tolerance=0.1, undecided="figures").promote


@pytest.mark.parametrize(
    ("before", "now"), [("not_worse", "figures"), ("not_surely_worse", "promote"), ("surely_better", "keep")]
)
def test_the_rule_is_read_by_its_former_name(before, now):
    assert GateSettings.model_validate({"beat_champion": before}) == GateSettings(undecided=now)
    with pytest.raises(ValidationError, match="undecided"):
        GateSettings.model_validate({"beat_champion": "whatever"})


def test_the_baseline_serves_in_the_candidates_place():
    decision = decide_baseline(GateSettings(), refused(), AgainstChampion())
    assert (decision.promote, decision.promote_baseline, decision.served) == (False, True, "popularity_recent")
    assert decision.reason == refused().reason + "; that baseline is served instead"


def test_the_baseline_replaces_a_bundle_in_service_that_it_is_better_than():
    decision = decide_baseline(GateSettings(), refused(), against(0.0313, 0.0200))
    assert decision.promote_baseline
    assert "; that baseline is served instead: its ndcg_at_10 of 0.0313 is significantly better than" in decision.reason
    assert (decision.champion, decision.comparison) == (0.02, against(0.0313, 0.0200).comparison)


def test_the_baseline_leaves_a_better_bundle_in_service():
    decision = decide_baseline(GateSettings(), refused(), against(0.0313, 0.0400))
    assert (decision.promote, decision.promote_baseline, decision.served) == (False, False, None)
    assert "; that baseline is not served either: its ndcg_at_10 of 0.0313 is significantly worse," in decision.reason


@pytest.mark.parametrize(
    ("figure", "undecided", "is_renewal", "is_served"),
    [
        (0.0400, "promote", False, True),  # the better figure
        (0.0300, "promote", False, False),  # a bundle that may have beaten the baselines is not left for a worse figure
        (0.0300, "promote", True, True),  # the same baseline, which now knows newer events
        (0.0400, "keep", False, False),
        (0.0400, "figures", False, True),
        (0.0300, "figures", False, False),
    ],
)
def test_where_the_interval_cannot_tell_a_baseline_is_no_candidate(figure, undecided, is_renewal, is_served):
    champion = against(figure, 0.0350, half=0.1)
    decision = decide_baseline(GateSettings(undecided=undecided), refused(), champion, is_renewal=is_renewal)
    assert decision.promote_baseline is is_served
    is_said = "replaces another kind of bundle only where its figure is better" in decision.reason
    assert is_said is (undecided != "keep" and not is_renewal)
    few = against(figure, 0.0350, n_queries=3)
    decision = decide_baseline(GateSettings(undecided=undecided), refused(), few, is_renewal=is_renewal)
    assert decision.promote_baseline is is_served


@pytest.mark.parametrize("undecided", ["promote", "figures"])
def test_a_baseline_that_cannot_be_compared_replaces_itself_alone(undecided):
    unknown, settings = AgainstChampion(tag="sommelier-t:one"), GateSettings(undecided=undecided)
    assert not decide_baseline(settings, refused(), unknown).promote_baseline
    assert decide_baseline(settings, refused(), unknown, is_renewal=True).promote_baseline


def metrics(validation=None, **figures):
    models = {"als": 0.9, "bm25": 0.8, **figures, "blend": 0.1}
    differences = {
        model: {METRIC: {"mean": 0.1 - value, "low": 0.0 - value, "high": 0.2 - value, "p_value": 0.3}}
        for model, value in models.items()
    }
    chosen_by = {model: {METRIC: value} for model, value in (validation or {}).items()}
    ranking = {model: {METRIC: value} for model, value in models.items()}
    return {"ranking": ranking, "differences": differences, "validation": chosen_by}


def test_the_best_baseline_is_chosen_on_validation_and_measured_on_test():
    """The best of several on the window that measures it would have its luck there in its figure."""
    validation = {"popularity": 0.3, "popularity_recent": 0.2, "item_knn": 0.4, "text_encoder": 0.1}
    best = find_best_baseline(
        metrics(validation, popularity=0.2, popularity_recent=0.4, item_knn=0.3, text_encoder=0.1), METRIC
    )
    assert best == BestBaseline(
        kind="item_knn", value=0.3, difference=0.1 - 0.3, low=-0.3, high=0.2 - 0.3, p_value=0.3, chosen_on="validation"
    )
    assert best.describe().startswith("the best baseline on validation, item-kNN, with 0.3000 ")


def test_where_validation_asks_nobody_the_best_baseline_is_that_of_the_test_window():
    best = find_best_baseline(metrics(popularity=0.2, popularity_recent=0.4, item_knn=0.3, text_encoder=0.1), METRIC)
    assert best == BestBaseline(
        kind="popularity_recent", value=0.4, difference=0.1 - 0.4, low=-0.4, high=0.2 - 0.4, p_value=0.3
    )
    first_of_equals = find_best_baseline(metrics(popularity=0.2, item_knn=0.2), METRIC)
    assert first_of_equals is not None
    assert first_of_equals.kind == "popularity"
    assert find_best_baseline(metrics(), METRIC) is None
