"""From components to bundles: the candidate, and the bundle in which a baseline serves in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.settings.evaluation import BaselineKind
from flows.steps.data import Prepared, collect_training_set
from flows.steps.fits import Ranking, component, fine_tune_generative, fit_ranking, fit_words
from flows.steps.preconditions import check_shop
from flows.steps.run import Run
from flows.steps.step import WHOLE_RECIPE, Output, Start, StepContext, step
from flows.steps.versions import code_version
from flows.steps.warm_start import FROM_NOTHING, Plan, plan_warm_start, report_starts
from recommender.bundle.manifest import Chain, WriterOrigin

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from recommender.bundle.manifest import Component
    from validation.summary import ValidationSummary


@step("assemble-bundle", at=lambda layout, key, _: layout.bundle(key), reads=WHOLE_RECIPE)
def assemble_candidate(
    step: StepContext,
    fingerprint: str,
    training: Output[TrainingSummary],
    components: Mapping[Component, Output[bool]],
    chain: Chain | None = None,
) -> str:
    """Put what was learned into one bundle with its manifest; returns the bundle's digest.

    Args:
        fingerprint: Of the data that were read for it.
    """
    from recommender.bundle.assembly import assemble_bundle
    from recommender.bundle.data_range import DataRange

    windows = training.value
    data = DataRange(
        fingerprint=fingerprint,
        first_event_at=windows.first_event_at,
        last_event_at=windows.last_event_at,
        validation_at=windows.validation_at,
        test_at=windows.test_at,
        rows=windows.rows,
        learned_until=windows.learned_until,
    )
    manifest = assemble_bundle(
        step.target,
        shop=step.layout.shop,
        recipe=step.recipe,
        data=data,
        components={name: part.folder for name, part in components.items() if part.value},
        code_version=code_version(),
        warm_start=chain,
    )
    return manifest.digest


@step("fit-baseline", at=component("baseline"), reads=WHOLE_RECIPE, computes=True)
def fit_served_baseline(
    step: StepContext,
    kind: BaselineKind,
    training: Output[TrainingSummary],
    clean: Output[ValidationSummary],
    vectors: Output[bool],
    held: Output[bool] | None = None,
) -> bool:
    """Fit the baseline that serves in a candidate's place, equal to the one evaluated; popularity counts up to now.

    Args:
        held: Of a refit: the baseline that was evaluated, whose settings are taken over.
    """
    from recommender.evaluation.baselines import fit_baseline

    fit, events = step.fit(training.folder, held), clean.folder / "interactions.parquet"
    fit_baseline(fit, kind, vectors.folder, step.target, step.recipe, interactions=events)
    return True


@dataclass(frozen=True)
class TakenWriter:
    """The writer in service, which takes the place of a refused candidate's, as it is.

    Attributes:
        component: Its folder in the model store.
        origin: The bundle that it was fitted for.
    """

    component: Output[bool]
    origin: WriterOrigin


# Where a writer came from is in its key.
@step("assemble-baseline", at=lambda layout, key, _: layout.baseline_bundle(key), unkeyed=("writer_from",))
def assemble_served_baseline(
    step: StepContext,
    kind: BaselineKind,
    candidate: Output[str],
    baseline: Output[bool],
    writer: Output[bool] | None = None,
    writer_from: WriterOrigin | None = None,
) -> str:
    """Put a baseline into a bundle of its own, beside the candidate's scorer and writer; returns its digest.

    Args:
        writer: That takes the place of the candidate's.
        writer_from: Where that one came from.
    """
    from recommender.bundle.assembly import assemble_baseline

    taken = None if writer is None or writer_from is None else (writer.folder, writer_from)
    return assemble_baseline(step.target, candidate.folder, baseline.folder, kind, code_version(), taken).digest


@dataclass(frozen=True)
class Learned:
    """What was learned under the split.

    Attributes:
        training: The training set, with its windows.
        components: Those that were fitted; of value False those that the shop's data do not allow.
        candidate: The bundle of them.
        plan: Whose weights they started from; those of its refit start from what is in service.
    """

    training: Output[TrainingSummary]
    components: dict[Component, Output[bool]]
    candidate: Output[str]
    plan: Plan = FROM_NOTHING


def learn(run: Run, prepared: Prepared, warm: bool = False, *, checks: bool = True) -> Learned:
    """The training set, and the candidate: a bundle of every component that the shop's data allow.

    Args:
        warm: Start from the weights in service where they fit, and say why where they do not.
        checks: Refuse first what the data do not allow. Not where somebody is to be forgotten: a floor that is out of
            reach is no reason to wait.
    Raises:
        TrainingDataError, RerankError: the recipe asks for what the shop's data do not allow; nothing is fitted then.
    """
    training = collect_training_set(run, clean=prepared.clean)
    if checks:
        with run.holding_data():
            check_shop(run.recipe, training.folder)
    plan = plan_warm_start(run, fingerprint=prepared.fingerprint, training=training) if warm else FROM_NOTHING
    components = fit_components(run, training, start=plan.judged)
    report_starts(plan, components)
    candidate = assemble_candidate(
        run, fingerprint=prepared.fingerprint, training=training, components=components, chain=plan.chain
    )
    return Learned(training, components, candidate, plan)


def fit_components(
    run: Run,
    training: Output[TrainingSummary],
    held: Mapping[Component, Output[bool]] | None = None,
    start: Output[Start] | None = None,
) -> dict[Component, Output[bool]]:
    """Every component of a bundle that ranks by what it learned.

    Args:
        held: Those whose choices are taken over.
        start: The bundle whose weights are started from.
    """
    before = None if held is None else Ranking(held["vectors"], held["sequence"], held["blend"])
    ranking = fit_ranking(run, training, held=before, start=start)
    found: dict[Component, Output[bool]] = {
        "vectors": ranking.vectors, "sequence": ranking.sequence, "blend": ranking.blend
    }  # fmt: skip
    generative = None if held is None else held["generative"]
    if generative is None or generative.value:
        found["generative"] = fine_tune_generative(run, training=training, vectors=ranking.vectors, held=generative)
    return found | fit_words(run, training, ranking.vectors, held)


def bundle_of_baseline(
    run: Run,
    kind: BaselineKind,
    learned: Learned,
    clean: Output[ValidationSummary],
    writer: TakenWriter | None = None,
) -> tuple[Output[bool], Output[str]]:
    """A baseline, and the bundle in which it serves in a candidate's place.

    Args:
        writer: That takes the place of the candidate's.
    """
    vectors = learned.components["vectors"]
    baseline = fit_served_baseline(run, kind=kind, training=learned.training, clean=clean, vectors=vectors)
    component, origin = (None, None) if writer is None else (writer.component, writer.origin)
    return baseline, assemble_served_baseline(
        run, kind=kind, candidate=learned.candidate, baseline=baseline, writer=component, writer_from=origin
    )
