"""What feedback is had without a language model: the most frequent sentence, and the nearest real review."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recommender.evaluation.feedback.sample import Asked
from recommender.evaluation.feedback.sentiment import sentiment_of
from recommender.inputs.ids import IdMap
from recommender.inputs.texts import PROFILE_CHARS, fit_profile
from recommender.metrics.texts import sentences, words
from recommender.writing.examples import WritingExample

# Texts to vectors of length 1, shape (n, D), float32.
Encode = Callable[[Sequence[str]], np.ndarray]


# Reviews of an item whose users are compared with the one who is asked for: the encoder reads each one's profile.
MAX_CANDIDATES = 3


class MostFrequentSentence:
    """Whatever is asked for, the sentence that most training reviews hold.

    Args:
        reviews: Of the training window, at least one with words.
    """

    def __init__(self, reviews: Sequence[WritingExample]) -> None:
        counts: Counter[tuple[str, ...]] = Counter()
        said: dict[tuple[str, ...], str] = {}
        for review in reviews:
            for sentence in sentences(review.text):
                if spoken := tuple(words(sentence)):
                    said.setdefault(spoken, sentence)
            counts.update({tuple(words(sentence)) for sentence in sentences(review.text)} - {()})
        self.sentence = said[counts.most_common(1)[0][0]]

    def __call__(self, asked: Sequence[Asked]) -> list[str]:
        return [self.sentence] * len(asked)


class NearestReview:
    """A training review: of the most similar item, the item itself first, that has one as favourable as is asked for;
    of its last three of that kind the one by the user whose profile is most alike.

    Args:
        reviews: Of the training window, at least one, oldest first.
        ids: Of the catalogue.
        items: Vectors of the items' texts, of length 1, in the order of `ids`. Shape (n_items, D).
        encode: Of profiles.
    """

    def __init__(self, reviews: Sequence[WritingExample], ids: IdMap, items: np.ndarray, encode: Encode) -> None:
        self._ids, self._items, self._encode = ids, items, encode
        self._of: dict[int | None, dict[int, list[WritingExample]]] = defaultdict(lambda: defaultdict(list))
        for review in reviews:
            rating, place = review.request.rating, ids.index(review.item_id) - 1
            self._of[None][place].append(review)
            if rating is not None:
                self._of[sentiment_of(rating)][place].append(review)

    def __call__(self, asked: Sequence[Asked]) -> list[str]:
        rows = [(_profile(one), self._candidates(one)) for one in asked]
        # Where a review stands alone, nobody is compared.
        read = {text: None for own, found in rows if len(found) > 1 for text in (own, *map(_profile, found))}
        vectors = dict(zip(read, self._encode(list(read)), strict=True))
        return [_most_alike(own, found, vectors).text for own, found in rows]

    def _candidates(self, asked: Asked) -> list[WritingExample]:
        """Reviews of the nearest item that has any of the class; of any class where the class has none at all."""
        rating = asked.request.rating
        by_item = self._of.get(None if rating is None else sentiment_of(rating)) or self._of[None]
        own = self._ids.index(asked.item_id) - 1
        if own in by_item:
            return by_item[own][-MAX_CANDIDATES:]
        places = list(by_item)
        return by_item[places[int((self._items[places] @ self._items[own]).argmax())]][-MAX_CANDIDATES:]


def _most_alike(own: str, found: Sequence[WritingExample], vectors: Mapping[str, np.ndarray]) -> WritingExample:
    """The review by the user whose profile is nearest; of equals the first."""
    if len(found) == 1:
        return found[0]
    return max(found, key=lambda other: float(vectors[_profile(other)] @ vectors[own]))


def _profile(one: Asked | WritingExample) -> str:
    """As much of the user as a writer is told."""
    return fit_profile(one.request.profile, PROFILE_CHARS)
