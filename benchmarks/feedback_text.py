"""Feedback writers at equal minutes: `python -m benchmarks.feedback_text --source amazon-2014 --data FOLDER`.

The data go through the product's own reader, data gate and time split; writers learn from the reviews before the
cut-off. Each trains for `--minutes` of wall time at most, is asked how well it expects the test window's reviews, and
writes reviews of its own for the same users and items, by the measures of the evaluation report. Every writer expects
the same texts to the last byte: whole sentences of the reviews up to `--characters`; a review whose first sentence is
longer is left out.

zero-shot: the pretrained language model as it comes. language_model: the same, fine-tuned. small: from nothing.
unconditioned: the small one, told nothing of item, user and rating. Beside them the nearest training review, the most
frequent sentence, and the real reviews themselves. Bits per byte compare between tokenizers, perplexities do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.feedback_bars import MEASURES, Figures, bar_of, cell_of
from benchmarks.harness.tables import print_table
from core.settings.models import LanguageModelWriterSettings, ReasonSettings, SmallWriterSettings
from core.settings.tree import Recipe
from recommender.encoders.encoder import TextEncoder
from recommender.evaluation.feedback.evaluation import Sizes, Trial, writes
from recommender.evaluation.feedback.names import ROWS
from recommender.evaluation.feedback.sample import Asked, Writes, Written
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.inputs.augmentation import AS_THEY_ARE
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.metrics.texts import sentences
from recommender.writing.batches import Likelihood, likelihood
from recommender.writing.copies import TrainingRuns
from recommender.writing.examples import WritingExample, WritingRequest, sample
from recommender.writing.language_training import new_language_writer
from recommender.writing.small_model import new_small_writer, train_small_writer
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter

UNCONDITIONED = "unconditioned"
WRITERS = ("zero-shot", "language_model", "small", UNCONDITIONED)
# Of prompt and text together, for every writer: no text is cut.
MAX_TOKENS = 384
WRITE_BATCH = 8
NOTHING = WritingRequest(None, "", "")


@dataclass(frozen=True)
class Made:
    """A writer, and what it took.

    Attributes:
        steps: Of its training.
        minutes: Of its fit but for measuring, wall time.
    """

    writer: FeedbackWriter
    steps: int = 0
    minutes: float = 0.0


def main(arguments: list[str] | None = None) -> None:
    """Fit and evaluate each writer once per seed."""
    parser = options.command(__doc__)
    options.add_source(parser, kind="amazon-2014")
    options.add_fits(parser, n_seeds=1)
    options.add_recipe(parser)
    parser.add_argument("--writers", default=",".join(WRITERS), help=f"by commas (default: {','.join(WRITERS)})")
    parser.add_argument("--minutes", type=float, default=5.0, help="each trains so long at most (default: 5)")
    parser.add_argument("--texts", type=int, default=100, help="reviews to expect (default: 100)")
    parser.add_argument("--written", type=int, default=32, help="reviews to write (default: 32)")
    parser.add_argument("--rated", type=int, default=16, help="of them, written for each rating too (default: 16)")
    parser.add_argument("--characters", type=int, default=400, help="of a review that is expected (default: 400)")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    found: dict[str, Figures] = {}
    with open_dataset(recipe, chosen.cache) as data:
        training, _ = data.time_split()
        trial = open_trial(training, recipe, Sizes(chosen.written, chosen.rated))
        for name in chosen.writers.split(","):
            for seed in options.seeds_of(chosen)[: 1 if name == "zero-shot" else None]:
                fit = FitContext(training, seed, threads=chosen.threads, progress=print, models=data.folder / "models")
                row = evaluate(name, fit, recipe, data.work / f"{name}-{seed}", trial, chosen)
                found[name if chosen.seeds == 1 else f"{name}, seed {seed}"] = row
                said = ", ".join(f"{title} {cell_of(key, row)}" for key, title in MEASURES.items())
                print(f"{name}: {said}", flush=True)
        found |= {ROWS[name]: figures for name, figures in trial.judge_baselines().items()}
    drawn = trial.sample
    print(f"\n{len(drawn.reviews)} of {drawn.n_there} reviews written, {drawn.n_rated} for each rating")
    rows = [
        [title, *(cell_of(key, figures) for figures in found.values()), bar_of(key, found)]
        for key, title in MEASURES.items()
    ]
    print_table(["", *found, "bar"], rows)


def open_trial(training: Path, recipe: Recipe, sizes: Sizes) -> Trial:
    """The test reviews that all write anew, and their judges."""
    encoder = TextEncoder.load(recipe.encoder, print)
    catalogue = Catalogue.read(training, recipe.seed)
    vectors = ItemVectors.from_rows(catalogue, encoder.encode(catalogue.texts, print))
    trial = Trial.of(training, vectors, encoder, "test", sizes, recipe.seed)
    if trial is None:
        raise SystemExit("the test window has no reviews")
    return trial


def evaluate(
    name: str, fit: FitContext, recipe: Recipe, target: Path, trial: Trial, chosen: argparse.Namespace
) -> Figures:
    """Fit a writer, measure how it expects texts and what it writes."""
    makers: dict[str, Callable[[], Made]] = {
        "zero-shot": lambda: Made(new_language_writer(fit, language_settings(recipe, chosen.minutes))),
        "language_model": lambda: fitted(fit, target, language_settings(recipe, chosen.minutes), recipe.reasons),
        "small": lambda: fitted(fit, target, small_settings(recipe, chosen.minutes), recipe.reasons),
        UNCONDITIONED: lambda: unconditioned(fit, trial.learned, small_settings(recipe, chosen.minutes)),
    }
    made = makers[name]()
    asked_nothing = name == UNCONDITIONED
    shown = sample(uncut(list(trial.there), chosen.characters), chosen.texts)
    write = writes_of_nothing(made.writer, fit.seed) if asked_nothing else writes(made.writer, fit.seed, WRITE_BATCH)
    with deterministic(fit.seed, fit.threads):
        expected = likelihood(made.writer, told_nothing(shown) if asked_nothing else shown)
        started = time.monotonic()
        written = Written.of(write, trial.sample)
        seconds = time.monotonic() - started
    texts = [*written.reviews, *(written.by_rating or ())]
    n_words = sum(len(text.split()) for text in dict.fromkeys(texts))
    return {
        **_of_fit(made, expected),
        **trial.judges.judge(written, trial.sample),
        "words_per_s": n_words / seconds,
    }


def unconditioned(fit: FitContext, reviews: Sequence[WritingExample], settings: SmallWriterSettings) -> Made:
    """A small writer of equal size and budget that learns how reviews read, and is told nothing of any."""
    examples = told_nothing(reviews)
    with deterministic(fit.seed, fit.threads):
        writer = new_small_writer(settings, examples)
        started = time.monotonic()
        trained = train_small_writer(fit, writer, examples, [], settings, AS_THEY_ARE)
    writer.runs = TrainingRuns.if_telling(examples[row] for row in trained.shown)
    return Made(writer, int(trained.course.as_taken["n_steps"]), (time.monotonic() - started) / 60)


def told_nothing(reviews: Sequence[WritingExample]) -> list[WritingExample]:
    """The same texts, asked for without a word."""
    return [replace(review, request=NOTHING) for review in reviews]


def writes_of_nothing(writer: FeedbackWriter, seed: int) -> Writes:
    """A draw of its own for each text: as one prompt and seed give one text, the seeds count up."""

    def write(asked: Sequence[Asked]) -> list[str]:
        return [text for place in range(len(asked)) for text in writer.write([NOTHING], seed + place)]

    return write


def language_settings(recipe: Recipe, minutes: float) -> LanguageModelWriterSettings:
    """The recipe's own where it has that kind, for as long as is allowed."""
    given = recipe.writer if isinstance(recipe.writer, LanguageModelWriterSettings) else LanguageModelWriterSettings()
    return given.model_copy(update={"minutes": minutes, "max_tokens": MAX_TOKENS})


def small_settings(recipe: Recipe, minutes: float) -> SmallWriterSettings:
    """The recipe's own where it has that kind, for as long as is allowed and as validation lets it."""
    given = recipe.writer if isinstance(recipe.writer, SmallWriterSettings) else SmallWriterSettings()
    longest = {"minutes": minutes, "max_tokens": MAX_TOKENS, "max_steps": 100_000, "max_epochs": 1_000}
    return given.model_copy(update=longest)


def fitted(
    fit: FitContext,
    target: Path,
    settings: LanguageModelWriterSettings | SmallWriterSettings,
    reasons: ReasonSettings,
) -> Made:
    """Train and load back, as the service does."""
    marks: list[float] = []

    def progress(line: str) -> None:
        fit.progress(line)
        if line.startswith("feedback writer") and (marks or " at most " in line):
            marks.append(time.monotonic())

    summary = fit_writer(
        replace(fit, progress=progress), target, settings, AS_THEY_ARE, reasons.language, reasons.min_reviewers
    )
    if summary is None:
        raise SystemExit("too few reviews to learn from")
    # From the line before the first step to the one of the last; measuring comes before and after.
    minutes = (marks[-2] - marks[0]) / 60
    writer = FeedbackWriter.load(target, fit.device, fit.models, fit.progress)
    return Made(writer, int(summary.choices["n_steps"]), minutes)


def uncut(reviews: list[WritingExample], n_characters: int) -> list[WritingExample]:
    """Reviews shortened to the whole sentences that fit."""
    shortened = []
    for review in reviews:
        text = ""
        for sentence in sentences(review.text):
            if len(text) + len(sentence) + 1 > n_characters:
                break
            text = f"{text} {sentence}".strip()
        if text:
            shortened.append(WritingExample(review.request, text))
    return shortened


def _of_fit(made: Made, expected: Likelihood) -> Figures:
    return {
        "bits_per_byte": expected.bits_per_byte,
        "perplexity": expected.perplexity,
        "steps": float(made.steps),
        "minutes": made.minutes,
    }


if __name__ == "__main__":
    main()
