"""From a training set to the components of a bundle: one step for each model that is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.settings.models import ModalitySettings
from core.storage import file_digest
from flows.steps.run import Run
from flows.steps.step import Output, Start, StepContext, Where, step

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from recommender.bundle.manifest import Component
    from recommender.retrieval.sequence.training import Epoch


def component(name: str) -> Where:
    """The folder of a component of this name."""

    return lambda layout, key, _: layout.component(name, key)


@step("embed-catalogue", at=component("vectors"), reads=("encoder", "modality", "evaluation.k", "seed"), computes=True)
def embed_catalogue(
    step: StepContext,
    training: Output[TrainingSummary],
    model_digest: str,
    modality_digest: str,
    held: Output[bool] | None = None,
    start: Output[Start] | None = None,
) -> bool:
    """Text vectors of the catalogue by the language model, fine-tuned first where the recipe says so.

    Args:
        model_digest: Of the language model's files: what changes under its name is another input.
        modality_digest: Of the modality's file, likewise.
        held: Of a refit, here as in the steps below: the component that was judged, whose choices are taken over.
        start: The bundle whose weights it starts from, here as below: texts that it has are not encoded again.
    """
    from recommender.retrieval.text.embedding import embed_catalogue

    embed_catalogue(step.fit(training.folder, held, start), step.target, step.recipe.encoder, step.recipe.modality)
    return True


@step(
    "fine-tune-sequence",
    at=component("sequence"),
    reads=("sequence", "augmentation", "features.max_history", "evaluation.k", "seed"),
    unkeyed=("on_epoch",),
    computes=True,
)
def fine_tune_sequence(
    step: StepContext,
    training: Output[TrainingSummary],
    vectors: Output[bool],
    held: Output[bool] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    start: Output[Start] | None = None,
) -> bool:
    """Fine-tune on the shop's sequences.

    Args:
        on_epoch: Called with every epoch that is run; an error of the project that it raises ends the fit for good.
    """
    from recommender.retrieval.sequence.fit import fit_sequence

    recipe = step.recipe
    fit_sequence(
        step.fit(training.folder, held, start),
        vectors.folder,
        step.target,
        recipe.sequence,
        recipe.features.max_history,
        recipe.augmentation,
        on_epoch,
    )
    return True


@step("blend", at=component("blend"), reads=("neighbours", "item_knn", "blend", "evaluation.k", "seed"), computes=True)
def blend_models(
    step: StepContext,
    training: Output[TrainingSummary],
    vectors: Output[bool],
    sequence: Output[bool],
    held: Output[bool] | None = None,
) -> bool:
    """Fit the parts beside the sequence model, and choose how all of them blend."""
    from recommender.ranking.blend_training import fit_blend

    fit, recipe = step.fit(training.folder, held), step.recipe
    parts = (recipe.neighbours, recipe.item_knn)
    fit_blend(fit, vectors.folder, sequence.folder, step.target, parts, recipe.blend)
    return True


@step(
    "fine-tune-generative",
    at=component("generative"),
    reads=("generative", "augmentation", "features.max_history", "evaluation.k", "seed"),
    computes=True,
)
def fine_tune_generative(
    step: StepContext, training: Output[TrainingSummary], vectors: Output[bool], held: Output[bool] | None = None
) -> bool:
    """Give items semantic ids and learn to write the next one; False where the recipe has it off."""
    from recommender.retrieval.generative.training import fit_generative

    fit, recipe = step.fit(training.folder, held), step.recipe
    history, augmentation = recipe.features.max_history, recipe.augmentation
    return bool(fit_generative(fit, vectors.folder, step.target, recipe.generative, history, augmentation))


@step("fine-tune-scorer", at=component("scorer"), reads=("scorer", "augmentation", "seed"), computes=True)
def fine_tune_scorer(
    step: StepContext,
    training: Output[TrainingSummary],
    vectors: Output[bool],
    model_digest: str,
    held: Output[bool] | None = None,
) -> bool:
    """Train the pair scorer; False where the shop has too few ratings.

    Args:
        model_digest: Of the files of a cross-encoder's language model.
    """
    from recommender.scoring.training import fit_scorer

    fit, recipe = step.fit(training.folder, held), step.recipe
    return bool(fit_scorer(fit, vectors.folder, step.target, recipe.scorer, recipe.augmentation))


@step(
    "fine-tune-writer",
    at=component("writer"),
    reads=("writer", "augmentation", "reasons.language", "reasons.min_reviewers", "seed"),
    computes=True,
)
def fine_tune_writer(
    step: StepContext, training: Output[TrainingSummary], model_digest: str, held: Output[bool] | None = None
) -> bool:
    """Train the feedback writer; False where the shop has too few reviews.

    Args:
        model_digest: Of the files of a pretrained writer.
    """
    from recommender.writing.training import fit_writer

    recipe = step.recipe
    fit, reasons = step.fit(training.folder, held), recipe.reasons
    return bool(
        fit_writer(
            fit, step.target, recipe.writer, recipe.augmentation, reasons.language, min_reviewers=reasons.min_reviewers
        )
    )


@step("fit-explainer", at=component("explainer"), reads=("reasons", "seed"), computes=True)
def fit_reasons(
    step: StepContext,
    training: Output[TrainingSummary],
    vectors: Output[bool],
    held: Output[bool] | None = None,
) -> bool:
    """Count the facts that reasons are made of, and learn which matter; False where the shop has too few choices."""
    from recommender.explaining.training import fit_explainer

    fit = step.fit(training.folder, held)
    return bool(fit_explainer(fit, vectors.folder, step.target, step.recipe.reasons))


def model_digest(settings: object) -> str:
    """Digest of the language model that settings name: the embedded one's, of a folder's files, or a commit of the
    hub; empty of one that is not at hand, or none.
    """
    from recommender.encoders.language_model import language_model_digest

    name = getattr(settings, "model", "")
    return language_model_digest(name) if name else ""


def modality_digest(settings: ModalitySettings) -> str:
    """Digest of the file of further vectors that settings name; empty where they name none.

    A missing file is for the fit to say.
    """
    return file_digest(settings.path) if settings.path and settings.path.is_file() else ""


@dataclass(frozen=True)
class Ranking:
    """The components that rank together."""

    vectors: Output[bool]
    sequence: Output[bool]
    blend: Output[bool]


def fit_ranking(
    run: Run,
    training: Output[TrainingSummary],
    on_epoch: Callable[[Epoch], None] | None = None,
    held: Ranking | None = None,
    start: Output[Start] | None = None,
) -> Ranking:
    """The components that rank: text vectors, the sequence model, and its blend with the neighbourhood model.

    Args:
        held: Those whose choices are taken over.
        on_epoch: Called with every epoch of the sequence model that is run; what it raises ends the fit.
        start: The bundle whose weights vectors and sequence model start from; the others are fitted from nothing.
    """
    before = (None, None, None) if held is None else (held.vectors, held.sequence, held.blend)
    vectors = embed(run, training, before[0], start)
    sequence = fine_tune_sequence(
        run, training=training, vectors=vectors, held=before[1], on_epoch=on_epoch, start=start
    )
    blend = blend_models(run, training=training, vectors=vectors, sequence=sequence, held=before[2])
    return Ranking(vectors, sequence, blend)


def embed(
    run: Run,
    training: Output[TrainingSummary],
    held: Output[bool] | None = None,
    start: Output[Start] | None = None,
) -> Output[bool]:
    """The text vectors, by the files of the encoder and the modality as they are now."""
    model, modality = model_digest(run.recipe.encoder), modality_digest(run.recipe.modality)
    return embed_catalogue(run, training=training, model_digest=model, modality_digest=modality, held=held, start=start)


def fit_words(
    run: Run,
    training: Output[TrainingSummary],
    vectors: Output[bool],
    held: Mapping[Component, Output[bool]] | None = None,
) -> dict[Component, Output[bool]]:
    """The pair scorer, the feedback writer, and what gives reasons.

    Args:
        held: Those whose choices are taken over; what the shop had too few ratings or reviews for stays away.
    """
    recipe = run.recipe
    names: tuple[Component, ...] = ("scorer", "writer", "explainer")
    scorer, writer, explainer = (None if held is None else held[name] for name in names)
    found: dict[Component, Output[bool]] = {}
    if scorer is None or scorer.value:
        digest = model_digest(recipe.scorer)
        found["scorer"] = fine_tune_scorer(run, training=training, vectors=vectors, model_digest=digest, held=scorer)
    if writer is None or writer.value:
        digest = model_digest(recipe.writer)
        found["writer"] = fine_tune_writer(run, training=training, model_digest=digest, held=writer)
    if explainer is None or explainer.value:
        found["explainer"] = fit_reasons(run, training=training, vectors=vectors, held=explainer)
    return found
