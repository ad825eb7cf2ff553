"""Fit the feedback writer on the reviews of a training set: a small model from scratch, or a pretrained one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core import schema
from core.settings.models import AugmentationSettings, LanguageModelWriterSettings, SmallWriterSettings
from core.storage import atomic_folder
from recommender.aspects.extraction import Language
from recommender.aspects.mentions import Mentions, ReviewerCounts
from recommender.aspects.statements import KnownStatements
from recommender.fitting.checkpoint import forgotten_with_what_is_broken
from recommender.fitting.context import FitContext, silent
from recommender.fitting.determinism import deterministic
from recommender.fitting.summary import FitSummary, Progress
from recommender.inputs.augmentation import AS_THEY_ARE
from recommender.inputs.catalogue import Catalogue
from recommender.writing.batches import Likelihood, likelihoods
from recommender.writing.copies import TrainingRuns
from recommender.writing.examples import (
    WritingExample,
    read_reviews,
    sample,
    sample_by_lot,
    training_examples,
    with_low_ratings,
)
from recommender.writing.language_training import new_language_writer, train_language_writer
from recommender.writing.names import without_personal_data
from recommender.writing.small_model import new_small_writer, train_small_writer
from recommender.writing.writer import FeedbackWriter

MIN_TRAIN_REVIEWS = 100
# Of the time that training may take, for measuring perplexity before it, and the same again after it.
MEASURED_SHARE = 0.1
MEASURED_AT_ONCE = 8
# Beyond this share of the sentences more is taken for names than can be.
MANY_LOST = 0.2
# Of reviews whose statements are read, for several drafts: some half a minute.
MAX_STATING = 50_000
_SAMPLED = "a sample that is read in half a minute"


def fit_writer(
    fit: FitContext,
    target: Path,
    settings: SmallWriterSettings | LanguageModelWriterSettings,
    augmentation: AugmentationSettings = AS_THEY_ARE,
    language: Language = "en",
    min_reviewers: int = 3,
) -> FitSummary | None:
    """Train on the reviews before the cut-off and write the component; no later review is trained on.

    Perplexity before and after is measured on the same samples of the validation and the test window: reviews by lot,
    at most `FeedbackWriter.n_measured`, and no more than a tenth of `settings.minutes` before and after has room for.
    Where `fit.held` is given, the course is as it came out there, and nothing is looked at or measured.

    Args:
        target: The component's folder, written atomically.
        augmentation: How the training prompts are perturbed, differently in each epoch; texts stay as they are.
        language: That statements of reviews are read in, for prompts of a pretrained model and to choose among several
            drafts; none: they do not count.
        min_reviewers: What fewer reviewers of an item state is in no prompt.
    Returns:
        None where fewer than 100 reviews are left to learn from: nothing is written then.
    Raises:
        TrainingDataError: catalogue or reviews cannot be read.
        LanguageModelError: the language model is not at hand.
        WriterError: it cannot see `max_tokens`, or has no chat template where one is asked for.
    """
    started, fit = time.monotonic(), fit.afresh()
    catalogue = Catalogue.read(fit.training, fit.seed)
    reviews = _reviews_to_learn(fit.training, catalogue, fit.progress)
    if len(reviews) < MIN_TRAIN_REVIEWS:
        fit.progress(
            f"feedback writer: none, for {len(reviews)} reviews to learn from are fewer than {MIN_TRAIN_REVIEWS}"
        )
        return None
    mentions: Mentions | None = None
    if isinstance(settings, LanguageModelWriterSettings) and language != "none":
        reviews, mentions = _with_mentions(fit, reviews, min_reviewers, language)
    examples = with_low_ratings(reviews, settings.low_rating_share, fit.seed)
    held = fit.held_summary()
    windows: tuple[schema.Split, ...] = () if held is not None else ("validation", "test")
    later = {split: read_reviews(fit.training, split, catalogue) for split in windows}
    with deterministic(fit.seed, fit.threads), forgotten_with_what_is_broken(target):
        if isinstance(settings, SmallWriterSettings):
            writer = new_small_writer(settings, examples)
        else:
            writer = new_language_writer(fit, settings)
            writer.decodes_in = settings.decoding_weights
            writer.drafts, writer.language = settings.drafts, language
        if writer.drafts > 1 and language != "none":
            writer.statements = _known_statements(fit, reviews)
        writer.guidance, writer.mentions = settings.guidance, mentions
        writer.model.to(fit.device)
        samples = {split: sample_by_lot(reviews, writer.n_measured) for split, reviews in later.items() if reviews}
        limit_s = None if settings.minutes is None else 60 * MEASURED_SHARE * settings.minutes
        found_before = _measure(writer, samples, limit_s)
        if isinstance(settings, SmallWriterSettings):
            validation = samples.get("validation", [])
            trained = train_small_writer(fit, writer, examples, validation, settings, augmentation)
        else:
            trained = train_language_writer(fit, target, writer, examples, settings, augmentation)
        shown = [examples[row] for row in trained.shown]
        # A pretrained model has other ways of saying things, also where reviewers have few.
        is_small = isinstance(settings, SmallWriterSettings)
        writer.runs = TrainingRuns.if_telling(shown) if is_small else TrainingRuns.of(shown)
        if writer.runs is None:
            fit.progress(
                "feedback writer: copies are not bounded, as reviewers themselves say what one or two others do"
            )
        else:
            size = writer.runs.n_bytes / 1e6
            fit.progress(f"feedback writer: copies are told by {len(writer.runs):,} runs of words, {size:.1f} MB")
        fit.cap("texts that the writer is shown", trained.n_shown, len(examples), trained.shown_by)
        found = _measure(writer, {split: samples[split][: len(own)] for split, own in found_before.items()}, limit_s)
        for split, own in found.items():
            what = f"reviews of the {split} window that the writer is measured on"
            fit.cap(what, len(own), len(samples[split]), "a tenth of recipe.writer.minutes")
        after = {split: Likelihood.together(own) for split, own in found.items()}
        before = {split: Likelihood.together(found_before[split][: len(own)]) for split, own in found.items()}
        writer.measured_on = {split: len(own) for split, own in found.items()}
        writer.perplexity_before = {split: one.perplexity for split, one in before.items()}
        writer.bits_per_byte_before = {split: one.bits_per_byte for split, one in before.items()}
        counts = {f"{split}_reviews_measured": float(n) for split, n in writer.measured_on.items()}
        summary = FitSummary(
            folder=target,
            epochs=trained.epochs,
            best_epoch=trained.epochs,
            metrics=_figures(after) | _figures(before, "_before") | counts,
            seconds=time.monotonic() - started,
            choices=trained.course.as_taken,
            caps=tuple(fit.caps),
        )
        with atomic_folder(target) as folder:
            writer.save(folder)
            summary.write(folder)
        trained.forget()
    figures = ", ".join(
        f"{split} perplexity {before[split].perplexity:.1f} -> {after[split].perplexity:.1f} of "
        f"{len(found[split]):,} of {len(later[split]):,} reviews"
        for split in after
    )
    fit.progress(f"feedback writer: {figures or 'no later reviews to measure on'}, {summary.seconds:.1f} s")
    return summary


def can_learn_to_write(training: Path, seed: int) -> bool:
    """Whether the shop has reviews enough that `fit_writer` trains. It reads all of them.

    Raises:
        TrainingDataError: catalogue or reviews cannot be read.
    """
    return len(_reviews_to_learn(training, Catalogue.read(training, seed))) >= MIN_TRAIN_REVIEWS


def _reviews_to_learn(training: Path, catalogue: Catalogue, progress: Progress = silent) -> list[WritingExample]:
    """The reviews of before the cut-off, without personal data and without what stands in their prompts."""
    left = without_personal_data(read_reviews(training, "train", catalogue), catalogue)
    if left.n_lost:
        progress(f"feedback writer: {left.n_lost:,} sentences with contacts, or names of one reviewer's, are left out")
        if (share := left.n_lost / left.n_read) > MANY_LOST:
            progress(f"feedback writer: these are {share:.0%} of all sentences: what they alone say is not learned")
    return training_examples(left.reviews)


def _with_mentions(
    fit: FitContext, reviews: list[WritingExample], min_reviewers: int, language: Language
) -> tuple[list[WritingExample], Mentions | None]:
    """The reviews, each asked for with what others had said of the item before it; and what all of them say, None where
    that is nothing.

    Of many reviews those of a sample are read.
    """
    taken = sample(reviews, MAX_STATING)
    fit.cap("reviews whose statements stand in prompts", len(taken), len(reviews), _SAMPLED)
    fit.progress(f"feedback writer: reads what {len(taken):,} reviews state of their items")
    counts, is_taken, asked = ReviewerCounts(min_reviewers, language), {id(one) for one in taken}, []
    for one in reviews:  # oldest first
        said = counts.mentions(one.item_id, without=one.user_id)
        asked.append(replace(one, request=replace(one.request, mentions=said)))
        if id(one) in is_taken:
            counts.add(one.item_id, one.user_id, one.text)
    mentions = counts.of_all()
    return asked, mentions if len(mentions) else None


def _known_statements(fit: FitContext, reviews: list[WritingExample]) -> KnownStatements:
    """What reviewers state of items; of many reviews, by those of a sample."""
    taken = sample_by_lot(reviews, MAX_STATING)
    fit.cap("reviews whose statements choose among drafts", len(taken), len(reviews), _SAMPLED)
    fit.progress(f"feedback writer: reads what {len(taken):,} reviews state, to choose among drafts")
    return KnownStatements.of((one.item_id, one.user_id, one.text) for one in taken)


def _measure(
    writer: FeedbackWriter, samples: Mapping[schema.Split, Sequence[WritingExample]], limit_s: float | None
) -> dict[schema.Split, list[Likelihood]]:
    """How well the first texts of each sample are expected, in the samples' order.

    Args:
        samples: In an order by lot, so that the first of them are a sample too.
        limit_s: What all of it may take, each sample an equal share; eight texts of each are measured however long they
            take. None: all texts are.
    """
    if limit_s is None:
        return {split: likelihoods(writer, rows) for split, rows in samples.items()}
    found: dict[schema.Split, list[Likelihood]] = {}
    for split, rows in samples.items():
        own, started = found.setdefault(split, []), time.monotonic()
        while len(own) < len(rows):
            # What the next texts would end with, if they take as long as those before them.
            share = (len(own) + MEASURED_AT_ONCE) / len(own) if own else 0.0
            if (time.monotonic() - started) * share > limit_s / len(samples):
                break
            own += likelihoods(writer, rows[len(own) : len(own) + MEASURED_AT_ONCE])
    return found


def _figures(found: Mapping[schema.Split, Likelihood], suffix: str = "") -> dict[str, float]:
    perplexities = {f"{split}_perplexity{suffix}": one.perplexity for split, one in found.items()}
    return perplexities | {f"{split}_bits_per_byte{suffix}": one.bits_per_byte for split, one in found.items()}
