"""Prefect tasks: each calls one function of a room below, and passes paths and small records only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger, task
from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE

from core.schema import TableName
from core.settings.evaluation import BaselineKind, EvaluationSettings, GateSettings
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.settings.models import (
    AugmentationSettings,
    BlendSettings,
    EncoderSettings,
    GenerativeSettings,
    ModalitySettings,
    NeighbourSettings,
    Scorer,
    SequenceSettings,
    Writer,
)
from core.settings.monitoring import DriftSettings
from core.settings.source import Source
from core.settings.tree import Recipe
from core.settings.validation import ValidationSettings
from flows.measurement import KEPT, measured
from flows.promotion.champion import WITHDRAWN, compare_with_champion, is_withdrawn, tag_in_service
from flows.promotion.gate import Decision, decide, decide_baseline, find_best_baseline
from flows.promotion.model_store import newest_version, promote

if TYPE_CHECKING:
    from features.refresh import FeatureSummary
    from features.training import TrainingSummary
    from flows.promotion.model_store import Version
    from monitoring.drift import DriftSummary
    from recommender.bundle.manifest import Component
    from recommender.retrieval.sequence.training import Epoch
    from validation.quarantine.readmission import ReadmissionSummary
    from validation.raw.parts import RawTables
    from validation.summary import ValidationSummary

# Every task takes `code`, the version of the rooms' code: it is read by the cache key, not by the body.
THREADS = 2


@task(name="ingest", **KEPT)
def ingest_source(
    source: Source, event_log: Path, readmitted: Path, target: Path, *, fingerprint: str, code: str
) -> RawTables:
    """Read the source, the service's event log and the readmitted rows into raw tables."""
    from validation.sources.ingest import ingest

    with measured("ingest"):
        return ingest(source, target, event_log, readmitted)


# What the run before saw only decides warnings and stops, never the clean rows: the same rows are not judged twice.
@task(name="validate", **{**KEPT, "cache_policy": INPUTS - "previous" + TASK_SOURCE})
def validate_tables(
    raw: Path,
    target: Path,
    rules: ValidationSettings,
    docs: Path,
    previous: ValidationSummary | None,
    *,
    code: str,
) -> ValidationSummary:
    """Hold the raw tables against the expectations; bad rows go to quarantine, a bad table stops the flow."""
    from validation.gate import validate

    with measured("validate"):
        return validate(raw, target, rules, docs, previous)


@task(name="readmit", cache_policy=NO_CACHE)
def readmit_rows(
    quarantine: Path, readmitted: Path, corrections: Path | None, table: TableName | None, rules: tuple[str, ...]
) -> ReadmissionSummary:
    """Let quarantined rows in again, as they are or as somebody mended them; the next ingest reads them."""
    from validation.quarantine.readmission import read_corrections, readmit, select

    with measured("readmit"):
        rows = select(quarantine, table, rules) if corrections is None else read_corrections(corrections)
        return readmit(rows, readmitted)


@task(name="refresh-features", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[1, 5])
def refresh_feature_store(
    clean: Path, feast: Path, settings: FeatureSettings, stores: FeatureStoreSettings, event_log: Path
) -> FeatureSummary:
    """Compute the feature views, apply the Feast repository and materialise; does nothing where they are current."""
    from features.refresh import refresh_features

    with measured("features"):
        return refresh_features(clean, feast, settings, stores, event_log=event_log)


@task(name="training-set", **KEPT)
def collect_training_set(
    clean: Path, feast: Path, target: Path, features: FeatureSettings, evaluation: EvaluationSettings, *, code: str
) -> TrainingSummary:
    """Point-in-time training set from Feast."""
    from features.training import build_training_set

    with measured("training-set"):
        return build_training_set(clean, feast, target, features, evaluation)


@task(name="embed-catalogue", **KEPT)
def embed_items(
    training: Path,
    target: Path,
    encoder: EncoderSettings,
    modality: ModalitySettings,
    k: int,
    seed: int,
    *,
    modality_digest: str,
    code: str,
) -> Path:
    """Text vectors of the catalogue by the language model, fine-tuned first where the recipe says so."""
    from recommender.retrieval.text.embedding import embed_catalogue

    with measured("embed-catalogue"):
        embed_catalogue(training, target, encoder, seed, get_run_logger().info, THREADS, k, modality)
    return target


# Who listens to the epochs changes nothing of what is learned.
@task(name="fine-tune-sequence", **{**KEPT, "cache_policy": INPUTS - "on_epoch" + TASK_SOURCE})
def fine_tune_sequence(
    training: Path,
    vectors: Path,
    target: Path,
    settings: SequenceSettings,
    max_history: int,
    k: int,
    seed: int,
    augmentation: AugmentationSettings,
    on_epoch: Callable[[Epoch], None] | None = None,
    *,
    code: str,
) -> Path:
    """Fine-tune on the shop's sequences; a fit that `on_epoch` ends with an error of the house is not tried again."""
    from recommender.retrieval.sequence.fit import fit_sequence

    with measured("fine-tune-sequence"):
        progress = get_run_logger().info
        fit_sequence(
            training, vectors, target, settings, max_history, k, seed, THREADS, progress, augmentation, on_epoch
        )
    return target


@task(name="blend", **KEPT)
def blend_models(
    training: Path,
    vectors: Path,
    sequence: Path,
    target: Path,
    neighbours: NeighbourSettings,
    blend: BlendSettings,
    k: int,
    seed: int,
    *,
    code: str,
) -> Path:
    """Learn the neighbourhood model, and choose how it blends with the sequence model."""
    from recommender.ranking.blend_training import fit_blend

    with measured("blend"):
        progress = get_run_logger().info
        fit_blend(training, vectors, sequence, target, neighbours, blend, k, seed, THREADS, progress)
    return target


@task(name="fine-tune-generative", **KEPT)
def fine_tune_generative(
    training: Path,
    vectors: Path,
    target: Path,
    settings: GenerativeSettings,
    max_history: int,
    k: int,
    seed: int,
    *,
    code: str,
) -> Path | None:
    """Give items semantic ids and learn to write the next one; None where the recipe has it off."""
    from recommender.retrieval.generative.training import fit_generative

    with measured("fine-tune-generative"):
        progress = get_run_logger().info
        fitted = fit_generative(training, vectors, target, settings, max_history, k, seed, THREADS, progress)
    return target if fitted else None


@task(name="fine-tune-scorer", **KEPT)
def fine_tune_scorer(
    training: Path,
    vectors: Path,
    target: Path,
    settings: Scorer,
    seed: int,
    augmentation: AugmentationSettings,
    *,
    code: str,
) -> Path | None:
    """Train the pair scorer; None where the shop has too few ratings."""
    from recommender.scoring.training import fit_scorer

    with measured("fine-tune-scorer"):
        progress = get_run_logger().info
        fitted = fit_scorer(training, vectors, target, settings, seed, THREADS, progress, augmentation)
    return target if fitted else None


@task(name="fine-tune-writer", **KEPT)
def fine_tune_writer(
    training: Path, target: Path, settings: Writer, seed: int, augmentation: AugmentationSettings, *, code: str
) -> Path | None:
    """Train the feedback writer; None where the shop has too few reviews."""
    from recommender.writing.training import fit_writer

    with measured("fine-tune-writer"):
        fitted = fit_writer(training, target, settings, seed, THREADS, get_run_logger().info, augmentation)
    return target if fitted else None


@task(name="assemble-bundle", **KEPT)
def assemble_candidate(
    shop: str,
    recipe: Recipe,
    training: TrainingSummary,
    fingerprint: str,
    components: dict[Component, Path | None],
    target: Path,
    *,
    code: str,
) -> str:
    """Put the learned parts into one bundle with its manifest; returns the bundle's digest."""
    from recommender.bundle.assembly import assemble_bundle
    from recommender.bundle.manifest import DataRange

    with measured("assemble-bundle"):
        data = DataRange(
            fingerprint=fingerprint,
            first_event_at=training.first_event_at,
            last_event_at=training.last_event_at,
            validation_at=training.validation_at,
            test_at=training.test_at,
            rows=training.rows,
        )
        manifest = assemble_bundle(
            target,
            shop=shop,
            recipe=recipe,
            data=data,
            components={name: folder for name, folder in components.items() if folder is not None},
            code_version=code,
        )
    return manifest.digest


@task(name="evaluate", **KEPT)
def evaluate_candidate(
    candidate: Path, training: Path, users: Path, k: int, *, digest: str, code: str
) -> dict[str, Any]:
    """Judge a candidate on the test window, beside the baselines and the model before fine-tuning."""
    from recommender.bundle.loading import load_bundle
    from recommender.evaluation.evaluation import evaluate_bundle

    with measured("evaluate"):
        return evaluate_bundle(load_bundle(candidate), training, k, users=users, progress=get_run_logger().info)


@task(name="report-evaluation", cache_policy=NO_CACHE)
def report_evaluation(metrics: dict[str, Any], decision: Decision, page: Path, title: str, subtitle: str) -> Path:
    """Write the evaluation's page and its JSON."""
    from recommender.evaluation.report import write_report

    with measured("report-evaluation"):
        compared, reason = decision.comparison, decision.reason
        return write_report(page, metrics, title=title, subtitle=subtitle, comparison=compared, decision=reason)


@task(name="gate", cache_policy=NO_CACHE)
def hold_gate(
    candidate: Path, training: Path, metrics: dict[str, Any], gate: GateSettings, k: int, model: str
) -> Decision:
    """Compare a candidate with the best baseline, and with the bundle in service on the same test events."""
    from recommender.bundle.manifest import read_manifest
    from recommender.evaluation.names import SERVED

    key = f"{gate.metric}_at_{k}"
    digest = read_manifest(candidate).digest
    baseline = find_best_baseline(metrics, key)
    figures: dict[str, Any] = {"metric": key, "candidate": metrics["ranking"][SERVED][key], "baseline": baseline}
    if tag := tag_in_service(digest, model):
        return Decision(promote=False, reason=f"the same bundle is in service already: {tag}", served=SERVED, **figures)
    if is_withdrawn(digest, model):
        return Decision(promote=False, reason=f"this bundle {WITHDRAWN}", **figures)
    if decide(gate, champion=None, **figures).lost_to_baseline:
        return decide(gate, champion=None, **figures)
    compared, no_champion = compare_with_champion(candidate, training, k, gate.metric, model)
    return decide(gate, champion=compared, no_champion=no_champion, **figures)


@task(name="fit-baseline", **KEPT)
def fit_served_baseline(
    training: Path, clean: Path, vectors: Path, target: Path, kind: BaselineKind, recipe: Recipe, *, code: str
) -> Path:
    """Fit the baseline that serves in a candidate's place, equal to the one that was judged; popularity goes on."""
    from recommender.evaluation.baselines import fit_baseline

    with measured("fit-baseline"):
        events, k = clean / "interactions.parquet", recipe.evaluation.k
        fit_baseline(kind, training, vectors, target, recipe, k, get_run_logger().info, interactions=events)
    return target


@task(name="assemble-baseline", **KEPT)
def assemble_served_baseline(
    candidate: Path, baseline: Path, kind: BaselineKind, target: Path, *, digest: str, code: str
) -> str:
    """Put a baseline into a bundle of its own, beside the candidate's scorer and writer; returns its digest.

    Args:
        digest: The candidate's: read by the cache key, not by the body.
    """
    from recommender.bundle.assembly import assemble_baseline

    with measured("assemble-baseline"):
        return assemble_baseline(target, candidate, baseline, kind, code).digest


@task(name="gate-baseline", cache_policy=NO_CACHE)
def hold_gate_for_baseline(
    bundle: Path, training: Path, refused: Decision, gate: GateSettings, k: int, model: str
) -> Decision:
    """Compare the baseline that a candidate lost to with the bundle in service on the same test events."""
    from recommender.bundle.manifest import read_manifest

    manifest = read_manifest(bundle)
    if tag := tag_in_service(manifest.digest, model):
        reason = f"{refused.reason}; that baseline is in service already: {tag}"
        return refused.model_copy(update={"reason": reason, "served": manifest.kind})
    if is_withdrawn(manifest.digest, model):
        return refused.model_copy(update={"reason": f"{refused.reason}; that baseline {WITHDRAWN}"})
    compared, no_champion = compare_with_champion(bundle, training, k, gate.metric, model)
    return decide_baseline(gate, refused, compared, no_champion)


@task(name="promote", cache_policy=NO_CACHE)
def promote_candidate(bundle: Path, model: str, metrics: dict[str, Any], decision: Decision) -> Version:
    """Append a bundle to the model store as the newest version; the service swaps to it by itself."""
    from recommender.bundle.assembly import record_evaluation

    champion = newest_version(model)
    value = decision.baseline.value if decision.promote_baseline and decision.baseline else decision.candidate
    with measured("promote"):
        manifest = record_evaluation(bundle, metrics, champion.labels["digest"] if champion else None)
        labels = {
            "digest": manifest.digest,
            "kind": manifest.kind,
            "parent": champion.version if champion else "",
            "metric": decision.metric,
            "value": f"{value:.4f}",
        }
        return promote(bundle, model, labels)


@task(name="monitor", **KEPT)
def watch_drift(
    clean: Path, workspace: Path, project: str, page: Path, cut_at: datetime, settings: DriftSettings, *, code: str
) -> DriftSummary:
    """Compare the events since the cut-off with those the model learned from, in an Evidently report."""
    from monitoring.drift import report_drift

    with measured("monitor"):
        summary = report_drift(clean, workspace, project, page, cut_at, settings)
    if summary.note:
        get_run_logger().info("monitor: %s", summary.note)
    return summary
