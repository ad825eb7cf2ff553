"""What writers are asked for when they are judged: real reviews of a window, and each rating in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recommender.writing.examples import WritingExample, WritingRequest

RATINGS = (1.0, 2.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True)
class Asked:
    """What is asked of whoever writes; the real text is not in it.

    Attributes:
        item_id: Of the item that the request describes.
    """

    request: WritingRequest
    item_id: str

    def rated(self, rating: float) -> Asked:
        """The same for another rating."""
        return replace(self, request=replace(self.request, rating=rating))


# One text for each that is asked for; called once for all of them.
Writes = Callable[[Sequence[Asked]], list[str]]


@dataclass(frozen=True)
class FeedbackSample:
    """Reviews of a window, drawn by a seed.

    Attributes:
        reviews: Those that are written anew.
        n_rated: Of so many of them, the first ones, each rating from 1 to 5 is asked for.
        n_there: Reviews of the window.
    """

    reviews: tuple[WritingExample, ...]
    n_rated: int
    n_there: int

    @classmethod
    def draw(cls, reviews: Sequence[WritingExample], n: int, n_rated: int, seed: int) -> FeedbackSample:
        """Draw n of the reviews, or take all."""
        places = np.random.default_rng(seed).permutation(len(reviews))[:n]
        chosen = tuple(reviews[place] for place in places)
        return cls(chosen, min(n_rated, len(chosen)), len(reviews))

    @property
    def asked(self) -> list[Asked]:
        """The reviews as they are asked for."""
        return [Asked(review.request, review.item_id) for review in self.reviews]

    @property
    def by_rating(self) -> list[Asked]:
        """Users and items of the first reviews, each with every rating in its turn."""
        return [one.rated(rating) for one in self.asked[: self.n_rated] for rating in RATINGS]

    @property
    def ratings(self) -> list[float]:
        """The ratings of `by_rating`."""
        return [*RATINGS] * self.n_rated


@dataclass(frozen=True)
class Written:
    """What came of a sample.

    Attributes:
        reviews: A text for each review.
        by_rating: A text for each of `FeedbackSample.by_rating`; None where that would say nothing.
    """

    reviews: tuple[str, ...]
    by_rating: tuple[str, ...] | None = None

    @classmethod
    def of(cls, writes: Writes, sample: FeedbackSample, by_rating: bool = True) -> Written:
        """Have the sample written; what is asked for twice is written once."""
        rated = sample.by_rating if by_rating else []
        asked = list(dict.fromkeys([*sample.asked, *rated]))
        texts = dict(zip(asked, writes(asked), strict=True))
        reviews = tuple(texts[one] for one in sample.asked)
        return cls(reviews, tuple(texts[one] for one in rated) if by_rating else None)
