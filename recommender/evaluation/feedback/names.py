"""What people read in place of the keys of an evaluation of feedback text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WRITER, MOST_FREQUENT, NEAREST, REAL = "writer", "most_frequent_sentence", "nearest_review", "real_reviews"
UNTRAINED = "untrained"
SAMPLES = "samples"
ROWS = {
    WRITER: "feedback writer",
    UNTRAINED: "the same before training",
    NEAREST: "nearest training review",
    MOST_FREQUENT: "most frequent sentence",
    REAL: "the real reviews",
}
LIKENESS = {
    "bits_per_byte": "bits per byte",
    "perplexity": "perplexity",
    "bleu_1": "BLEU-1",
    "bleu_4": "BLEU-4",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "bert_score": "BERTScore",
    "feature_matching": "feature matching",
    "feature_coverage": "feature coverage",
}
CONTENT = {
    "rating_agreement_2": "rating agreement, low or high",
    "rating_agreement_3": "low, middle or high",
    "statement_precision": "statement precision",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "unique_sentence_ratio": "unique sentences",
    "copied_share": "copied",
}
SHARES = frozenset(("feature_matching", "feature_coverage", *CONTENT))
DEFINITIONS = {
    "bits per byte, perplexity": "How well the writer expects the real reviews; only bits compare between tokenizers. "
    "Before training, of the same reviews: a pretrained model as it comes, a small one with weights that were drawn.",
    "BLEU, ROUGE": "Shared n-grams with the real review in percent: of the corpus by precision, and by F1 per text.",
    "BERTScore": "F1 of greedily matched token vectors of the text encoder in percent, neither weighted nor rescaled.",
    "feature matching, coverage": "Of the aspects that a real review judges the share that the text in its place "
    "judges too; of those of all real reviews here the share that any text judges.",
    "rating agreement": "Each rating from 1 to 5 is asked for: share of the texts that sound like it to a reader that "
    "learned from real reviews of the training window, mean over the classes (1-2, 3, 4-5 stars). On the real reviews: "
    "how far the reader itself can be trusted. It knows the nearest training reviews by heart, so these have none.",
    "statement precision": "Of the statements (an aspect, praised or blamed) the share that a real review of the item, "
    "of whatever window, or the item's text makes too; of the real reviews that another one does.",
    "distinct-1, -2; unique sentences": "Different words, pairs of words and sentences over all of them.",
    "copied": "Share of the runs of eight words that stand in a training review. Where a script puts no space "
    "between words, each character counts as a word in all measures, and as half of one here.",
}


def without_samples(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same without anybody's texts, for what is kept longer than a report."""
    found = metrics.get(WRITER)
    if not found:
        return dict(metrics)
    return {**metrics, WRITER: {key: value for key, value in found.items() if key != SAMPLES}}
