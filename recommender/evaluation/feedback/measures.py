"""All measures of written feedback, the same for every writer and baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recommender.encoders.encoder import TextEncoder
from recommender.evaluation.feedback.sample import FeedbackSample, Written
from recommender.evaluation.feedback.sentiment import SentimentReader
from recommender.evaluation.feedback.statements import Evidence, Support
from recommender.metrics.texts import (
    bert_score,
    bleu,
    copied_share,
    distinct_n,
    feature_coverage_ratio,
    feature_matching_ratio,
    rouge_l,
    rouge_n,
    unique_sentence_ratio,
)
from recommender.writing.examples import WritingExample

# Measure to figure; None where the data do not allow it.
Figures = dict[str, float | None]


@dataclass(frozen=True)
class Judges:
    """What texts are measured with.

    Attributes:
        learned: The texts of the training window.
        reader: Of sentiment; None where too few low or high ratings come with texts.
        evidence: What the real reviews of all windows say of the items.
        encoder: Of token vectors.
        vectors: Token vectors of the texts that were read so far.
    """

    learned: Sequence[str]
    reader: SentimentReader | None
    evidence: Evidence
    encoder: TextEncoder
    vectors: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, learned: Sequence[WritingExample], reviews: Sequence[WritingExample], encoder: TextEncoder, seed: int
    ) -> Judges:
        """Judges whose reader learns from the reviews of the training window, and from nothing later.

        Args:
            learned: The reviews of the training window.
            reviews: Those of all windows.
        """
        texts = [review.text for review in learned]
        reader = SentimentReader.fit(texts, [review.request.rating for review in learned], seed)
        return cls(texts, reader, Evidence(reviews), encoder)

    def judge(self, written: Written, sample: FeedbackSample) -> Figures:
        """Measure what came of a sample: likeness to the real reviews, rating, statements, variety, copies."""
        ours, theirs = written.reviews, [review.text for review in sample.reviews]
        likeness: Figures = {
            "bleu_1": bleu(ours, theirs, 1),
            "bleu_4": bleu(ours, theirs, 4),
            "rouge_1": rouge_n(ours, theirs, 1),
            "rouge_2": rouge_n(ours, theirs, 2),
            "rouge_l": rouge_l(ours, theirs),
            "bert_score": bert_score(self._vectors(ours), self._vectors(theirs)),
        }
        named, expected = self.evidence.features(ours), self.evidence.features(theirs)
        features: Figures = {
            "feature_matching": feature_matching_ratio(named, expected),
            "feature_coverage": feature_coverage_ratio(named, set().union(*expected)),
        }
        agreement = self._agreement(written.by_rating, sample.ratings)
        support = _figures(self.evidence.support(ours, sample.reviews))
        return {**likeness, **features, **agreement, **support, **self._of_texts(ours)}

    def judge_real(self, sample: FeedbackSample, reviews: Sequence[WritingExample]) -> Figures:
        """Measure the real reviews themselves: how well the reader reads them, how far others say the same, variety.

        Args:
            reviews: All of the window, for the reader.
        """
        rated = [(review.text, review.request.rating) for review in reviews if review.request.rating is not None]
        texts, ratings = [text for text, _ in rated], [rating for _, rating in rated]
        own = [review.text for review in sample.reviews]
        support = _figures(self.evidence.support(own, sample.reviews, without_own=True))
        return {**self._agreement(texts, ratings), **support, **self._of_texts(own)}

    def _vectors(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token vectors; the real texts are read once for all who are judged."""
        unread = list(dict.fromkeys(text for text in texts if text not in self.vectors))
        self.vectors.update(zip(unread, self.encoder.token_vectors(unread), strict=True))
        return [self.vectors[text] for text in texts]

    def _agreement(self, texts: Sequence[str] | None, ratings: Sequence[float]) -> Figures:
        reader = self.reader
        if reader is None or texts is None:
            return {"rating_agreement_2": None, "rating_agreement_3": None}
        return {f"rating_agreement_{n}": reader.agreement(texts, ratings, n) for n in (2, 3)}

    def _of_texts(self, texts: Sequence[str]) -> Figures:
        return {
            "distinct_1": distinct_n(texts, 1),
            "distinct_2": distinct_n(texts, 2),
            "unique_sentence_ratio": unique_sentence_ratio(texts),
            "copied_share": copied_share(texts, self.learned),
        }


def _figures(support: Support) -> Figures:
    return {"statement_precision": support.precision, "n_statements": float(support.n_statements)}
