"""Feedback writers at equal minutes: `python -m benchmarks.feedback_text --source amazon-2014 --data FOLDER`.

The data go through the product's own reader, data gate and time split; writers learn from the reviews before the
cut-off. Each trains for `--minutes` of wall time at most, is asked how well it expects the test window's reviews, and
writes reviews of its own for the same users and items. Every writer expects the same texts to the last byte: whole
sentences of the reviews up to `--characters`; a review whose first sentence is longer is left out.

zero-shot: the pretrained language model as it comes. language_model: the same, fine-tuned. small: from nothing.
Bits per byte compare between tokenizers, perplexities do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.tables import print_table
from core.settings.models import LanguageModelWriterSettings, SmallWriterSettings
from core.settings.tree import Recipe
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.inputs.catalogue import Catalogue
from recommender.metrics.texts import bleu, copied_share, distinct_n, rouge_l, sentences, unique_sentence_ratio
from recommender.writing.batches import Likelihood, likelihood
from recommender.writing.examples import WritingExample, read_reviews, sample
from recommender.writing.language_training import new_language_writer
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter

WRITERS = ("zero-shot", "language_model", "small")
# Of prompt and text together, for every writer: no text is cut.
MAX_TOKENS = 384
WRITE_BATCH = 8
HEAD = (
    "writer", "bits per byte", "perplexity", "steps", "training min", "BLEU-4", "ROUGE-L", "distinct-2",
    "unique sentences", "copied 8-grams", "words/s",
)  # fmt: skip


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
    options.add_fits(parser)
    options.add_recipe(parser)
    parser.add_argument("--writers", default=",".join(WRITERS), help=f"by commas (default: {','.join(WRITERS)})")
    parser.add_argument("--minutes", type=float, default=5.0, help="each trains so long at most (default: 5)")
    parser.add_argument("--texts", type=int, default=100, help="reviews to expect (default: 100)")
    parser.add_argument("--written", type=int, default=32, help="reviews to write (default: 32)")
    parser.add_argument("--characters", type=int, default=400, help="of a review that is expected (default: 400)")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    rows = []
    with open_dataset(recipe, chosen.cache) as data:
        training, _ = data.time_split()
        for name in chosen.writers.split(","):
            for seed in options.seeds_of(chosen)[: 1 if name == "zero-shot" else None]:
                fit = FitContext(training, seed, threads=chosen.threads, progress=print, models=data.folder / "models")
                rows.append(evaluate(name, fit, recipe, data.work / f"{name}-{seed}", chosen))
                print(", ".join(f"{title} {cell}" for title, cell in zip(HEAD, rows[-1], strict=True)), flush=True)
    print()
    print_table(HEAD, rows)


def evaluate(name: str, fit: FitContext, recipe: Recipe, target: Path, chosen: argparse.Namespace) -> list[str]:
    """One row: fit a writer, measure how it expects texts and what it writes."""
    makers: dict[str, Callable[[], Made]] = {
        "zero-shot": lambda: Made(new_language_writer(fit, language_settings(recipe, chosen.minutes))),
        "language_model": lambda: fitted(fit, target, language_settings(recipe, chosen.minutes)),
        "small": lambda: fitted(fit, target, small_settings(recipe, chosen.minutes)),
    }
    made = makers[name]()
    catalogue = Catalogue.read(fit.training, fit.seed)
    later = read_reviews(fit.training, "test", catalogue)
    with deterministic(fit.seed, fit.threads):
        expected = likelihood(made.writer, sample(uncut(later, chosen.characters), chosen.texts))
        chosen_reviews = sample(later, chosen.written)
        started = time.monotonic()
        written = write_all(made.writer, chosen_reviews, fit.seed)
        seconds = time.monotonic() - started
    learned = [review.text for review in read_reviews(fit.training, "train", catalogue)]
    return [f"{name}, seed {fit.seed}", *_cells(made, expected), *_of_texts(written, chosen_reviews, learned, seconds)]


def language_settings(recipe: Recipe, minutes: float) -> LanguageModelWriterSettings:
    """The recipe's own where it has that kind, for as long as is allowed."""
    given = recipe.writer if isinstance(recipe.writer, LanguageModelWriterSettings) else LanguageModelWriterSettings()
    return given.model_copy(update={"minutes": minutes, "max_tokens": MAX_TOKENS})


def small_settings(recipe: Recipe, minutes: float) -> SmallWriterSettings:
    """The recipe's own where it has that kind, for as long as is allowed and as validation lets it."""
    given = recipe.writer if isinstance(recipe.writer, SmallWriterSettings) else SmallWriterSettings()
    longest = {"minutes": minutes, "max_tokens": MAX_TOKENS, "max_steps": 100_000, "max_epochs": 1_000}
    return given.model_copy(update=longest)


def fitted(fit: FitContext, target: Path, settings: LanguageModelWriterSettings | SmallWriterSettings) -> Made:
    """Train and load back, as the service does."""
    marks: list[float] = []

    def progress(line: str) -> None:
        fit.progress(line)
        if line.startswith("feedback writer"):
            marks.append(time.monotonic())

    summary = fit_writer(replace(fit, progress=progress), target, settings)
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


def write_all(writer: FeedbackWriter, reviews: list[WritingExample], seed: int) -> list[str]:
    """A text for each of them, by the writer's defaults."""
    written: list[str] = []
    for start in range(0, len(reviews), WRITE_BATCH):
        written += writer.write([review.request for review in reviews[start : start + WRITE_BATCH]], seed)
    return written


def _cells(made: Made, expected: Likelihood) -> list[str]:
    return [
        f"{expected.bits_per_byte:.3f}", f"{expected.perplexity:.1f}", str(made.steps), f"{made.minutes:.1f}"
    ]  # fmt: skip


def _of_texts(written: list[str], reviews: list[WritingExample], learned: list[str], seconds: float) -> list[str]:
    originals = [review.text for review in reviews]
    n_words = sum(len(text.split()) for text in written)
    return [
        f"{bleu(written, originals):.2f}",
        f"{rouge_l(written, originals):.1f}",
        f"{distinct_n(written, 2):.2f}",
        f"{unique_sentence_ratio(written):.2f}",
        f"{100 * copied_share(written, learned):.1f} %",
        f"{n_words / seconds:.0f}",
    ]


if __name__ == "__main__":
    main()
