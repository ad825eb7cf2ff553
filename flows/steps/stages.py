"""The stages that flows are made of. Each names its output by a key of its inputs, so equal work is done once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.layout import Layout
from core.settings.evaluation import BaselineKind
from core.settings.features import FeatureStoreSettings
from core.settings.platform import PlatformSettings
from core.storage import digest_of, file_digest
from flows import artifacts
from flows.environment import current_settings
from flows.last_validation import keep_validation, read_last_validation
from flows.params import PipelineParams
from flows.promotion.model_store import newest_version
from flows.pruning import mark_used
from flows.reports import DATA_DOCS, DRIFT, EVALUATIONS, write_index
from flows.steps import tasks
from flows.steps.code_version import code_version
from recommender.bundle.manifest import Component

if TYPE_CHECKING:
    from features.refresh import FeatureSummary
    from features.training import TrainingSummary
    from flows.promotion.gate import Decision
    from flows.promotion.model_store import Version
    from monitoring.drift import DriftSummary
    from recommender.retrieval.sequence.training import Epoch
    from validation.raw.parts import RawTables
    from validation.summary import ValidationSummary


@dataclass(frozen=True)
class Place:
    """Where a flow run works, and what makes its results its own."""

    params: PipelineParams
    layout: Layout
    platform: PlatformSettings
    stores: FeatureStoreSettings
    code: str

    @classmethod
    def of(cls, params: PipelineParams) -> Place:
        """The place of a shop below this process's work folder."""
        settings = current_settings()
        layout = Layout(settings.work_dir, params.shop)
        return cls(params, layout, settings.platform, settings.feature_store, code_version())

    def page_url(self, page: Path) -> str:
        """Where one of the shop's report pages is shown."""
        below = page.relative_to(self.layout.reports)
        return f"http://{self.platform.host}:{self.platform.reports_port}/{below.as_posix()}"

    @property
    def monitoring_url(self) -> str:
        """Evidently's own UI."""
        return f"http://{self.platform.host}:{self.platform.monitoring_port}"

    def key(self, *parts: Any) -> str:
        """The key of a stage's output, from the keys and settings that decide it."""
        plain = [p.model_dump(mode="json") if hasattr(p, "model_dump") else p for p in parts]
        return digest_of(self.code, *plain)

    def kept(self, task: Any, target: Path) -> Any:
        """The task, done again where its kept result points at a folder that is gone, or where the user asks for it."""
        mark_used(target)
        return task.with_options(refresh_cache=self.params.refresh or not target.exists())


@dataclass(frozen=True)
class Prepared:
    """What validation and the feature store gave."""

    raw: RawTables
    clean: ValidationSummary
    clean_key: str
    features: FeatureSummary | None = None


@dataclass(frozen=True)
class TrainingSet:
    """A point-in-time training set, and the key of what it was made from."""

    folder: Path
    key: str
    summary: TrainingSummary


@dataclass(frozen=True)
class Ranking:
    """The components that rank, and the keys that what is made of them depends on."""

    vectors: Path
    vectors_key: str
    sequence: Path
    blend: Path
    blend_key: str


@dataclass(frozen=True)
class Candidate:
    """A bundle before the gate."""

    folder: Path
    digest: str
    training: TrainingSummary
    clean_key: str


@dataclass(frozen=True)
class Judged:
    """What the gate made of a candidate; `version` is what was promoted: it, or a baseline in its place, or None."""

    metrics: dict[str, Any]
    decision: Decision
    version: Version | None


_Fit = Callable[[Place, TrainingSet, Ranking], tuple[Path | None, str]]


def open_door(place: Place) -> Prepared:
    """Ingest and validate."""
    from validation.sources.ingest import source_fingerprint

    recipe, layout = place.params.recipe, place.layout
    fingerprint = source_fingerprint(recipe.source, layout.events, layout.readmitted)
    raw_key = place.key(recipe.source, fingerprint)
    raw_dir = layout.raw(raw_key)
    raw = place.kept(tasks.ingest_source, raw_dir)(
        recipe.source, layout.events, layout.readmitted, raw_dir, fingerprint=fingerprint, code=place.code
    )
    clean_key = place.key(raw_key, recipe.validation)
    clean_dir, page = layout.clean(clean_key), layout.reports / clean_key / DATA_DOCS
    clean = place.kept(tasks.validate_tables, clean_dir)(
        raw_dir, clean_dir, recipe.validation, page.parent, read_last_validation(layout), code=place.code
    )
    keep_validation(layout, clean)
    write_index(layout)
    artifacts.publish_validation(clean, place.page_url(page))
    return Prepared(raw, clean, clean_key)


def prepare(place: Place) -> Prepared:
    """Ingest, validate, and bring the feature store up to date."""
    door = open_door(place)
    features = tasks.refresh_feature_store(
        place.layout.clean(door.clean_key),
        place.layout.feast,
        place.params.recipe.features,
        place.stores,
        place.layout.events,
    )
    return Prepared(door.raw, door.clean, door.clean_key, features)


def collect(place: Place, prepared: Prepared) -> TrainingSet:
    """The point-in-time training set."""
    recipe, layout = place.params.recipe, place.layout
    windows = recipe.evaluation.windows()
    key = place.key(prepared.clean_key, recipe.features, windows)
    folder = layout.training(key)
    summary = place.kept(tasks.collect_training_set, folder)(
        layout.clean(prepared.clean_key),
        layout.feast,
        folder,
        recipe.features,
        windows,
        code=place.code,
    )
    return TrainingSet(folder, key, summary)


def learn(place: Place, prepared: Prepared) -> Candidate:
    """Training set, the models, and the bundle of them."""
    training = collect(place, prepared)
    folder, digest = _fit(place, training, prepared)
    return Candidate(folder, digest, training.summary, prepared.clean_key)


def _component(place: Place, training: TrainingSet, name: str, *parts: Any) -> tuple[Path, str]:
    """Where a component lies that comes of this training set, this seed and these parts, and its key."""
    key = place.key(name, training.key, place.params.recipe.seed, *parts)
    return place.layout.component(name, key), key


def fit_ranking(place: Place, training: TrainingSet, on_epoch: Callable[[Epoch], None] | None = None) -> Ranking:
    """The components that rank: text vectors, the sequence model, and its blend with the neighbourhood model.

    Args:
        on_epoch: Told of every epoch of the sequence model that is run; what it raises ends the fit.
    """
    recipe, code, augmentation = place.params.recipe, place.code, place.params.recipe.augmentation
    given = (recipe.encoder, recipe.modality)
    file = recipe.modality.path
    # A file that changes under its name is another input; one that is missing is for the fit to say.
    digest = file_digest(file) if file and file.is_file() else ""
    vectors, vectors_key = _component(place, training, "vectors", *given, digest, recipe.evaluation.k)
    place.kept(tasks.embed_items, vectors)(
        training.folder, vectors, *given, recipe.evaluation.k, recipe.seed, modality_digest=digest, code=code
    )
    sequence, sequence_key = _component(place, training, "sequence", vectors_key, recipe.sequence, augmentation)
    place.kept(tasks.fine_tune_sequence, sequence)(
        training.folder,
        vectors,
        sequence,
        recipe.sequence,
        recipe.features.max_history,
        recipe.evaluation.k,
        recipe.seed,
        augmentation,
        on_epoch,
        code=code,
    )
    blend, blend_key = _component(place, training, "blend", sequence_key, recipe.neighbours, recipe.blend)
    place.kept(tasks.blend_models, blend)(
        training.folder,
        vectors,
        sequence,
        blend,
        recipe.neighbours,
        recipe.blend,
        recipe.evaluation.k,
        recipe.seed,
        code=code,
    )
    return Ranking(vectors, vectors_key, sequence, blend, blend_key)


def _fit(place: Place, training: TrainingSet, prepared: Prepared) -> tuple[Path, str]:
    """Every component, and the bundle of those that the shop's data allow: its folder and its digest."""
    recipe = place.params.recipe
    ranking = fit_ranking(place, training)
    components: dict[Component, Path | None] = {
        "vectors": ranking.vectors,
        "sequence": ranking.sequence,
        "blend": ranking.blend,
    }
    keys = [ranking.blend_key]
    others: dict[Component, _Fit] = {"generative": _fit_generative, "scorer": _fit_scorer, "writer": _fit_writer}
    for name, fit in others.items():
        components[name], key = fit(place, training, ranking)
        keys.append(key)
    target = place.layout.bundle(place.key(*keys, recipe))
    digest = place.kept(tasks.assemble_candidate, target)(
        place.params.shop, recipe, training.summary, prepared.raw.fingerprint, components, target, code=place.code
    )
    return target, digest


def _fit_generative(place: Place, training: TrainingSet, ranking: Ranking) -> tuple[Path | None, str]:
    recipe = place.params.recipe
    folder, key = _component(place, training, "generative", ranking.vectors_key, recipe.generative)
    made = place.kept(tasks.fine_tune_generative, folder)(
        training.folder,
        ranking.vectors,
        folder,
        recipe.generative,
        recipe.features.max_history,
        recipe.evaluation.k,
        recipe.seed,
        code=place.code,
    )
    return made, key


def _fit_scorer(place: Place, training: TrainingSet, ranking: Ranking) -> tuple[Path | None, str]:
    recipe, augmentation = place.params.recipe, place.params.recipe.augmentation
    folder, key = _component(place, training, "scorer", ranking.vectors_key, recipe.scorer, augmentation)
    made = place.kept(tasks.fine_tune_scorer, folder)(
        training.folder, ranking.vectors, folder, recipe.scorer, recipe.seed, augmentation, code=place.code
    )
    return made, key


def _fit_writer(place: Place, training: TrainingSet, ranking: Ranking) -> tuple[Path | None, str]:
    recipe, augmentation = place.params.recipe, place.params.recipe.augmentation
    folder, key = _component(place, training, "writer", recipe.writer, augmentation)
    made = place.kept(tasks.fine_tune_writer, folder)(
        training.folder, folder, recipe.writer, recipe.seed, augmentation, code=place.code
    )
    return made, key


def judge(place: Place, candidate: Candidate) -> Judged:
    """Evaluate, pass the gate, promote: the candidate, or the best baseline where that is why it is refused."""
    recipe, layout = place.params.recipe, place.layout
    training_dir = Path(candidate.training.folder)
    k, model = recipe.evaluation.k, layout.model_name
    users = layout.clean(candidate.clean_key) / "users.parquet"
    metrics = tasks.evaluate_candidate.with_options(refresh_cache=place.params.refresh)(
        candidate.folder, training_dir, users, k, digest=candidate.digest, code=place.code
    )
    decision, bundle = tasks.hold_gate(candidate.folder, training_dir, metrics, recipe.gate, k, model), candidate.folder
    if decision.lost_to_baseline and decision.baseline is not None:
        bundle = _bundle_of_baseline(place, candidate, decision.baseline.kind)
        decision = tasks.hold_gate_for_baseline(bundle, training_dir, decision, recipe.gate, k, model)
    metrics = {**metrics, "served": decision.served}
    artifacts.publish_metrics(metrics, k, place.page_url(_report(place, candidate, metrics, decision)))
    version = None
    if decision.promote or decision.promote_baseline:
        version = tasks.promote_candidate(bundle, model, metrics, decision)
    artifacts.publish_decision(decision, newest_version(model))
    return Judged(metrics, decision, version)


def _bundle_of_baseline(place: Place, candidate: Candidate, kind: BaselineKind) -> Path:
    """The bundle in which a baseline serves in a candidate's place."""
    recipe, training = place.params.recipe, Path(candidate.training.folder)
    key = place.key("baseline", kind, training.name, candidate.digest)
    baseline, target = place.layout.component("baseline", key), place.layout.baseline_bundle(key)
    vectors = candidate.folder / "vectors"
    clean = place.layout.clean(candidate.clean_key)
    place.kept(tasks.fit_served_baseline, baseline)(training, clean, vectors, baseline, kind, recipe, code=place.code)
    place.kept(tasks.assemble_served_baseline, target)(
        candidate.folder, baseline, kind, target, digest=candidate.digest, code=place.code
    )
    return target


def _report(place: Place, candidate: Candidate, metrics: dict[str, Any], decision: Decision) -> Path:
    """The evaluation's page; one that stands is written again only where there is more to tell."""
    page = place.layout.reports / candidate.clean_key / EVALUATIONS / f"{candidate.digest}.html"
    if decision.comparison or place.params.refresh or not page.exists():
        told = candidate.training
        title = f"{place.params.shop}: evaluation of a bundle"
        subtitle = (
            f"Bundle {candidate.digest}; learned from {told.first_event_at[:10]} to {told.validation_at[:10]}, "
            f"judged on {told.test_at[:10]} to {told.last_event_at[:10]}."
        )
        tasks.report_evaluation(metrics, decision, page, title, subtitle)
        write_index(place.layout)
    return page


def watch(place: Place, prepared: Prepared, cut_at: datetime) -> DriftSummary:
    """Report drift since the cut-off."""
    layout, recipe = place.layout, place.params.recipe
    page = layout.reports / prepared.clean_key / DRIFT
    drift: DriftSummary = place.kept(tasks.watch_drift, page)(
        layout.clean(prepared.clean_key),
        layout.monitoring,
        place.params.shop,
        page,
        cut_at,
        recipe.drift,
        code=place.code,
    )
    write_index(layout)
    artifacts.publish_drift(drift, place.page_url(page), place.monitoring_url)
    return drift
