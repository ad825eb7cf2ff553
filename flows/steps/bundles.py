"""From components to bundles: the candidate, and the bundle in which a baseline serves in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.settings.evaluation import BaselineKind
from flows.steps.data import Prepared, collect_training_set
from flows.steps.fits import (
    component,
    fine_tune_generative,
    fine_tune_scorer,
    fine_tune_writer,
    fit_ranking,
    model_digest,
)
from flows.steps.run import Run
from flows.steps.step import WHOLE_RECIPE, Output, StepContext, step
from flows.steps.versions import code_version

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from recommender.bundle.manifest import Component
    from validation.raw.parts import RawTables
    from validation.summary import ValidationSummary


@step("assemble-bundle", at=lambda layout, key, _: layout.bundle(key), reads=WHOLE_RECIPE)
def assemble_candidate(
    step: StepContext,
    raw: Output[RawTables],
    training: Output[TrainingSummary],
    components: Mapping[Component, Output[bool]],
) -> str:
    """Put what was learned into one bundle with its manifest; returns the bundle's digest."""
    from recommender.bundle.assembly import assemble_bundle
    from recommender.bundle.manifest import DataRange

    windows = training.value
    data = DataRange(
        fingerprint=raw.value.fingerprint,
        first_event_at=windows.first_event_at,
        last_event_at=windows.last_event_at,
        validation_at=windows.validation_at,
        test_at=windows.test_at,
        rows=windows.rows,
    )
    manifest = assemble_bundle(
        step.target,
        shop=step.layout.shop,
        recipe=step.recipe,
        data=data,
        components={name: part.folder for name, part in components.items() if part.value},
        code_version=code_version(),
    )
    return manifest.digest


@step("fit-baseline", at=component("baseline"), reads=WHOLE_RECIPE, computes=True)
def fit_served_baseline(
    step: StepContext,
    kind: BaselineKind,
    training: Output[TrainingSummary],
    clean: Output[ValidationSummary],
    candidate: Output[str],
) -> bool:
    """Fit the baseline that serves in a candidate's place, equal to the one evaluated; popularity counts up to now."""
    from recommender.evaluation.baselines import fit_baseline

    vectors, events = candidate.folder / "vectors", clean.folder / "interactions.parquet"
    fit_baseline(step.fit(training.folder), kind, vectors, step.target, step.recipe, interactions=events)
    return True


@step("assemble-baseline", at=lambda layout, key, _: layout.baseline_bundle(key))
def assemble_served_baseline(
    step: StepContext, kind: BaselineKind, candidate: Output[str], baseline: Output[bool]
) -> str:
    """Put a baseline into a bundle of its own, beside the candidate's scorer and writer; returns its digest."""
    from recommender.bundle.assembly import assemble_baseline

    return assemble_baseline(step.target, candidate.folder, baseline.folder, kind, code_version()).digest


def learn(run: Run, prepared: Prepared) -> tuple[Output[TrainingSummary], Output[str]]:
    """The training set, and the candidate: a bundle of every component that the shop's data allow."""
    training = collect_training_set(run, clean=prepared.clean)
    ranking = fit_ranking(run, training)
    components: dict[Component, Output[bool]] = {
        "vectors": ranking.vectors,
        "sequence": ranking.sequence,
        "blend": ranking.blend,
        "generative": fine_tune_generative(run, training=training, vectors=ranking.vectors),
        "scorer": fine_tune_scorer(
            run, training=training, vectors=ranking.vectors, model_digest=model_digest(run.recipe.scorer)
        ),
        "writer": fine_tune_writer(run, training=training, model_digest=model_digest(run.recipe.writer)),
    }
    return training, assemble_candidate(run, raw=prepared.raw, training=training, components=components)


def bundle_of_baseline(
    run: Run,
    kind: BaselineKind,
    training: Output[TrainingSummary],
    clean: Output[ValidationSummary],
    candidate: Output[str],
) -> Output[str]:
    """The bundle in which a baseline serves in a candidate's place."""
    baseline = fit_served_baseline(run, kind=kind, training=training, clean=clean, candidate=candidate)
    return assemble_served_baseline(run, kind=kind, candidate=candidate, baseline=baseline)
