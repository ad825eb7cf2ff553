"""95 % intervals of shares, quantiles and means at one moment."""

from __future__ import annotations

from math import sqrt

import numpy as np
from pydantic import BaseModel, ConfigDict

_Z = 1.96
_FEW = 10  # values: their spread says little of that of others


class Interval(BaseModel):
    """A figure, and its 95 % interval at this moment."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class OpenInterval(BaseModel):
    """A figure, and its 95 % interval at this moment; an end is None where there are too few values to tell it."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float | None
    high: float | None


def ratio(top: np.ndarray, bottom: np.ndarray, unit: np.ndarray) -> Interval | None:
    """A share as the ratio of two sums, with an interval that takes units (users) as drawn.

    Wilson's for so many users as bring the variance that the delta method finds, which few users find badly: their
    number is reduced as Student's t has it. So it never ends beyond 0 or 1, nor has no width.

    Args:
        top, bottom: One per answer, or sums of a user, top at most bottom. Shape (n,).
        unit: The number of the user of each. Shape (n,), int.
    Source: Korn & Graubard 1998 for the effective number; Dean & Pagano 2015 for Wilson's interval of it.
    """
    from scipy.stats import t

    _, own = np.unique(unit, return_inverse=True)
    tops, bottoms = np.bincount(own, weights=top), np.bincount(own, weights=bottom)
    if not bottoms.sum():
        return None
    value, n = float(tops.sum() / bottoms.sum()), len(tops)
    if n < 2:
        return Interval(value=value, low=0.0, high=1.0)
    variance = float(np.sum((tops - value * bottoms) ** 2) / (n - 1)) / n / float(bottoms.mean()) ** 2
    if variance > 0:
        n_apart = min(value * (1 - value) / variance, float(bottoms.sum())) * (_Z / float(t.ppf(0.975, n - 1))) ** 2
    else:
        n_apart = float(n)
    middle = (value + _Z**2 / n_apart / 2) / (1 + _Z**2 / n_apart)
    wide = _Z * sqrt(value * (1 - value) / n_apart + (_Z / n_apart) ** 2 / 4) / (1 + _Z**2 / n_apart)
    return Interval(value=value, low=max(min(middle - wide, value), 0.0), high=min(max(middle + wide, value), 1.0))


def quantile(ordered: np.ndarray, q: float) -> OpenInterval | None:
    """A quantile, with the interval of its order statistics: no form of distribution is taken for granted.

    How many values lie below the quantile is binomial. Of few values none may lie surely beyond it: there is no such
    end then, as of the 99th percentile of fewer than 368 values no upper one.

    Args:
        ordered: Ascending. Shape (n,).
    """
    from scipy.stats import binom

    n = len(ordered)
    if not n:
        return None
    fewest, most = (int(binom.ppf(level, n, q)) for level in (0.025, 0.975))
    return OpenInterval(
        value=float(ordered[min(max(round(n * q - 0.5), 0), n - 1)]),
        low=float(ordered[fewest - 1]) if fewest > 0 else None,
        high=float(ordered[most]) if most < n else None,
    )


def mean(values: list[float], least: float) -> OpenInterval | None:
    """By Student's t, within what the values can be; few values have no interval.

    Args:
        least: The smallest that there can be; the largest is 1.
    """
    from scipy.stats import t

    if not values:
        return None
    found = np.array(values, dtype=float)
    middle, n = float(found.mean()), len(found)
    if n < _FEW:
        return OpenInterval(value=middle, low=None, high=None)
    wide = float(t.ppf(0.975, n - 1)) * float(found.std(ddof=1)) / sqrt(n)
    return OpenInterval(value=middle, low=max(middle - wide, least), high=min(middle + wide, 1.0))
