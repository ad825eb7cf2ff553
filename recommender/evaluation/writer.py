"""Evaluate the feedback writer on the reviews of a window: how well it expects them, and what it writes instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import schema
from recommender.inputs.catalogue import Catalogue
from recommender.metrics.texts import bleu_4, copied_share, distinct_n, rouge_1, rouge_l, unique_sentence_ratio
from recommender.writing.batches import likelihood
from recommender.writing.examples import read_reviews, sample
from recommender.writing.writer import FeedbackWriter

WRITE_BATCH = 16


def evaluate_writer(
    writer: FeedbackWriter, training: Path, catalogue: Catalogue, split: schema.Split, max_rows: int = 64, seed: int = 0
) -> dict[str, Any]:
    """Perplexity before and after training, and measures of the reviews it writes for the window's users and items.

    Overlap is with the whole review that the user wrote; `copied_share` is of generated runs of eight words that
    stand in a training review.

    Args:
        max_rows: Reviews to write at most.
        seed: Of what is written.
    Returns:
        `{"n_reviews": n, "perplexity": …, "perplexity_before": …, "bleu_4": …, …}`; `{"n_reviews": 0}` where the
        window has no reviews. `perplexity_before` is None for a window that was not measured in training.
    Raises:
        TrainingDataError: the reviews cannot be read.
        UnknownItem: a review is of an item that the catalogue does not list.
    """
    examples = read_reviews(training, split, catalogue)
    if not examples:
        return {"n_reviews": 0}
    chosen = sample(examples, max_rows)
    written: list[str] = []
    for start in range(0, len(chosen), WRITE_BATCH):
        written += writer.write([example.request for example in chosen[start : start + WRITE_BATCH]], seed)
    expected = likelihood(writer, sample(examples, writer.n_measured))
    originals = [example.text for example in chosen]
    learned = (example.text for example in read_reviews(training, "train", catalogue))
    return {
        "n_reviews": len(chosen),
        "perplexity": expected.perplexity,
        "bits_per_byte": expected.bits_per_byte,
        "perplexity_before": writer.perplexity_before.get(split),
        "bleu_4": bleu_4(written, originals),
        "rouge_1": rouge_1(written, originals),
        "rouge_l": rouge_l(written, originals),
        "distinct_1": distinct_n(written, 1),
        "distinct_2": distinct_n(written, 2),
        "unique_sentence_ratio": unique_sentence_ratio(written),
        "copied_share": copied_share(written, learned),
    }
