"""Evaluate the feedback writer on the reviews of a window: how well it expects them, and what it writes instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core import schema
from recommender.encoders.encoder import TextEncoder
from recommender.evaluation.feedback.baselines import MostFrequentSentence, NearestReview
from recommender.evaluation.feedback.measures import Figures, Judges
from recommender.evaluation.feedback.names import MOST_FREQUENT, NEAREST, REAL, SAMPLES
from recommender.evaluation.feedback.sample import Asked, FeedbackSample, Writes, Written
from recommender.fitting.summary import Progress
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.texts import shorten
from recommender.writing.batches import likelihood
from recommender.writing.examples import WritingExample, read_reviews, sample_by_lot
from recommender.writing.writer import FeedbackWriter

WINDOWS: tuple[schema.Split, ...] = ("train", "validation", "test")
WRITE_BATCH = 16
N_SHOWN = 10
SHOWN_CHARS = 600


@dataclass(frozen=True)
class Sizes:
    """How many texts are written to judge a writer.

    Attributes:
        n_reviews: Real reviews of the window that it writes anew.
        n_rated: Of so many of these, each rating from 1 to 5 is asked for.
    """

    n_reviews: int
    n_rated: int

    @classmethod
    def affordable(cls, writer: FeedbackWriter) -> Sizes:
        """More of the small model: one that was pretrained is large, and takes its time."""
        return cls(48, 12) if writer.prompts.style == "marked" else cls(24, 8)


def evaluate_writer(
    writer: FeedbackWriter,
    training: Path,
    vectors: ItemVectors,
    encoder: TextEncoder,
    split: schema.Split = "test",
    *,
    sizes: Sizes | None = None,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Perplexity before and after training, and measures of the reviews it writes for the window's users and items.

    Likeness is to the whole review that the user wrote; `copied_share` is of generated runs of eight words that stand
    in a training review. The baselines and the sentiment reader have learned from the training window alone; a
    statement may be supported by a review of any window.

    Args:
        vectors: Of the catalogue, for reviews of similar items.
        encoder: Before fine-tuning.
        sizes: How many texts are written; by default what the kind of writer can in a short time.
        seed: Of which reviews these are, and of what is written.
    Returns:
        `{"n_reviews": n, "n_there": …, "n_rated": …, "perplexity": …, "bits_per_byte": …, "perplexity_before": …,
        "bits_per_byte_before": …}` and `n_expected`, of how many reviews the latter are; the measures of
        `Judges.judge`; the same measures of each of `baselines`; `samples`, texts beside the real ones, with the ids of
        users who wrote these.
        `{"n_reviews": 0}` where the window has no reviews. What was before is None for a window that was not measured
        in training.
    Raises:
        TrainingDataError: the reviews cannot be read.
        UnknownItem: a review is of an item that the catalogue does not list.
    """
    trial = Trial.of(training, vectors, encoder, split, sizes or Sizes.affordable(writer), seed)
    if trial is None:
        return {"n_reviews": 0}
    drawn = trial.sample
    written = Written.of(writes(writer, seed), drawn)
    # Those of which perplexity was measured in training, so that the figures compare.
    real = sample_by_lot(list(trial.there), writer.n_measured)[: writer.measured_on.get(split)]
    expected = likelihood(writer, real)
    return {
        "n_reviews": len(drawn.reviews),
        "n_there": drawn.n_there,
        "n_rated": drawn.n_rated,
        "n_expected": len(real),
        "perplexity": expected.perplexity,
        "bits_per_byte": expected.bits_per_byte,
        "perplexity_before": writer.perplexity_before.get(split),
        "bits_per_byte_before": writer.bits_per_byte_before.get(split),
        **trial.judges.judge(written, drawn),
        "baselines": trial.judge_baselines(progress),
        SAMPLES: [
            _shown(real, text, vectors.catalogue.label(real.item_id))
            for real, text in zip(drawn.reviews[:N_SHOWN], written.reviews, strict=False)
        ],
    }


@dataclass(frozen=True)
class Trial:
    """The reviews of a window that are written anew, and what judges the texts: the same for all who write.

    Attributes:
        learned: The reviews of the training window.
        there: Those of the window.
    """

    learned: Sequence[WritingExample]
    there: Sequence[WritingExample]
    sample: FeedbackSample
    judges: Judges
    vectors: ItemVectors
    encoder: TextEncoder

    @classmethod
    def of(
        cls,
        training: Path,
        vectors: ItemVectors,
        encoder: TextEncoder,
        split: schema.Split,
        sizes: Sizes,
        seed: int,
    ) -> Trial | None:
        """Draw the reviews, and have the judges learn; None where the window has no reviews.

        Raises:
            TrainingDataError: the reviews cannot be read.
            UnknownItem: a review is of an item that the catalogue does not list.
        """
        by_split = {one: read_reviews(training, one, vectors.catalogue) for one in WINDOWS}
        learned, there = by_split["train"], by_split[split]
        if not there:
            return None
        judges = Judges.of(learned, [one for reviews in by_split.values() for one in reviews], encoder, seed)
        drawn = FeedbackSample.draw(there, sizes.n_reviews, sizes.n_rated, seed)
        return cls(learned, there, drawn, judges, vectors, encoder)

    def judge_baselines(self, progress: Progress = lambda _: None) -> dict[str, Figures]:
        """The figures of what needs no language model, and of the real reviews."""
        items = self.vectors.text[1 : len(self.vectors.ids) + 1].numpy()
        encode = partial(self.encoder.encode, progress=progress)
        nearest = NearestReview(self.learned, self.vectors.ids, items, encode)
        frequent = MostFrequentSentence(self.learned)
        return {
            # The sentiment reader has learned these very reviews: how it reads them would say nothing.
            NEAREST: self.judges.judge(Written.of(nearest, self.sample, by_rating=False), self.sample),
            MOST_FREQUENT: self.judges.judge(Written.of(frequent, self.sample), self.sample),
            REAL: self.judges.judge_real(self.sample, self.there),
        }


def writes(writer: FeedbackWriter, seed: int, batch: int = WRITE_BATCH) -> Writes:
    """A writer as something that answers what is asked."""

    def write(asked: Sequence[Asked]) -> list[str]:
        requests = [one.request for one in asked]
        starts = range(0, len(requests), batch)
        return [text for start in starts for text in writer.write(requests[start : start + batch], seed)]

    return write


def _shown(real: WritingExample, text: str, label: str) -> dict[str, Any]:
    return {
        schema.USER_ID: real.user_id,
        schema.ITEM_ID: real.item_id,
        "item": label,
        "rating": real.request.rating,
        "real": shorten(real.text, SHOWN_CHARS),
        "written": text,
    }
