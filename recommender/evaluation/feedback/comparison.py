"""Two writers on the same reviews: which expects them better, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.metrics.significance import bootstrap_intervals
from recommender.writing.batches import likelihoods
from recommender.writing.examples import WritingExample
from recommender.writing.writer import FeedbackWriter


@dataclass(frozen=True)
class WriterComparison:
    """How two writers expect the same reviews.

    Attributes:
        n_reviews: That both were measured on.
        first: Bits per byte of the first.
        second: Of the second.
        low: Lower end of the 95 % interval of `first - second`, reviews drawn with replacement: above 0, the second
            is better.
        high: Its upper end.
    """

    n_reviews: int
    first: float
    second: float
    low: float
    high: float


def compare_writers(
    first: FeedbackWriter, second: FeedbackWriter, reviews: Sequence[WritingExample], seed: int
) -> WriterComparison:
    """Measure two writers on the same reviews, pair by pair.

    Args:
        reviews: That neither has learned, at least one.
        seed: Of the interval.
    Raises:
        NotFinite: a text's likelihood is no number.
    """
    ours, theirs = (_shares(writer, reviews) for writer in (first, second))
    low, high = bootstrap_intervals((ours - theirs)[:, None], seed)
    return WriterComparison(len(reviews), float(ours.mean()), float(theirs.mean()), float(low[0]), float(high[0]))


def _shares(writer: FeedbackWriter, reviews: Sequence[WritingExample]) -> np.ndarray:
    """Each review's bits by the bytes of an average one: their mean is the bits per byte of all. Shape (n,)."""
    found = likelihoods(writer, reviews)
    n_bytes = np.array([one.n_bytes for one in found], dtype=np.float64)
    bits = np.array([one.bits_per_byte for one in found]) * n_bytes
    return np.asarray(bits / n_bytes.mean())
