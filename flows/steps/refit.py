"""What is promoted: the bundle that was judged, fitted again on everything up to now with its choices held.

What was judged by a warm start is fitted again by one: from the bundle in service, which no event is to judge either.
What was chosen on the validation window (epochs, weights, settings, which part counts) is taken over as it is; what is
learned is learned again, of all events. None is left to judge such a bundle by: its figures are those of the one that
was judged, and its manifest says which that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from flows.steps.bundles import Learned, TakenWriter, fit_components, fit_served_baseline
from flows.steps.data import Prepared, collect_everything
from flows.steps.fits import embed, fit_words
from flows.steps.run import Run
from flows.steps.step import WHOLE_RECIPE, Output, StepContext, step
from flows.steps.versions import code_version
from flows.steps.warm_start import report_starts
from recommender.bundle.manifest import Chain, WriterOrigin

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from recommender.bundle.manifest import Component


# Where a writer came from is in its key.
@step(
    "assemble-bundle",
    at=lambda layout, key, _: layout.refit_bundle(key),
    reads=WHOLE_RECIPE,
    unkeyed=("writer_from",),
)
def assemble_refit(
    step: StepContext,
    judged: Output[str],
    training: Output[TrainingSummary],
    components: Mapping[Component, Output[bool]],
    chain: Chain | None = None,
    known_until: str = "",
    writer_from: WriterOrigin | None = None,
) -> str:
    """Put what was learned again into one bundle, whose manifest names the judged one; returns the bundle's digest.

    Args:
        chain: Whose weights it started from, where it did.
        known_until: How far those had learned: later than the newest event where a source has lost events since.
        writer_from: Whose writer it holds, where that is not its own; what that one learned counts too.
    """
    from recommender.bundle.assembly import assemble_bundle
    from recommender.bundle.manifest import read_manifest

    before, everything = read_manifest(judged.folder), training.value
    taken_until = "" if writer_from is None else writer_from.data.learned_until_at.isoformat()
    until = max(filter(None, (everything.learned_until, known_until, taken_until)), key=datetime.fromisoformat)
    update = {"learned_until": until, "rows": everything.rows}
    manifest = assemble_bundle(
        step.target,
        shop=step.layout.shop,
        recipe=step.recipe,
        data=before.data.model_copy(update=update),
        components={name: part.folder for name, part in components.items() if part.value},
        code_version=code_version(),
        kind=before.kind,
        judged=before.digest,
        warm_start=chain,
        writer_from=writer_from,
    )
    return manifest.digest


def refit(run: Run, prepared: Prepared, learned: Learned) -> Output[str]:
    """The candidate, fitted again on everything."""
    run = run.for_refit()
    training = collect_everything(run, clean=prepared.clean)
    plan = learned.plan
    components = fit_components(run, training, learned.components, plan.served)
    report_starts(plan, components, is_refit=True)
    return assemble_refit(
        run,
        judged=learned.candidate,
        training=training,
        components=components,
        chain=plan.served_chain,
        known_until=plan.served.value[1] if plan.served else "",
    )


def refit_baseline(
    run: Run,
    prepared: Prepared,
    learned: Learned,
    baseline: Output[bool],
    judged: Output[str],
    writer: TakenWriter | None = None,
) -> Output[str]:
    """The bundle in which a baseline serves, fitted again on everything: the baseline, texts, scorer and writer.

    Args:
        baseline: That was judged.
        judged: The bundle of it.
        writer: That takes the place of the candidate's, as it is: it was fitted again when it went into service.
    """
    from recommender.bundle.manifest import read_manifest

    run, kind = run.for_refit(), read_manifest(judged.folder).kind
    assert kind != "blend"
    training = collect_everything(run, clean=prepared.clean)
    vectors = embed(run, training, learned.components["vectors"], learned.plan.served)
    again = fit_served_baseline(run, kind=kind, training=training, clean=prepared.clean, vectors=vectors, held=baseline)
    held = learned.components
    if writer is not None:
        held = {**held, "writer": replace(writer.component, value=False)}
    words = fit_words(run, training, vectors, held)
    if writer is not None:
        words["writer"] = writer.component
    components: dict[Component, Output[bool]] = {"vectors": vectors, "baseline": again, **words}
    origin = None if writer is None else writer.origin
    return assemble_refit(run, judged=judged, training=training, components=components, writer_from=origin)
