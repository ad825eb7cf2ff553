"""What is chosen of several ways to rank, and what candidates there are."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.ranking.blend import Blend
from recommender.ranking.candidates import Candidates
from recommender.ranking.choice import Option, Way, best_correction, cross_validated, folds_of, simplest_of_the_best
from recommender.ranking.parts import Popularity
from tests.unit.recommender.tiny_shop import N_ITEMS, item, random_vectors, write_training_set

EVEN = np.tile([0.0, 1.0], 50)


def option(ndcg: np.ndarray, level: int, name: str = "sequence", is_part: bool = False) -> Option:
    return Option(Way(Blend("part", {name: 1.0})), ndcg, level, is_part)


def test_the_simplest_within_a_standard_error_of_the_best_is_taken() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.3, size=100)
    best, near, far = option(EVEN, 2), option(EVEN - 0.02 + noise - noise.mean(), 0), option(EVEN - 0.1, 0)
    assert simplest_of_the_best([best, near, far]) is near  # .02 lower, with a standard error of .03
    steady = option(EVEN - 0.02, 0)  # every user has it .02 lower
    assert simplest_of_the_best([best, steady, far]) is best


def test_of_one_level_the_best_is_taken_and_of_equals_the_first() -> None:
    first, second = option(EVEN, 0), option(EVEN + 0.01, 0)
    assert simplest_of_the_best([first, second]) is second
    assert simplest_of_the_best([first, option(EVEN, 0)]) is first


def test_nothing_below_the_best_part_is_taken_however_simple() -> None:
    """It lies within the noise of the best, and yet below a part that would do alone."""
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.3, size=100)
    best = option(EVEN + 0.01, 2)
    simple = option(EVEN - 0.01 + noise - noise.mean(), 0)
    part = option(EVEN, 1, is_part=True)
    assert simplest_of_the_best([best, simple]) is simple
    assert simplest_of_the_best([best, simple, part]) is best


def test_a_correction_is_taken_where_it_is_surely_better_than_none() -> None:
    """Within the noise of the best correction may lie one that ranks worse than none."""
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.5, size=100)
    none, steady = option(EVEN, 0, "none"), option(EVEN + 0.02, 2, "steady")  # every user has it .02 higher
    shaky = option(EVEN - 0.01 + noise - noise.mean(), 1, "shaky")
    assert simplest_of_the_best([shaky, steady]) is shaky
    assert best_correction(none, [shaky, steady]) is steady
    assert best_correction(none, [shaky]) is none
    simple = option(EVEN + 0.02, 1, "simple")
    assert best_correction(none, [simple, steady]) is simple


def test_a_fold_is_measured_by_a_fit_that_did_not_see_it() -> None:
    """The fit remembers its own targets: for those of other queries it ranks nothing."""
    n = 40
    targets = np.arange(n)
    wanted = np.arange(n) == targets[:, None]
    scores = np.stack([np.zeros((n, n)), wanted], axis=2).astype(np.float32)
    places, ones = np.tile(np.arange(n), (n, 1)), np.ones(n, dtype=int)
    whole = Candidates(("sequence", "text"), places, scores, wanted, ones, ones, np.zeros((n * n, 0)))
    seen: list[set[int]] = []

    def fit(candidates: Candidates) -> Way:
        seen.append(set(np.flatnonzero(candidates.wanted.any(axis=0)).tolist()))
        return Way(Blend("weighted", {"text": 1.0}))

    found = cross_validated(fit, whole, folds_of(n, 0), k=5, level=1)
    assert found.ndcg.tolist() == [1.0] * n
    *folds, everything = seen
    assert everything == set(range(n))
    assert [len(fold) for fold in folds] == [n - n // 5] * 5
    assert set.intersection(*folds) == set()


def test_candidates_are_each_parts_best_unseen_items(tmp_path) -> None:
    vectors = random_vectors(write_training_set(tmp_path / "training"))
    user = UserState.from_history([item(3), item(4)])
    generator = np.random.default_rng(2)
    matrices = {name: generator.normal(size=(1, N_ITEMS)).astype(np.float32) for name in ("sequence", "text")}
    queries = Queries((user,), ((item(5), "unheard of"),))
    found = Candidates.of(lambda _: matrices, queries, vectors.ids, tuple(matrices), 4)
    seen = user.seen_places(vectors.ids)
    expected: set[int] = set()
    for matrix in matrices.values():
        order = [int(place) for place in np.argsort(-matrix[0]) if place not in seen]
        expected |= set(order[:4])
    assert found.places[0].tolist() == sorted(expected)
    target = vectors.ids.index(item(5)) - 1
    assert found.wanted[0].tolist() == [place == target for place in sorted(expected)]
    np.testing.assert_array_equal(found.of_part("text")[0], matrices["text"][0, sorted(expected)])
    assert (found.n_targets.tolist(), found.lengths.tolist()) == ([2], [2])
    best = np.zeros(found.places.shape)
    best[found.wanted] = 1.0
    reached = float(found.wanted.any())
    assert found.ndcg(best, 3) == pytest.approx([reached / (1 + 1 / np.log2(3))])


def test_popularity_says_the_same_to_everybody(tmp_path) -> None:
    from recommender.ranking.parts import Asked

    vectors = random_vectors(write_training_set(tmp_path / "training"))
    users = [UserState.from_history([item(n)]) for n in (1, 2)]
    scores = Popularity(vectors).scores(Asked.of(users, vectors.ids))
    np.testing.assert_allclose(scores, np.tile(np.log1p(vectors.catalogue.n_events), (2, 1)))
