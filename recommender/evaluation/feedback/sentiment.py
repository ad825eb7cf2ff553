"""How a text sounds, by a reader of its own: it learned from real reviews and their ratings, and from no writer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.metrics.texts import SPACELESS, words

# Ratings up to 2 are low, from 4 on high.
LOW, MIDDLE, HIGH = 0, 1, 2
LOW_TO, HIGH_FROM = 2.0, 4.0
# Of each class so many texts at most: beyond, what is common only drowns what is rare.
MAX_TEXTS = 1_000
MIN_TEXTS = 20
MAX_CHARS = 2_000
MAX_TERMS = 50_000
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class SentimentReader:
    """TF-IDF over words and pairs of them, and class-balanced logistic regression on it.

    In texts whose script puts no space between words, runs of one to three characters take the words' place.

    Attributes:
        vectorizer: Text to terms.
        by_classes: For two classes (low, high) and for three a regression; where one class has too few texts, none.
        n_texts: What it learned from.
    """

    vectorizer: Any
    by_classes: dict[int, Any]
    n_texts: int

    @classmethod
    def fit(cls, texts: Sequence[str], ratings: Sequence[float | None], seed: int) -> SentimentReader | None:
        """Learn from real reviews: at most 1,000 of each class, drawn by the seed.

        Args:
            ratings: Of the texts; one that has none is not learned from.
        Returns:
            None where low or high ratings have fewer than 20 texts.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        classes = np.array([-1 if rating is None else sentiment_of(rating) for rating in ratings])
        random = np.random.default_rng(seed)
        drawn = {one: random.permutation(np.flatnonzero(classes == one))[:MAX_TEXTS] for one in (LOW, MIDDLE, HIGH)}
        known = [one for one, places in drawn.items() if len(places) >= MIN_TEXTS]
        if LOW not in known or HIGH not in known:
            return None
        chosen = np.sort(np.concatenate([drawn[one] for one in known]))
        read = [texts[place][:MAX_CHARS] for place in chosen]
        terms: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}
        if not puts_no_spaces(read):
            terms = {"tokenizer": words, "token_pattern": None, "ngram_range": (1, 2)}
        vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True, max_features=MAX_TERMS, **terms)
        rows, wanted = vectorizer.fit_transform(read), classes[chosen]
        ends = wanted != MIDDLE
        by_classes = {2: _regression(rows[ends], wanted[ends])}
        if MIDDLE in known:
            by_classes[3] = _regression(rows, wanted)
        return cls(vectorizer, by_classes, len(chosen))

    def agreement(self, texts: Sequence[str], ratings: Sequence[float], n_classes: int) -> float | None:
        """Mean over the classes of the share of their texts that sound like it (balanced accuracy).

        Args:
            ratings: That the texts were written for.
            n_classes: 2: low and high ratings, others do not count; 3: those between them too.
        Returns:
            None where the reader does not know the classes, or no text is of one of them.
        """
        from sklearn.metrics import recall_score

        asked = np.array([sentiment_of(rating) for rating in ratings])
        wanted = [LOW, HIGH] if n_classes == 2 else [LOW, MIDDLE, HIGH]
        if n_classes not in self.by_classes or not set(wanted) <= set(asked.tolist()):
            return None
        counted = np.flatnonzero(np.isin(asked, wanted)).tolist()
        heard = self.hear([texts[place] for place in counted], n_classes)
        return float(recall_score(asked[counted], heard, labels=wanted, average="macro", zero_division=0.0))

    def hear(self, texts: Sequence[str], n_classes: int = 2) -> np.ndarray:
        """How each text sounds: LOW or HIGH, or MIDDLE too where three classes are asked for. Shape (n_texts,)."""
        rows = self.vectorizer.transform([text[:MAX_CHARS] for text in texts])
        heard: np.ndarray = self.by_classes[n_classes].predict(rows)
        return heard


def sentiment_of(rating: float) -> int:
    """The class of a rating: LOW, MIDDLE or HIGH."""
    return LOW if rating <= LOW_TO else HIGH if rating >= HIGH_FROM else MIDDLE


def puts_no_spaces(texts: Sequence[str]) -> bool:
    """Whether most letters of the texts are of a script that puts no space between words.

    >>> puts_no_spaces(["很好喝，下次还来", "ok"]), puts_no_spaces(["very good 茶"])
    (True, False)
    """
    letters = sum(len(_LETTER.findall(text)) for text in texts)
    return 2 * sum(len(SPACELESS.findall(text)) for text in texts) > letters


def _regression(rows: Any, wanted: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(class_weight="balanced", max_iter=1_000).fit(rows, wanted)
