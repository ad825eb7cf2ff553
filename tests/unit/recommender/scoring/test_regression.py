"""Both regressions against what defines them: a known line, a flat gradient, and a penalty counted per row."""

import math

import pytest
import torch

from recommender.scoring.regression import fit_linear, fit_logistic


def problem(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(n, 3, generator=generator) * torch.tensor([1.0, 10.0, 0.1])
    likes = torch.rand(n, generator=generator) < torch.sigmoid(features @ torch.tensor([1.0, -0.1, 5.0]) + 0.5)
    return features, likes.float()


def test_ridge_finds_a_known_line() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    weights, offset = fit_linear(features, torch.tensor([0.5, 1.5, -1.5, -0.5]), penalty=0.0)
    assert weights == pytest.approx([1.0, -2.0])
    assert offset == pytest.approx(0.5)


@pytest.mark.parametrize("penalty", [0.0, 0.01])
def test_the_gradient_of_the_logistic_loss_is_zero_at_its_weights(penalty: float) -> None:
    features, likes = problem()
    weights, offset = fit_logistic(features, likes, penalty)
    w = torch.tensor(weights, dtype=torch.float64)
    errors = torch.sigmoid(features.double() @ w + offset) - likes
    assert (errors @ features.double() / len(likes) + 2 * penalty * w).abs().max() < 1e-6
    assert abs(float(errors.mean())) < 1e-6  # the offset is not penalised


@pytest.mark.parametrize("fit", [fit_logistic, fit_linear])
def test_rows_given_twice_change_nothing(fit) -> None:
    features, likes = problem(60)
    once, twice = fit(features, likes, 0.1), fit(features.repeat(2, 1), likes.repeat(2), 0.1)
    assert twice[0] == pytest.approx(once[0], rel=1e-5)
    assert twice[1] == pytest.approx(once[1], rel=1e-5)


def test_likes_that_a_feature_tells_apart_leave_the_weights_finite() -> None:
    features = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    (slope,), offset = fit_logistic(features, torch.tensor([0.0, 0.0, 1.0, 1.0]), penalty=1e-5)
    assert 0 < slope < 100
    assert abs(offset) < 1e-3


@pytest.mark.parametrize("like", [0.0, 1.0])
def test_likes_of_one_kind_leave_only_the_offset(like: float) -> None:
    weights, offset = fit_logistic(torch.randn(5, 2), torch.full((5,), like), penalty=1e-5)
    assert weights == [0.0, 0.0]
    assert offset == pytest.approx(math.log(11) * (1 if like else -1))
