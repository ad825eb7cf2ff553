"""The gate reads what users clicked on lists that explored: real bundles, a real log, clicks that are drawn here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from core.layout import Layout
from core.logs.events import EventLog, Interaction
from core.logs.predictions import Prediction
from core.logs.timeline import Timeline
from core.promotions import version_in_service
from core.settings.evaluation import GateSettings
from core.settings.tree import Recipe
from flows.loop.judgements import record_judgement
from flows.promotion.champion import UnseenEvents
from flows.promotion.decision import decide_candidate
from flows.promotion.gate import Decision
from flows.promotion.model_store import promote
from flows.promotion.off_policy import ShopLog
from flows.promotion.refits import labels_of
from flows.reporting.artifacts import describe_decision
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import read_manifest
from recommender.errors import BundleError
from recommender.evaluation.baselines import fit_baseline
from recommender.evaluation.report import _judgement_tables
from recommender.fitting.context import FitContext
from tests.unit.features.shops import Row, write_shop
from tests.unit.monitoring.online.test_shown import write
from tests.unit.recommender.tiny_shop import DATA, N_ITEMS, item, save_random_vectors, write_training_set
from tests.unit.recommender.tiny_shop import write as write_table

K, MODEL, N_USERS, N_LISTS = 5, "sommelier-t", 150, 3000
# Everything but guardrails lets a candidate through; that the tiny shop shows few items is no matter here.
GATE = GateSettings.model_validate(
    {"min_queries": 20, "tolerance": 1.0, "beat_baseline": "off", "guardrails": {"coverage_loss": None}}
    | {"segments": {"min_queries": 1000}}
)
METRICS = {"ranking": {"blend": {"ndcg_at_5": 0.3}}, "differences": {}, "validation": {}}
FIRST_LIST = datetime(2026, 6, 10, tzinfo=UTC)
POPULAR = item(1)
DAY_S = 86_400


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Popularity as it was judged and fitted again on everything, and neighbours of items as the candidate."""
    root = tmp_path_factory.mktemp("shop")
    training, recipe = write_training_set(root / "training"), Recipe()
    catalogue = pq.read_table(training / "catalogue.parquet").to_pylist()
    counts = [{**row, "item_n_events": 1000} if row["item_id"] == POPULAR else row for row in catalogue]
    write_table(training, "catalogue", counts)
    save_random_vectors(training, root / "vectors")
    for kind in ("popularity", "item_knn"):
        fit_baseline(FitContext(training, 7, k=K), kind, root / "vectors", root / f"fit-{kind}", recipe)
        parts = {"vectors": root / "vectors", "baseline": root / f"fit-{kind}"}
        assemble_bundle(root / kind, shop="t", recipe=recipe, data=DATA, components=parts, code_version="c", kind=kind)
    told: dict[str, Any] = {
        "kind": "popularity",
        "judged": read_manifest(root / "popularity").digest,
        "data": DATA.model_copy(update={"learned_until": "2026-06-05T00:00:00+00:00"}),
    }
    parts = {"vectors": root / "vectors", "baseline": root / "fit-popularity"}
    again = recipe.model_copy(update={"seed": 8})
    assemble_bundle(root / "again", shop="t", recipe=again, components=parts, code_version="c", **told)
    events = [Row(f"u{n}", item(0), 100 * DAY_S + n) for n in range(N_USERS)]
    events += [Row(f"v{n}", POPULAR, (120 + n % 40) * DAY_S) for n in range(200)]
    write_shop(root / "clean", events, items=[{"item_id": item(n)} for n in range(N_ITEMS)])
    return root


def decide(shop: Path, work: Path, liked: str | None, served: str = "popularity", **gate: Any) -> Decision:
    """What the gate says of the candidate, where one item is clicked more often than the others; None shows no list."""
    layout = Layout(work, "t")
    bundle = shop / served
    version = version_in_service(layout.model_name)
    version = version or promote(bundle, layout.model_name, labels_of(read_manifest(bundle)))
    if liked is not None:
        show(layout, version.tag, liked)
    judged = {read_manifest(shop / "popularity").digest: shop / "popularity"}
    events = UnseenEvents(
        shop / "training", lambda _: shop / "training", judged.get, log=ShopLog(layout, shop / "clean")
    )
    rules = GATE.model_copy(update=gate)
    return decide_candidate(shop / "item_knn", events, METRICS, rules, K, layout.model_name)


def show(layout: Layout, tag: str, liked: str) -> None:
    """Lists of one item, each item as likely as any other."""
    chance = np.random.default_rng(3)
    answers, clicks = [], []
    for number in range(N_LISTS):
        shown, user, at = item(int(chance.integers(N_ITEMS))), f"u{number % N_USERS}", FIRST_LIST
        at += timedelta(minutes=number)
        told: dict[str, Any] = {"items": (shown,), "scores": (1.0,), "propensities": (1 / N_ITEMS,), "user_id": user}
        answers.append(Prediction(f"r{number}", at.isoformat(), "/v1/recommend", tag, **told))
        if chance.random() < (0.6 if shown == liked else 0.05):
            clicks.append(
                Interaction(f"e{number}", user, shown, "click", at + timedelta(seconds=9), None, f"r{number}")
            )
    write(layout.predictions, *answers)
    layout.events.parent.mkdir(parents=True, exist_ok=True)
    EventLog(layout.events).append(clicks)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))


def test_a_candidate_whose_lists_would_surely_bring_fewer_clicks_is_refused(shop: Path, tmp_path: Path) -> None:
    decision = decide(shop, tmp_path, POPULAR)
    found = decision.off_policy
    assert found is not None
    assert found.in_service is not None
    assert found.in_service.doubly_robust is not None
    assert found.in_service.doubly_robust.low < 0.6 < found.in_service.doubly_robust.high
    assert found.candidate is not None
    assert found.candidate.snips is not None
    assert found.candidate.snips.high < 0.3
    assert (found.found, found.as_judged, found.is_ahead) == (N_LISTS, False, False)
    assert decision.verdict == "refuse"
    assert "the guardrail clicks is broken: by 3,000 lists of 150 users that explored" in decision.reason
    assert Decision.model_validate_json(decision.model_dump_json()) == decision
    text = describe_decision(decision, None)
    assert "## Clicks on lists that explored" in text
    assert "| clicks | broken | by 3,000 lists" in text
    assert f"| in service | 3,000 | 150 | {found.in_service.doubly_robust.value:.4f} [" in text
    layout = Layout(tmp_path, "t")
    entry = record_judgement(layout, "d" * 16, decision, promoted=False)
    assert entry.says.count("lists of 150 users") == 1
    assert Timeline(layout.timeline).read(["gate"])[0].details["off_policy"]["found"] == N_LISTS
    # Switched off as a guardrail, it is still evidence; switched off as a whole, nobody is asked.
    rules = GATE.guardrails.model_copy(update={"click_loss": None})
    shown = decide(shop, tmp_path, None, guardrails=rules)
    assert (shown.verdict, shown.off_policy) == ("promote", found)
    said = record_judgement(layout, "e" * 16, shown, promoted=True).says
    assert f". Clicks: {found.describe()}." in said
    off = GATE.off_policy.model_copy(update={"enabled": False})
    assert decide(shop, tmp_path, None, off_policy=off).off_policy is None


def test_one_that_is_not_surely_worse_goes_in_with_the_evidence(shop: Path, tmp_path: Path) -> None:
    decision = decide(shop, tmp_path, "nobody's")
    assert decision.verdict == "promote"
    assert [one.state for one in decision.guardrails if one.name == "clicks"] == ["held"]


def test_of_too_small_a_sample_it_says_so_and_decides_nothing(shop: Path, tmp_path: Path) -> None:
    few = GATE.off_policy.model_copy(update={"min_effective": 500})
    decision = decide(shop, tmp_path, POPULAR, off_policy=few)
    assert decision.verdict == "promote"
    assert [one.state for one in decision.guardrails if one.name == "clicks"] == ["not measured"]
    assert "too few to decide by: recipe.gate.off_policy.min_effective=500" in describe_decision(decision, None)


def test_without_a_log_there_is_no_such_guardrail(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.promotion.off_policy.current_settings", lambda: pytest.fail("the settings are read"))
    decision = decide(shop, tmp_path, None)
    assert (decision.verdict, decision.off_policy) == ("promote", None)
    assert "clicks" not in {one.name for one in decision.guardrails}
    assert "explored" not in describe_decision(decision, None)


def test_one_in_service_that_learned_newer_events_is_asked_as_it_was_judged(shop: Path, tmp_path: Path) -> None:
    decision = decide(shop, tmp_path, POPULAR, served="again")
    assert decision.off_policy is not None
    assert (decision.off_policy.as_judged, decision.off_policy.is_ahead) == (True, False)
    assert "the bundle that was judged in the place of the one in service" in decision.reason
    assert decision.verdict == "refuse"


def test_a_log_that_cannot_be_read_keeps_nothing_out_and_is_said(shop: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path, "t")
    layout.predictions.mkdir(parents=True)
    (layout.predictions / "broken.jsonl").mkdir()
    decision = decide(shop, tmp_path, None)
    assert decision.verdict == "promote"
    assert decision.off_policy is not None
    assert decision.off_policy.why.startswith("nobody can be asked about lists that explored: Cannot read")


@pytest.mark.parametrize(
    ("at", "error", "said"),
    [
        (
            "monitoring.online.challenger.open_shown",
            duckdb.OutOfMemoryException("full\nof it"),
            "OutOfMemoryException: full",
        ),
        ("features.point_in_time.states.check_clean_tables", OSError("no such disk"), "OSError: no such disk"),
        (
            "flows.promotion.off_policy.read_tombstones",
            BundleError("Cannot read", got="a=1", expected="2", do="Look"),
            "Cannot read: a=1, expected 2. Look",
        ),
    ],
)
def test_whatever_fails_is_told_and_the_rest_of_the_decision_is_as_without(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, error: Exception, said: str
) -> None:
    without = decide(shop, tmp_path, None)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(at, fail)
    decision = decide(shop, tmp_path, POPULAR)
    assert decision.off_policy is not None
    assert decision.off_policy.describe() == f"nobody can be asked about lists that explored: {said}"
    assert (decision.verdict, decision.comparison) == (without.verdict, without.comparison)
    others = [one.name for one in decision.guardrails if one.name != "clicks"]
    assert others == [one.name for one in without.guardrails]
    assert others


def test_of_more_events_than_are_read_nobody_is_asked_which_is_said(shop: Path, tmp_path: Path) -> None:
    n_events = pq.read_metadata(shop / "clean" / "interactions.parquet").num_rows
    few = GATE.off_policy.model_copy(update={"events": n_events - 1})
    decision = decide(shop, tmp_path, POPULAR, off_policy=few)
    assert decision.verdict == "promote"
    assert decision.off_policy is not None
    assert decision.off_policy.why == (
        f"nobody can be asked about lists that explored: the clean tables have {n_events:,} events, and "
        f"recipe.gate.off_policy.events={n_events - 1} are read at most"
    )
    enough = GATE.off_policy.model_copy(update={"events": n_events})
    asked = decide(shop, tmp_path, None, off_policy=enough)
    assert asked.verdict == "refuse"


def test_users_are_read_for_the_features_that_are_asked_about_alone(shop: Path, tmp_path: Path) -> None:
    log = ShopLog(Layout(tmp_path, "t"), shop / "clean")
    one = load_bundle(shop / "popularity", parts=())
    recipe = one.manifest.recipe
    features = recipe.features.model_copy(update={"max_history": 3})
    manifest = one.manifest.model_copy(update={"recipe": recipe.model_copy(update={"features": features})})
    other = replace(one, manifest=manifest)
    n_events = pq.read_metadata(shop / "clean" / "interactions.parquet").num_rows
    assert log.find_too_many((one, one), n_events) == ""
    assert "read twice" in log.find_too_many((one, other), 2 * n_events - 1)
    assert log.find_too_many((one, other), 2 * n_events) == ""
    first = log.states(one)
    assert log.states(one) is first
    assert log.states(other) is not first
    log.find_too_many((other, other), n_events)
    assert list(log.made.values()) == [log.states(other)]


def test_the_report_has_the_estimates(shop: Path, tmp_path: Path) -> None:
    found = decide(shop, tmp_path, POPULAR).off_policy
    assert found is not None
    asked = found.model_dump(mode="json") | {"says": found.describe()}
    (table,) = _judgement_tables({"judgement": {"off_policy": asked}})
    assert table["title"] == "Clicks on lists that explored"
    assert [row["name"] for row in table["rows"]] == ["candidate", "in service"]
    assert table["rows"][1]["cells"][0] == {"text": "150", "note": "3,000 lists", "mark": ""}
    assert found.describe() in table["note"]
