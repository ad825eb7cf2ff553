"""A shop with a past: an evaluation, decisions of the gate, alarms and what followed, by the product's functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.alarms import Alarm, Course
from core.layout import Layout
from core.logs.audit import begin
from core.logs.timeline import Timeline
from core.settings.evaluation import GateSettings
from flows.loop.judgements import record_judgement
from flows.loop.looks import record_look
from flows.promotion.gate import AgainstChampion, BestBaseline, decide
from recommender.bundle.assembly import record_evaluation
from recommender.bundle.loading import load_bundle
from recommender.evaluation.evaluation import evaluate_bundle
from recommender.evaluation.feedback.names import without_samples
from recommender.metrics.significance import Comparison
from tests.integration.serving_shop import TinyShop

NOW = datetime.now(UTC)
PRICES = Alarm(
    signal="data.price.null_share",
    family="data",
    segment="category=green tea",
    window_days=7,
    since=(NOW - timedelta(days=8)).isoformat(),
    until=(NOW - timedelta(days=1)).isoformat(),
    value=0.9,
    reference=0.1,
    p_value=0.0004,
    broken=True,
    says="90 % of the prices are missing, where 10 % were before, most of category=green tea.",
)
TASTE = PRICES.model_copy(
    update={
        "signal": "embeddings.items.mean",
        "family": "embeddings",
        "course": Course(
            begins=(NOW - timedelta(days=29)).isoformat(),
            values=(*(0.1 + day % 5 / 100 for day in range(20)), None, *(0.2 + day / 100 for day in range(7))),
            low=0.08,
            high=0.16,
        ),
        "segment": None,
        "value": None,
        "reference": None,
        "broken": False,
        "says": "What users take lies elsewhere than before.",
    }
)
ORDERS = PRICES.model_copy(
    update={
        "signal": "data.events.volume",
        "segment": None,
        "value": 12.0,
        "reference": 210.0,
        "broken": False,
        "says": "12 events a day, where 210 were before.",
    }
)


def fill(shop: TinyShop) -> None:
    """Evaluate the whole bundle, have somebody act, the gate decide and monitoring look, some times each."""
    layout = shop.layout
    bundle = load_bundle(shop.whole)
    metrics = evaluate_bundle(bundle, layout.training("k"), 10, clean=layout.clean("k"))
    record_evaluation(shop.whole, without_samples(metrics) | {"served": "blend"}, None)
    begin(layout.audit, "rollback", "user:ann", {"reason": "complaints"})
    _decide(layout)
    _look(Timeline(layout.timeline))


def _decide(layout: Layout) -> None:
    compared = Comparison(
        "ndcg_at_10", 0.2793, 0.2974, -0.0181, -0.0301, -0.0061, 0.003, 60, "2026-03-01", "2026-03-08"
    )
    best = BestBaseline(kind="item_knn", value=0.3478, difference=-0.0684, low=-0.1249, high=-0.0224, p_value=0.01)
    settings, champion = GateSettings(undecided="keep"), AgainstChampion(compared, tag="sommelier-tiny:one")
    for number, (baseline, against) in enumerate([(None, AgainstChampion()), (None, champion), (best, champion)]):
        decision = decide(settings, metric="ndcg_at_10", candidate=0.2793, baseline=baseline, champion=against)
        record_judgement(layout, f"{number}735324ddcda478d", decision, promoted=decision.promote)


def _look(timeline: Timeline) -> None:
    for alarms in ([PRICES, TASTE, ORDERS], [PRICES, TASTE], [PRICES, TASTE]):
        record_look(timeline, alarms, clear_looks=2)
    prices = timeline.newest("alarm", PRICES.signal)
    assert prices is not None
    held = timeline.add("decision", "none", "held", "Nothing is trained while the data are broken.", cause=prices.id)
    begun = timeline.add("decision", "fine-tune", "retrain", "Enough is new since it learned.", cause=held.id)
    run = timeline.add("run", "fine-tune", "running", "fine-tune runs.", cause=begun.id)
    timeline.settle(run, "completed", "fine-tune completed.")
