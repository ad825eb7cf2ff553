import math

import numpy as np
import pytest
import torch

from recommender.errors import NotFinite
from recommender.fitting.descent import descend
from recommender.fitting.finiteness import finite_loss, finite_scores, name_not_finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused_in_the_name_of_their_part(value):
    scores = np.zeros((2, 3), dtype=np.float32)
    assert finite_scores("neighbours", scores) is scores
    scores[1, 2] = value
    with pytest.raises(NotFinite, match=rf"scores of neighbours: scores={value} in 1 of 6 places, expected finite"):
        finite_scores("neighbours", scores)


def test_minus_infinity_is_a_mask_where_that_is_agreed():
    scores = np.array([[1.0, -np.inf], [-np.inf, -np.inf]])
    assert finite_scores("generative model", scores, masked=True) is scores
    for value in (math.nan, math.inf):
        scores[0, 1] = value
        with pytest.raises(NotFinite, match=f"scores={value} in 1 of 4"):
            finite_scores("generative model", scores, masked=True)


def test_no_scores_are_finite():
    for shape in ((0, 5), (3, 0), (0,)):
        assert finite_scores("blend", np.empty(shape)).shape == shape


def test_a_loss_that_is_no_number_says_what_was_fitted_and_where():
    assert finite_loss("feedback writer", 2.5, "step 3") == 2.5
    with pytest.raises(NotFinite, match=r"Cannot fit feedback writer: loss=nan, expected a finite number \(step 3\)"):
        finite_loss("feedback writer", math.nan, "step 3")


def test_tensors_are_named():
    good = {"a": torch.ones(3), "b": np.ones(2), "c": torch.tensor([True]), "d": np.array([1, 2]), "e": torch.zeros(0)}
    assert name_not_finite(good) is None
    assert name_not_finite({**good, "f": torch.tensor([1.0, math.nan, math.inf])}) == (
        "f has 2 numbers that are not finite"
    )
    assert name_not_finite({"g": np.array([[-np.inf]]), **good}) == "g has 1 numbers that are not finite"
    assert name_not_finite({"h": torch.tensor([math.nan], dtype=torch.bfloat16)}) is not None


def weight_and_optimizer(start: float = 3.0) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    weight = torch.nn.Parameter(torch.tensor([start, 0.0]))
    return weight, torch.optim.SGD([weight], lr=1.0)


def test_a_step_follows_the_gradient_and_no_further_than_its_bound():
    weight, optimizer = weight_and_optimizer()
    loss = 0.5 * (0.25 * weight).sum()
    assert descend("sequence model", loss, optimizer, "epoch 1") == pytest.approx(0.375)
    assert weight.tolist() == pytest.approx([3 - 0.125, -0.125])
    weight, optimizer = weight_and_optimizer()
    descend("sequence model", 1000 * weight[0], optimizer, "epoch 1")
    assert weight.tolist() == pytest.approx([2.0, 0.0], abs=1e-4)
    weight, optimizer = weight_and_optimizer()
    descend("sequence model", 1000 * weight[0], optimizer, "epoch 1", max_norm=0.5)
    assert weight.tolist() == pytest.approx([2.5, 0.0], abs=1e-4)


def test_no_weight_changes_by_a_loss_or_a_gradient_that_is_not_finite():
    weight, optimizer = weight_and_optimizer()
    with pytest.raises(NotFinite, match=r"Cannot fit pair scorer: loss=inf, .* \(epoch 2\)"):
        descend("pair scorer", weight.sum() / 0, optimizer, "epoch 2")
    weight, optimizer = weight_and_optimizer(0.0)
    # The square root is 0 at 0, its gradient is not finite there.
    with pytest.raises(NotFinite, match=r"length of the gradient=(nan|inf) at a loss of 0"):
        descend("pair scorer", weight[0].sqrt(), optimizer, "epoch 2")
    assert weight.tolist() == [0.0, 0.0]
