"""Regressions of few numbers, in double precision: logistic and linear."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def fit_logistic(features: Tensor, likes: Tensor, penalty: float) -> tuple[list[float], float]:
    """Logistic regression by L-BFGS.

    Args:
        features: Shape (N, F).
        likes: 1 for a like, else 0. Shape (N,).
        penalty: On the squared weights.
    Returns:
        The F weights, and the offset.
    """
    features, likes = features.double(), likes.double()
    weights = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, offset], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        error = F.binary_cross_entropy_with_logits(features @ weights + offset, likes)
        value: Tensor = error + penalty * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.tolist(), offset.item()


def fit_linear(features: Tensor, targets: Tensor, penalty: float) -> tuple[list[float], float]:
    """Ridge regression in closed form: mean squared error + penalty * squared weights.

    Args:
        features: Shape (N, F).
        targets: Shape (N,).
        penalty: On the squared weights.
    Returns:
        The F weights, and the offset.
    """
    features, targets = features.double(), targets.double()
    centre, level = features.mean(dim=0), targets.mean()
    centred = features - centre
    ridge = penalty * len(features) * torch.eye(features.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ (targets - level))
    return weights.tolist(), float(level - centre @ weights)
