"""The texts that a run leaves in the Prefect UI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.alarms import Alarm
from flows.promotion.gate import BestBaseline, Decision
from flows.reporting.artifacts import (
    beyond_rows,
    describe_decision,
    describe_drift,
    describe_gaps,
    describe_readmission,
    describe_validation,
    history_rows,
    metric_rows,
    rerank_rows,
)
from monitoring.drift import DriftSummary
from recommender.evaluation.names import BEYOND_ACCURACY, RERANKED
from recommender.metrics.ranking import PER_QUERY
from recommender.metrics.significance import Comparison
from validation.quarantine.readmission import ReadmissionSummary
from validation.summary import TableSummary, ValidationSummary


def summary(clean: int, quarantined: int, **more: object) -> ValidationSummary:
    table = TableSummary(
        rows_in=clean + quarantined, rows_clean=clean, rows_quarantined=quarantined, duplicates=0, **more
    )
    return ValidationSummary(
        folder=Path("clean"), docs=Path("docs"), gx_success=False, tables={"feedback": table}, warnings=("It is old.",)
    )


def test_a_validation_tells_counts_rules_mending_and_warnings() -> None:
    text = describe_validation(
        summary(90, 10, rules={"text_required": 10}, warnings={"few_letters": 2}, cleaned={"html_entities": 7}),
        "http://docs",
    )
    assert "| feedback | 100 | 90 | 10 | 0 | text_required (10) |" in text
    assert "- feedback: html_entities (7)" in text
    assert "- It is old." in text
    assert "- feedback: few_letters (2)" in text
    assert text.endswith("[Data Docs](http://docs)")


def test_what_has_nothing_to_tell_has_no_heading() -> None:
    quiet = summary(90, 0).model_copy(update={"warnings": ()})
    assert "##" not in describe_validation(quiet, "http://docs")


def test_a_readmission_tells_before_and_after() -> None:
    let_in = ReadmissionSummary(folder=Path("readmitted"), rows={"feedback": 4}, files=("feedback-a.parquet",))
    text = describe_readmission(let_in, summary(90, 10), summary(94, 10))
    assert "4 rows were let in: feedback 4" in text
    assert "| feedback | 90 | 94 | 10 | 10 |" in text


def metrics() -> dict[str, Any]:
    """Two rankers and one that has no name of its own."""
    figures = {f"{name}_at_10": 0.123456 for name in (*PER_QUERY, *BEYOND_ACCURACY)}
    models = ("popularity", "blend", "brand_new")
    return {
        "ranking": dict.fromkeys(models, figures),
        "intervals": {model: {"ndcg_at_10": [0.1, 0.2]} for model in models},
        "by_history_length": {"0": {"n_queries": 7, **dict.fromkeys(models, 0.5)}},
    }


def test_re_ranking_is_told_with_its_cost_and_gaps_with_a_warning_where_they_are_beyond_noise() -> None:
    figures = {name: 0.5 for name in RERANKED if name != "cost"}
    own = {"kind": "none", "strength": 0.3, "similarity": "text", "item_floor": 0.0, "provider_floor": 0.0, **figures}
    cost = {"mean": -0.01, "low": -0.02, "high": 0.005, "p_value": 0.3}
    first, second = rerank_rows({"reranking": {"rows": [own, {**own, "kind": "calibration", "cost": cost}]}})
    assert (first["list"], first["NDCG less the ranker's own"]) == ("the ranker's own", "")
    assert second["NDCG less the ranker's own"] == "-0.0100 (-0.0200 to +0.0050)"
    gap = {
        "grouping": "age", "metric": "ndcg_at_10", "best": "old", "worst": "young", "gap": 0.1, "low": 0.05,
        "high": 0.15, "p_value": 0.001, "adjusted_p_value": 0.002, "beyond_noise": True,
        "groups": {"old": {"n": 30, "mean": 0.3}, "young": {"n": 20, "mean": 0.2}},
    }  # fmt: skip
    text = describe_gaps({"gaps": [gap, {**gap, "grouping": "city", "beyond_noise": False}]})
    assert "**Warning**: ndcg_at_10 differs by age beyond noise: old 0.3000 (n = 30), young 0.2000 (n = 20)" in text
    assert text.count("Warning") == 1
    assert "| city | ndcg_at_10 | old: 0.3000 | young: 0.2000 | 0.1000 | 0.0500 to 0.1500 | 0.0010 | 0.0020 |" in text
    assert "None is beyond noise." in describe_gaps({"gaps": []})


def test_every_ranker_has_a_row_with_its_interval() -> None:
    rows = metric_rows(metrics(), 10)
    assert [row["model"] for row in rows] == ["brand_new", "popularity", "blend, as served"]
    assert rows[0]["ndcg_at_10"] == 0.1235
    assert rows[0]["ndcg_at_10_interval"] == "0.1000 to 0.2000"
    assert set(beyond_rows(metrics(), 10)[0]) == {"model", *(f"{name}_at_10" for name in BEYOND_ACCURACY)}
    assert history_rows(metrics()) == [
        {"known items": "0", "users": 7, "brand_new": 0.5, "popularity": 0.5, "blend, as served": 0.5}
    ]


def test_a_decision_says_how_sure_the_difference_is() -> None:
    comparison = Comparison("ndcg_at_10", 0.2, 0.1, 0.1, 0.05, 0.15, 0.001, 41)
    decision = Decision(promote=True, reason="better", metric="ndcg_at_10", candidate=0.2, comparison=comparison)
    assert comparison.sentence() in describe_decision(decision, None)
    assert "in service: +" not in describe_decision(decision.model_copy(update={"comparison": None}), None)


def test_a_decision_survives_the_way_through_json() -> None:
    comparison = Comparison("ndcg_at_10", 0.2, 0.1, 0.1, 0.05, 0.15, 0.001, 41)
    decision = Decision(promote=True, reason="better", metric="ndcg_at_10", candidate=0.2, comparison=comparison)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_a_decision_names_the_best_baseline_and_what_serves_in_the_candidates_place() -> None:
    best = BestBaseline(kind="popularity_recent", value=0.3, difference=-0.1, low=-0.2, high=-0.05, p_value=0.01)
    decision = Decision(promote=False, reason="worse", metric="ndcg_at_10", candidate=0.2, baseline=best)
    text = describe_decision(decision, None)
    assert "# The candidate is not promoted\n" in text
    assert "| best baseline: popularity, recent window | 0.3000 |" in text
    assert "Candidate less the best baseline: -0.1000 [-0.2000, -0.0500], p = 0.0100." in text
    assert text.endswith("In service: `nothing`")
    instead = describe_decision(decision.model_copy(update={"promote_baseline": True}), None)
    assert "# The candidate is not promoted; popularity, recent window serves in its place" in instead


def test_the_metric_table_marks_what_is_served() -> None:
    served = {row["model"] for row in metric_rows({**metrics(), "served": "popularity"}, 10)}
    assert served == {"brand_new", "popularity, as served", "blend, the candidate"}
    assert "blend, the candidate" in history_rows({**metrics(), "served": None})[0]


def test_an_alarm_is_told_in_its_words() -> None:
    alarm = Alarm(
        signal="data.items.price.level", family="data", window_days=7, since="2025-02-01", until="2025-02-08",
        p_value=0.001, says="items.price: 12 in the last 7 days, 10 before.",
    )  # fmt: skip
    text = describe_drift(DriftSummary(alarms=(alarm,), page=Path("p"), flooded_events=40, flooded_users=2), "p", "m")
    assert text.startswith("# 1 signals moved")
    assert (
        "| data.items.price.level | 2025-02-01 | 0.001 | no | items.price: 12 in the last 7 days, 10 before. |" in text
    )
    assert "40 events of 2 bots or floods are left out." in text


def test_where_nothing_was_compared_the_artifact_says_why_and_shows_no_table() -> None:
    text = describe_drift(DriftSummary(note="Nothing to compare.", page=Path("p")), "http://p", "http://m")
    assert text.splitlines() == [
        "# No drift was looked for",
        "",
        "Nothing to compare.",
        "",
        "[Report](http://p) · [Evidently](http://m)",
    ]
