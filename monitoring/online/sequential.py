"""A test of two variants that may be looked at whenever one likes: a confidence sequence, and an always-valid p-value.

Each user gives one value, and was shown a variant by chance. Of each the effect is estimated by inverse propensities
around the means of the users before (AIPW), so that the estimates are uncorrelated and their mean is the difference.
Against no difference stands a normal mixture over all differences; with m the mean of n estimates, s their deviation:

    E_n = (1 + n r²)^(-1/2) exp( n² r² (m / s)² / (2 (1 + n r²)) )

If there is no difference, the chance that E_n ever reaches 1/a is at most a, for however many looks, as the number of
users grows (the estimates need not be normal; the first `min_users` of each variant are therefore not looked at).

Source: the mixture test Johari, Koomen, Pekelis, Walsh 2022 (Always valid inference); its form for means of any
distribution Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024 (Time-uniform central limit theory), theorem 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.05  # the chance of ever finding a difference where there is none
MIN_USERS = 100  # of each variant, before anything is said
_TUNED_FOR = 2000  # users for whom the sequence is tightest


@dataclass(frozen=True)
class Sequential:
    """What can be said now.

    Attributes:
        n_users: Of both variants.
        difference: Of the means, treated less control.
        low, high: Of the confidence sequence at this moment.
        p_value: The smallest so far; below `LEVEL` there is a difference.
    """

    n_users: int
    difference: float
    low: float
    high: float
    p_value: float


def compare(
    values: np.ndarray, treated: np.ndarray, share: float, *, level: float = LEVEL, min_users: int = MIN_USERS
) -> Sequential | None:
    """Test whether the mean of two variants differs; None before there are enough users of each.

    Args:
        values: One per user, in the order in which they became known; later calls go on from the same beginning.
            Shape (n,).
        treated: Whether the user was shown the variant, and not the control. Shape (n,), bool.
        share: The chance of that, of each of these users.
        level: Of the confidence sequence: 1 minus its coverage.
        min_users: Of each variant, before the first look.
    """
    looks = _looks(np.asarray(values, dtype=np.float64)[None], np.asarray(treated, dtype=bool)[None], share, level)
    enough = np.minimum(np.cumsum(treated), np.cumsum(~np.asarray(treated, dtype=bool))) >= min_users
    if not enough.any():
        return None
    first = int(enough.argmax())
    mean, radius, log_e = (rows[0] for rows in looks)
    # NaN where nothing varied yet: nothing is known then.
    best = np.nanmax(np.append(log_e[first:], 0.0))
    difference, wide = float(mean[-1]), float(radius[-1])
    return Sequential(len(mean), difference, difference - wide, difference + wide, float(np.exp(-best)))


def _looks(
    values: np.ndarray, treated: np.ndarray, share: float, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, radius of the confidence sequence, and log E_n after each user. Each (S, n), of S sequences."""
    n = np.arange(1, values.shape[1] + 1, dtype=np.float64)
    before = [_means_before(values, arm) for arm in (~treated, treated)]
    control, variant = before
    effect = (
        variant
        - control
        + np.where(treated, (values - variant) / share, 0.0)
        - np.where(treated, 0.0, (values - control) / (1.0 - share))
    )
    mean = np.cumsum(effect, axis=1) / n
    # Of a small arm in which hardly anybody clicked yet, the estimates vary too little: by chance it looks certain. So
    # they vary at least as if both variants did what all users did together.
    together = np.cumsum(values**2, axis=1) / n - (np.cumsum(values, axis=1) / n) ** 2
    spread = np.cumsum(effect**2, axis=1) / n - mean**2
    spread = np.maximum(np.maximum(spread, together / (share * (1.0 - share))), 0.0)
    scale = -2.0 * np.log(level)
    mixing = (scale + np.log(scale) + 1.0) / _TUNED_FOR  # r²
    reach = n * mixing + 1.0
    radius = np.sqrt(spread * 2.0 * reach / (n**2 * mixing) * np.log(np.sqrt(reach) / level))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_e = n**2 * mixing * mean**2 / spread / (2.0 * reach) - 0.5 * np.log(reach)
    return mean, radius, np.where(spread > 0, log_e, np.nan)


def _means_before(values: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """Of each user, the mean of those of a variant who came before; 0 before the first. Shape (S, n)."""
    sums = np.cumsum(np.where(arm, values, 0.0), axis=1)
    counts = np.cumsum(arm, axis=1)
    zero = np.zeros((len(values), 1))
    sums, counts = np.hstack([zero, sums[:, :-1]]), np.hstack([zero, counts[:, :-1]])
    means: np.ndarray = sums / np.maximum(counts, 1.0)
    return means
