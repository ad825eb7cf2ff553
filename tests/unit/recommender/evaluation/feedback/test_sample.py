"""What writers are asked for, and what is written once."""

from __future__ import annotations

from collections.abc import Sequence

from recommender.evaluation.feedback.sample import RATINGS, Asked, FeedbackSample, Written
from tests.unit.recommender.evaluation.feedback.reviews import review

REVIEWS = [review(f"Text {n}.", rating=float(1 + n % 5), item=f"i{n}") for n in range(20)]


def test_reviews_are_drawn_by_the_seed() -> None:
    first, again, other = (FeedbackSample.draw(REVIEWS, 6, 2, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first.reviews)) == 6
    assert first.n_there == 20
    few = FeedbackSample.draw(REVIEWS[:3], 6, 5, 1)
    assert sorted(one.text for one in few.reviews) == ["Text 0.", "Text 1.", "Text 2."]
    assert few.n_rated == 3


def test_each_rating_is_asked_for_as_often() -> None:
    sample = FeedbackSample.draw(REVIEWS, 6, 2, 1)
    assert [asked.request.rating for asked in sample.by_rating] == sample.ratings == [*RATINGS, *RATINGS]
    assert [asked.item_id for asked in sample.by_rating] == [one.item_id for one in sample.reviews[:2] for _ in RATINGS]


def test_what_is_asked_for_twice_is_written_once_and_no_writer_sees_the_real_text() -> None:
    sample = FeedbackSample.draw(REVIEWS, 6, 2, 1)
    calls: list[list[Asked]] = []

    def write(asked: Sequence[Asked]) -> list[str]:
        calls.append(list(asked))
        return [f"{one.item_id} at {one.request.rating}" for one in asked]

    written = Written.of(write, sample)
    (asked,) = calls
    assert len(asked) == len(set(asked)) == 6 + 2 * 4, "the real rating is one of the five"
    assert "Text" not in repr(asked)
    assert written.reviews == tuple(f"{one.item_id} at {one.request.rating}" for one in sample.reviews)
    assert written.by_rating == tuple(f"{one.item_id} at {one.request.rating}" for one in sample.by_rating)
    assert Written.of(write, sample, by_rating=False).by_rating is None
    assert len(calls[1]) == 6
