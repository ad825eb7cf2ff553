"""How sure a figure is: bootstrap intervals over users, and a paired test of whether a difference is there at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recommender.errors import MetricError
from recommender.fitting.finiteness import finite_scores

CONFIDENCE = 0.95
# A p-value above it is read as: could be chance.
CHANCE = 0.05
N_SAMPLES = 2000
# Rows of the sampling matrices that lie in memory at once.
_ROWS_PER_PASS = 100
# Sums of the same numbers in another order differ by rounding; such ties count as being as far out.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """Two bundles on the same queries.

    Attributes:
        difference: Candidate minus champion; `low` and `high` bound it at 95 %.
        p_value: How often chance alone would set them as far apart.
        since: From when on the events are that the queries are of, ISO 8601; empty where it is not said.
        until: The newest of them.
        as_judged: Whether the champion is the one that was judged, before it was fitted again on everything.
        champion_is_ahead: Whether the champion learned of events that the candidate, as it is judged, did not.
    """

    metric: str
    candidate: float
    champion: float
    difference: float
    low: float
    high: float
    p_value: float
    n_queries: int
    since: str = ""
    until: str = ""
    as_judged: bool = False
    champion_is_ahead: bool = False

    @property
    def evidence(self) -> str:
        """Whose choices the figures are of: how many users, and when."""
        when = f" from {_minute(self.since)} to {_minute(self.until)}" if self.since else ""
        each = ", each bundle as it was when the gate judged it" if self.as_judged else ""
        return f"choices of {self.n_queries:,} users{when} that neither bundle had learned from{each}"

    def sentence(self) -> str:
        """The figures, and whether they are more than chance."""
        surely = "not significant" if self.p_value > CHANCE else "significant"
        return (
            f"{self.metric} {self.candidate:.4f} against {self.champion:.4f} in service: difference "
            f"{self.difference:+.4f}, 95 % interval [{self.low:+.4f}, {self.high:+.4f}], p = {self.p_value:.4f}, "
            f"{surely}; measured on {self.evidence}."
        )


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def bootstrap_intervals(
    values: np.ndarray, seed: int, n_samples: int = N_SAMPLES, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile intervals of column means, rows drawn with replacement; all columns see the same draws.

    Args:
        values: A row per user, a column per figure. Shape (n, m).
    Returns:
        Lower and upper ends, each shape (m,).
    Raises:
        MetricError: there is no row.
        NotFinite: a figure is NaN or infinite.
    Source: Efron & Tibshirani 1993, ch. 13; paired by query as in Sakai 2006.
    """
    _check(values, "interval")
    generator = np.random.default_rng(seed)
    n = len(values)
    means = np.empty((n_samples, values.shape[1]))
    for start in range(0, n_samples, _ROWS_PER_PASS):
        stop = min(start + _ROWS_PER_PASS, n_samples)
        means[start:stop] = _times_drawn(generator, stop - start, n) @ values / n
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high


def bootstrap_interval(
    differences: np.ndarray, seed: int, n_samples: int = N_SAMPLES, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """`bootstrap_intervals` of one figure, e.g. of one model's metric minus the other's. Shape (n_queries,)."""
    low, high = bootstrap_intervals(differences[:, None], seed, n_samples, confidence)
    return float(low[0]), float(high[0])


def sign_flip_p_values(differences: np.ndarray, seed: int, n_samples: int = N_SAMPLES) -> np.ndarray:
    """Two-sided p-values of paired differences: how often random signs give a mean as far from zero.

    (1 + #{|mean of s_i d_i| >= |mean of d_i|}) / (1 + n_samples), with s_i = ±1 by a fair coin. If neither model were
    better, a user's difference would be as likely with either sign.

    Args:
        differences: A row per user, a column per figure. Shape (n, m).
    Returns:
        Shape (m,); the least is 1 / (1 + n_samples).
    Raises:
        MetricError: there is no row.
        NotFinite: a figure is NaN or infinite.
    Source: Fisher 1935; for retrieval Smucker, Allan & Carterette 2007.
    """
    _check(differences, "p-value")
    generator = np.random.default_rng(seed)
    n, observed = len(differences), np.abs(differences.mean(axis=0))
    as_far = np.zeros(differences.shape[1])
    for start in range(0, n_samples, _ROWS_PER_PASS):
        rows = min(_ROWS_PER_PASS, n_samples - start)
        signs = generator.integers(0, 2, (rows, n), dtype=np.int8).astype(np.float64) * 2 - 1
        as_far += (np.abs(signs @ differences / n) >= observed - _ROUNDING).sum(axis=0)
    p_values: np.ndarray = (1 + as_far) / (1 + n_samples)
    return p_values


def group_range_p_value(values: np.ndarray, group: np.ndarray, seed: int, n_samples: int = N_SAMPLES) -> float:
    """How often groups of the same sizes, drawn by lot, have means as far apart: their highest less their lowest.

    Args:
        values: Shape (n,).
        group: Number of each value's group, from 0, none empty. Shape (n,).
    Returns:
        (1 + #{range >= observed}) / (1 + n_samples).
    Source: Fisher 1935; Good 2005, Permutation tests, ch. 5.
    """
    generator = np.random.default_rng(seed)
    sizes = np.bincount(group)
    share = np.zeros((len(values), len(sizes)))
    share[np.arange(len(values)), group] = 1 / sizes[group]
    observed = np.ptp(values @ share)
    as_far = 0
    for start in range(0, n_samples, _ROWS_PER_PASS):
        rows = min(_ROWS_PER_PASS, n_samples - start)
        drawn = generator.permuted(np.tile(values, (rows, 1)), axis=1)
        as_far += int((np.ptp(drawn @ share, axis=1) >= observed - _ROUNDING).sum())
    return (1 + as_far) / (1 + n_samples)


@dataclass(frozen=True)
class Clusters:
    """Values of groups that come by user, several of one user perhaps: what is drawn is users.

    Attributes:
        sums: Of each user's values in each group. Shape (n_users, n_groups).
        counts: How many those are. Shape (n_users, n_groups).
    """

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, group: np.ndarray, users: np.ndarray) -> Clusters:
        """Shapes (n,)."""
        _, user = np.unique(users, return_inverse=True)
        shape = (int(user.max()) + 1, int(group.max()) + 1)
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (user, group), values)
        np.add.at(counts, (user, group), 1)
        return cls(sums, counts)

    @property
    def spans_groups(self) -> bool:
        """Whether a user has more than one value: then values are not drawn apart."""
        return bool((self.counts.sum(axis=1) > 1).any())

    def interval(self, best: int, worst: int, seed: int) -> tuple[float, float]:
        """95 % percentile interval of one group's mean less another's, users drawn with replacement."""
        means = self._drawn_means(seed)
        tail = (1 - CONFIDENCE) / 2
        low, high = np.nanquantile(means[:, best] - means[:, worst], [tail, 1 - tail])
        return float(low), float(high)

    def range_p_value(self, seed: int) -> float:
        """How often means that are drawn around the same one lie as far apart as the groups' do."""
        means = self.sums.sum(axis=0) / self.counts.sum(axis=0)
        drawn = self._drawn_means(seed) - means
        as_far = np.nanmax(drawn, axis=1) - np.nanmin(drawn, axis=1) >= np.ptp(means) - _ROUNDING
        return float((1 + as_far.sum()) / (1 + len(drawn)))

    def _drawn_means(self, seed: int) -> np.ndarray:
        return drawn_means(self.sums, self.counts, seed)


def drawn_means(sums: np.ndarray, counts: np.ndarray, seed: int, n_samples: int = N_SAMPLES) -> np.ndarray:
    """Means of columns, users drawn with replacement; all columns see the same draws.

    Args:
        sums: Of each user's values in each column. Shape (n_users, m).
        counts: How many those are. Shape (n_users, m).
    Returns:
        Shape (n_samples, m); NaN for a column that a draw has nobody of.
    """
    generator = np.random.default_rng(seed)
    n, parts = len(sums), []
    for start in range(0, n_samples, _ROWS_PER_PASS):
        rows = min(_ROWS_PER_PASS, n_samples - start)
        weights = _times_drawn(generator, rows, n)
        held = weights @ counts
        parts.append(np.where(held > 0, weights @ sums / np.maximum(held, 1), np.nan))
    return np.concatenate(parts)


def _times_drawn(generator: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """How often each of n users is drawn, n draws with replacement in each row. Shape (rows, n), float64."""
    users = generator.integers(0, n, (rows, n))
    users += np.arange(0, rows * n, n)[:, None]  # each row counts into places of its own
    return np.bincount(users.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values corrected for their number: the chance that any of them is this small by chance stays below them.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]

    Source: Holm 1979.
    """
    order = np.argsort(p_values, kind="stable")
    n = len(p_values)
    scaled = np.maximum.accumulate(p_values[order] * (n - np.arange(n)))
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(scaled, 1.0)
    return adjusted


def _check(values: np.ndarray, what: str) -> None:
    if not len(values):
        raise MetricError(
            f"Cannot compute {what}", got="queries=0", expected="at least 1", do="Evaluate on more queries"
        )
    finite_scores(f"the {what}", values)
