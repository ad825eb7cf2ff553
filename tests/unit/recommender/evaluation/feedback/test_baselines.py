"""What is had without a language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recommender.evaluation.feedback.baselines import MAX_CANDIDATES, MostFrequentSentence, NearestReview
from recommender.evaluation.feedback.sample import Asked
from recommender.inputs.ids import IdMap
from tests.unit.recommender.evaluation.feedback.reviews import review

IDS = IdMap(("i1", "i2", "i3"))
# i3 is nearer to i2 than to i1.
ITEMS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
TASTES = {"tea": [1.0, 0.0], "coffee": [0.0, 1.0], "both": [0.6, 0.8]}


def encode(texts: Sequence[str]) -> np.ndarray:
    return np.array([TASTES[text] for text in texts], dtype=np.float32).reshape(-1, 2)


def asked(item: str, rating: float | None, says: str) -> Asked:
    return Asked(review("", rating, item, says=says).request, item)


def test_the_most_frequent_sentence_is_that_of_most_reviews() -> None:
    reviews = [review("Good! So good! So good!"), review("Nice. good."), review("Nice, but loud. So good.")]
    found = MostFrequentSentence([*reviews, review("Good. It is.")])
    assert found([asked("i1", 5.0, "tea"), asked("i2", 1.0, "tea")]) == ["Good!", "Good!"]


def test_the_nearest_review_is_of_the_item_as_favourable_and_by_who_is_alike() -> None:
    reviews = [
        review("Praise by a tea drinker.", 5.0, "i1", says="tea"),
        review("Praise by a coffee drinker.", 4.0, "i1", says="coffee"),
        review("Blame.", 1.0, "i1", says="coffee"),
        review("Blame of another.", 2.0, "i2", says="coffee"),
    ]
    nearest = NearestReview(reviews, IDS, ITEMS, encode)
    wanted = [asked("i1", 5.0, "tea"), asked("i1", 5.0, "both"), asked("i1", 2.0, "tea"), asked("i1", None, "tea")]
    assert nearest(wanted) == [
        "Praise by a tea drinker.",
        "Praise by a coffee drinker.",
        "Blame.",
        "Praise by a tea drinker.",
    ]


def test_where_the_item_has_no_such_review_the_most_similar_one_that_has_stands_in() -> None:
    reviews = [
        review("Praise of the first.", 5.0, "i1", says="tea"),
        review("Praise of the second.", 5.0, "i2", says="coffee"),
        review("Blame of the first.", 1.0, "i1", says="coffee"),
    ]
    nearest = NearestReview(reviews, IDS, ITEMS, encode)
    wanted = [asked("i3", 5.0, "tea"), asked("i3", 1.0, "tea"), asked("i2", 1.0, "tea"), asked("i3", 3.0, "tea")]
    said = nearest(wanted)
    assert said[:3] == ["Praise of the second.", "Blame of the first.", "Blame of the first."]
    assert said[3] == "Praise of the second.", "nobody says anything of the kind: whatever there is"


def test_few_profiles_are_read_and_none_where_nobody_is_to_be_compared() -> None:
    reviews = [review(f"Number {n}.", 5.0, "i1", says="tea" if n == 0 else "coffee") for n in range(20)]
    read: list[str] = []

    def counting(texts: Sequence[str]) -> np.ndarray:
        read.extend(texts)
        return encode(texts)

    nearest = NearestReview([*reviews, review("Alone.", 5.0, "i2", says="both")], IDS, ITEMS, counting)
    assert nearest([asked("i2", 5.0, "nobody reads this")]) == ["Alone."]
    assert read == []
    assert nearest([asked("i1", 5.0, "tea")]) == [f"Number {20 - MAX_CANDIDATES}."], "of the last ones"
