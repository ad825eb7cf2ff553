"""Which facts matter, learned from examples."""

import numpy as np
import pytest

from recommender.errors import BundleError
from recommender.explaining.facts import KINDS, N_FEATURES, Candidate, Fact
from recommender.explaining.relevance import Example, Relevance, area_under_curve, learn, log_loss

STRONG, WEAK = Candidate(Fact("aspect", "lid", 9), 0.9), Candidate(Fact("aspect", "lid", 1), 0.1)
NEAR, FAR = Candidate(Fact("together", "", 9), match=0.9), Candidate(Fact("together", "", 9), match=0.1)


def examples():
    """Strong aspects are spoken of by nine in ten, weak ones by one; choices are near in two of three."""
    spoken = [Example(one, matters, True) for one, n in ((STRONG, 90), (WEAK, 10)) for matters in [True] * n]
    spoken += [Example(one, False, True) for one, n in ((STRONG, 10), (WEAK, 90)) for _ in range(n)]
    chosen = [Example(one, True, False) for one, n in ((NEAR, 20), (FAR, 10)) for _ in range(n)]
    return spoken + chosen + [Example(one, False, False) for one, n in ((NEAR, 10), (FAR, 20)) for _ in range(n)]


def test_what_matters_more_often_is_more_relevant():
    strong, weak, near, far = learn(examples(), 10.0).score([STRONG, WEAK, NEAR, FAR])
    assert strong > near > 0 > far > weak


def test_relevance_is_the_log_odds_against_the_average_of_its_sort():
    strong, weak, near, far = learn(examples(), 1e6).score([STRONG, WEAK, NEAR, FAR])
    assert (strong, weak) == pytest.approx((np.log(9), -np.log(9)), abs=1e-2)
    assert (near, far) == pytest.approx((np.log(2), -np.log(2)), abs=1e-2)


def test_a_kind_without_examples_is_average():
    other = Candidate(Fact("rating", "", 3), 0.5, 0.5)
    assert learn(examples(), 1.0).score([other]) == pytest.approx(
        -learn(examples(), 1.0).averages[KINDS.index("rating")]
    )
    assert learn([], 1.0).score([other]) == [0.0]
    assert learn([Example(STRONG, True, True)] * 9, 1.0).score([STRONG]) == [0.0]  # nothing to tell it from


def test_more_caution_keeps_weights_nearer_to_nothing():
    cautious, bold = (np.abs(learn(examples(), strength).weights).sum() for strength in (0.01, 10.0))
    assert cautious < bold


def test_the_loss_and_the_area_are_those_of_the_probabilities():
    learned, untaught = learn(examples(), 1e6), learn([], 1.0)
    assert log_loss(untaught, examples()) == pytest.approx(np.log(2))
    entropy = [-sum(p * np.log(p) for p in shares) for shares in ((0.9, 0.1), (2 / 3, 1 / 3))]
    assert log_loss(learned, examples()) == pytest.approx(np.mean(entropy), abs=1e-4)
    assert area_under_curve(learned, examples(), True) == pytest.approx(0.9)
    assert area_under_curve(untaught, examples(), True) == 0.5
    assert area_under_curve(learned, [], True) is None


def test_it_is_loaded_as_it_was_saved(tmp_path):
    learned = learn(examples(), 1.0)
    learned.save(tmp_path)
    loaded = Relevance.load(tmp_path)
    np.testing.assert_array_equal(loaded.weights, learned.weights)
    np.testing.assert_array_equal(loaded.averages, learned.averages)
    assert loaded.weights.shape == (len(KINDS), N_FEATURES)


@pytest.mark.parametrize("damage", ["{}", "not json", '{"aspect": {"weights": [1], "average": 0}}'])
def test_a_damaged_file_is_refused(tmp_path, damage):
    learn(examples(), 1.0).save(tmp_path)
    (tmp_path / "relevance.json").write_text(damage)
    with pytest.raises(BundleError, match="Cannot load"):
        Relevance.load(tmp_path)
