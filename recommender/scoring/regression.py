"""Regressions on few features, in double precision: logistic and ridge."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

# Of the gradient: past it, weights no longer change in single precision.
TOLERANCE = 1e-8


def fit_logistic(features: Tensor, likes: Tensor, penalty: float) -> tuple[list[float], float]:
    """Logistic regression: mean log loss + penalty * squared weights.

    Where all rows are likes, or none is, no feature can separate them: the weights are 0, and the offset is the log
    odds of the share of likes, with half a row added to each side so that it stays finite.

    Args:
        features: Shape (N, F).
        likes: 1 for a like, else 0. Shape (N,).
        penalty: On the squared weights; 0 for none.
    Returns:
        The F weights, and the offset.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import, and only training needs it

    n_likes, n = float(likes.sum()), len(likes)
    if n_likes in (0, n):
        return [0.0] * features.shape[1], math.log((n_likes + 0.5) / (n - n_likes + 0.5))
    # scikit-learn minimises C * (sum of log losses) + squared weights / 2.
    strength = 1 / (2 * penalty * n) if penalty else np.inf
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=TOLERANCE)
    model.fit(features.double().cpu().numpy(), likes.double().cpu().numpy())
    return model.coef_[0].tolist(), float(model.intercept_[0])


def fit_linear(features: Tensor, targets: Tensor, penalty: float) -> tuple[list[float], float]:
    """Ridge regression: mean squared error + penalty * squared weights.

    Args:
        features: Shape (N, F).
        targets: Shape (N,).
        penalty: On the squared weights.
    Returns:
        The F weights, and the offset.
    """
    from sklearn.linear_model import Ridge  # as above

    model = Ridge(alpha=penalty * len(features))
    model.fit(features.double().cpu().numpy(), targets.double().cpu().numpy())
    return model.coef_.tolist(), float(model.intercept_)
