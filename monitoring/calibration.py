"""How far a signal moved, measured by how far the shop's own quiet past moves by itself.

A window's figure is compared with a reference of earlier days. The same comparison is replayed at every earlier day of
the quiet past, each with the reference that it had then: how far those moved, as a multiple of pure sampling noise, is
the scale. It holds what days have in common and users do again, and slow trends. Of it the p-value follows, by an F
distribution whose degrees of freedom say how much past there was; a short past shrinks to that of shorter windows.
(Welch and Satterthwaite for the scale; shrinkage as in Smyth 2004, "Linear models and empirical Bayes methods".)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from monitoring.signals.series import Series, new_weights, running

WINDOWS = (1, 7, 28)  # days
LAG = max(WINDOWS)  # a reference ends so many days before its window does: what drifts now is not in it
MIN_REFERENCE = 28  # days
MIN_REPLAYS = 14  # days of quiet past on which a comparison could be replayed
# How often a week a new answer is to be had: of longer windows, which move slowly, less often than each day.
LOOKS = {1: 7.0, 7: 3.0, 28: 1.5}
_PRIOR_WEIGHT = {1: 4.0, 7: 6.0, 28: 10.0}  # windows that the scale of shorter ones is worth
_LEAST_SCALE = 0.25  # squared: users who do the same every day make days quieter than chance
_HALF = 0.5
_NAMED = 2  # landmarks, of each end of a move
_FEW_EXPECTED = 10.0  # of a kind: with fewer its noise is not that of a normal distribution


@dataclass(frozen=True)
class Moved:
    """How far one series moved in one window.

    Attributes:
        value, reference: In the window, and in the reference.
        log_p: Natural logarithm of the p-value, uncorrected; 0 where nothing is said.
        strength: The squared distance as a multiple of what is usual; says which moved more where p-values are nil.
        exposure: Of the window.
        part: The place of the part that moved most.
        shares: Of that part, in the window and in the reference.
        note: Why nothing is said; "" where something is.
        toward, away: Of a series with landmarks, those that its mean moved towards most, and away from.
    """

    series: Series
    days: int
    value: float
    reference: float
    log_p: float
    strength: float
    exposure: float
    part: int = 0
    shares: tuple[float, float] = (0.0, 0.0)
    note: str = ""
    toward: tuple[str, ...] = ()
    away: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """Windows that end before each of some days, against their references. One row per end."""

    statistic: np.ndarray  # squared distance in units of sampling noise, per degree of freedom
    freedom: int
    exposure: np.ndarray
    value: np.ndarray
    reference: np.ndarray
    parts: np.ndarray  # each part's share of the distance
    shares: tuple[np.ndarray, np.ndarray]
    count: np.ndarray
    expected: np.ndarray


def measure(series: Series, end: int, reference_days: int, noisy: np.ndarray | None = None) -> Iterator[Moved]:
    """How far a series moved in each window that ends before day `end`.

    Args:
        end: 0 to n_days.
        reference_days: Length of a reference at most.
        noisy: Days that are not quiet, true there: no reference and no replay takes them. Shape (n_days,) of the span.
    """
    quiet = np.ones(series.n_days, dtype=bool) if noisy is None else ~noisy[series.begins :]
    end -= series.begins
    scale, freedom = 1.0, 0.0
    for days in series.windows:
        replays = _quiet_ends(quiet, end, days)
        compared = compare(series, np.append(replays, end), days, reference_days, quiet)
        if compared is None or len(replays) < MIN_REPLAYS:
            yield _silent(series, days, "too few quiet days before it")
            continue
        usual = compared.statistic[:-1][compared.exposure[:-1] > 0]
        n_apart = len(usual) / days
        weight = _PRIOR_WEIGHT[days]
        scale = max((weight * scale + n_apart * float(usual.mean() if len(usual) else 0)) / (weight + n_apart), 1e-9)
        scale, freedom = max(scale, _LEAST_SCALE), weight + n_apart
        yield _moved(series, days, compared, scale, freedom)


def _quiet_ends(quiet: np.ndarray, end: int, days: int) -> np.ndarray:
    """Ends of earlier windows of only quiet days, each with a reference, none of the newest days among them."""
    ends = np.arange(LAG + MIN_REFERENCE, end - LAG + 1)
    if not len(ends):
        return ends
    total = running(quiet)
    kept: np.ndarray = ends[total[ends] - total[ends - days] == days]
    return kept


def compare(series: Series, ends: np.ndarray, days: int, reference_days: int, quiet: np.ndarray) -> Compared | None:
    """Compare the windows of so many days that end before each of some days, each with the reference that it had.

    Args:
        ends: Counted from the first day of the series, ascending.
        quiet: Days that a reference takes. Shape (n_days,).
    Returns:
        None where the past is too short for the last of them.
    """
    last = ends - LAG
    if last[-1] < MIN_REFERENCE:  # also where the series begins after the end
        return None
    first = np.maximum(last - reference_days, 0)
    exposure, known = running(series.exposure), running(series.exposure * quiet)
    n, n_reference = exposure[ends] - exposure[ends - days], known[last] - known[first]
    if series.fresh is not None:
        x, x_reference, n_reference = _new(series, ends, days, (first, last), quiet)
        return _compare_rate(series, x, n, x_reference, n_reference)
    total, past = running(series.sums), running(series.sums * quiet[:, None])
    sums, reference = total[ends] - total[ends - days], past[last] - past[first]
    if series.kind == "mix":
        return _compare_mix(sums, reference)
    if series.kind == "rate":
        return _compare_rate(series, sums[:, 0], n, reference[:, 0], n_reference)
    assert series.squares is not None
    total, past = running(series.squares), running(series.squares * quiet[:, None])
    squares = past[last] - past[first], total[ends] - total[ends - days]
    return _compare_means(n, n_reference, sums, reference, squares)


def _new(
    series: Series, ends: np.ndarray, days: int, span: tuple[np.ndarray, np.ndarray], quiet: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New weight of each window, and of what the windows of its reference had on average, scaled to its length."""
    assert series.fresh is not None
    first, last = span
    new, total = new_weights(series.fresh, days), running(series.exposure)
    all_ends = np.arange(series.n_days + 1)
    # A window at the very begin finds everything new.
    is_usable = (all_ends >= MIN_REFERENCE + days) & np.append(True, quiet)
    exposure = (total[all_ends] - total[np.maximum(all_ends - days, 0)]) * is_usable
    news, exposures = running(new * is_usable), running(exposure)
    # Each day is in as many windows as they have days.
    x = (news[last + 1] - news[first]) / days
    return new[ends], x, (exposures[last + 1] - exposures[first]) / days


def _compare_rate(
    series: Series, x: np.ndarray, n: np.ndarray, x_reference: np.ndarray, n_reference: np.ndarray
) -> Compared:
    safe_n, safe_reference = np.maximum(n, 1e-9), np.maximum(n_reference, 1e-9)
    more = 2 * _HALF if series.is_share else _HALF  # half a count of what is not counted, too: no share is 0 or 1
    usual = (x_reference + _HALF) / (safe_reference + more)
    pooled = (x + x_reference + _HALF) / (safe_n + safe_reference + more)
    spread = pooled * (1 - pooled) if series.is_share else pooled
    variance = safe_n * spread * (1 + safe_n / safe_reference)
    statistic = (x - n * usual) ** 2 / np.maximum(variance, 1e-12)
    ones, value, reference = np.ones((len(x), 1)), x / safe_n, x_reference / safe_reference
    return Compared(statistic, 1, n, value, reference, ones, (value, reference), x, n * usual)


def _compare_mix(sums: np.ndarray, reference: np.ndarray) -> Compared:
    # Kinds that a reference does not know are another signal's business.
    sums = np.where(reference > 0, sums, 0.0)
    expected = sums[-1].sum() * reference[-1] / max(reference[-1].sum(), 1e-9)
    rare = expected < 3
    if rare.any():
        at = np.flatnonzero(~rare)
        sums = np.column_stack([sums[:, at], sums[:, rare].sum(axis=1)])
        reference = np.column_stack([reference[:, at], reference[:, rare].sum(axis=1)])
        places = np.append(at, -1)
    else:
        places = np.arange(sums.shape[1])
    n, n_reference = sums.sum(axis=1), reference.sum(axis=1)
    p = sums / np.maximum(n, 1e-9)[:, None]
    usual = (reference + _HALF) / np.maximum(n_reference + _HALF * reference.shape[1], 1e-9)[:, None]
    inflation = 1 + np.maximum(n, 1e-9) / np.maximum(n_reference, 1e-9)
    each = _distance(sums, usual * n[:, None]) / inflation[:, None]
    freedom = max(sums.shape[1] - 1, 1)
    distance = np.abs(p - usual).sum(axis=1) / 2  # total variation
    parts = np.zeros((len(n), places.max(initial=0) + 2))
    parts[:, places] = each
    shares = np.zeros_like(parts), np.zeros_like(parts)
    shares[0][:, places], shares[1][:, places] = p, usual
    return Compared(each.sum(axis=1) / freedom, freedom, n, distance, np.zeros(len(n)), parts, shares, n, n)


def _distance(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Squared distances of counts from what is expected, in units of sampling noise.

    Pearson's where fewer came, Anscombe's (1953) where more did: a count of 15 where 3 are expected is as rare as five
    standard deviations, and not as seven, as Pearson's has it, by which a few rare kinds are an alarm.
    """
    safe = np.maximum(expected, 1e-9)
    pearson = (counts - expected) ** 2 / safe
    anscombe = (1.5 * (np.cbrt(counts) ** 2 - np.cbrt(safe) ** 2)) ** 2 / np.cbrt(safe)
    return np.minimum(pearson, anscombe)


def _compare_means(
    n: np.ndarray,
    n_reference: np.ndarray,
    sums: np.ndarray,
    reference: np.ndarray,
    squares: tuple[np.ndarray, np.ndarray],
) -> Compared:
    safe_n, safe_reference = np.maximum(n, 1e-9)[:, None], np.maximum(n_reference, 1e-9)[:, None]
    mean, usual = sums / safe_n, reference / safe_reference
    spread = squares[0] / safe_reference - usual**2
    # Where the past never varied, by how the window does.
    pooled = (squares[0] + squares[1]) / (safe_n + safe_reference) - (
        (sums + reference) / (safe_n + safe_reference)
    ) ** 2
    spread = np.where(spread > 1e-12, spread, np.maximum(pooled, 1e-12))
    each = (mean - usual) ** 2 / (spread * (1 / safe_n + 1 / safe_reference))
    freedom = sums.shape[1]
    value, known = (mean[:, 0], usual[:, 0]) if freedom == 1 else (np.sqrt(((mean - usual) ** 2).sum(axis=1)), 0 * n)
    return Compared(each.sum(axis=1) / freedom, freedom, n, value, known, each, (mean, usual), n, n)


def _moved(series: Series, days: int, compared: Compared, scale: float, freedom: float) -> Moved:
    from scipy.stats import f

    n = float(compared.exposure[-1])
    value, reference = float(compared.value[-1]), float(compared.reference[-1])
    is_count = series.kind == "rate" and not series.is_share
    size = max(float(compared.expected[-1]), float(compared.count[-1])) if is_count else n
    if size < series.least:
        return _silent(series, days, f"too few: {size:.0f} of {series.least:.0f}", (value, reference, n))
    strength = float(compared.statistic[-1]) / scale
    degrees = freedom * min(compared.freedom, 2)
    log_p = float(f.logsf(strength, compared.freedom, degrees))
    if series.kind == "rate":  # exact where counts are small
        count, expected, noise = float(compared.count[-1]), float(compared.expected[-1]), max(scale, 1.0)
        tail = _log_share_tail(count, n, expected, noise) if series.is_share else _log_tail(count, expected, noise)
        log_p = max(log_p, min(tail + np.log(2), 0.0))
    if (series.worse == "lower" and value >= reference) or (series.worse == "higher" and value <= reference):
        log_p = 0.0
    part = int(np.argmax(compared.parts[-1]))
    now, then = (float(shares[-1, part]) if shares.ndim == 2 else float(shares[-1]) for shares in compared.shares)
    if series.kind == "mix" and n * then < _FEW_EXPECTED:  # exact where the kind that moved most is rare
        others = (float(compared.parts[-1].sum()) - float(compared.parts[-1, part])) / max(compared.freedom - 1, 1)
        log_of_others = float(f.logsf(others / scale, max(compared.freedom - 1, 1), degrees))
        tail = _log_tail(n * now, n * then, max(scale, 1.0)) + np.log(compared.freedom + 1)
        log_p = max(log_p, min(tail, log_of_others, 0.0))
    toward, away = _named(series, compared)
    return Moved(series, days, value, reference, log_p, strength, n, part, (now, then), toward=toward, away=away)


def _named(series: Series, compared: Compared) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The landmarks that lie furthest along a mean's move, each direction by its noise, and furthest against it."""
    if series.landmarks is None:
        return (), ()
    moved = compared.shares[0][-1] - compared.shares[1][-1]
    direction = np.divide(compared.parts[-1], moved, out=np.zeros_like(moved), where=moved != 0)
    order = np.argsort(series.landmarks.places @ direction, kind="stable")
    names = series.landmarks.names
    n = min(_NAMED, len(names) // 2)
    return tuple(names[at] for at in order[::-1][:n]), tuple(names[at] for at in order[:n])


def _silent(series: Series, days: int, note: str, told: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Moved:
    value, reference, exposure = told
    return Moved(series, days, value, reference, 0.0, 0.0, exposure, note=note)


def _log_tail(count: float, expected: float, noise: float) -> float:
    """Logarithm of how likely a count is so far off or further, that is `noise` times as noisy as Poisson's."""
    from scipy.stats import poisson

    count, expected = count / noise, max(expected, 1e-9) / noise
    tail = poisson.logsf(np.ceil(count) - 1, expected) if count > expected else poisson.logcdf(count, expected)
    return float(tail)


def _log_share_tail(count: float, n: float, expected: float, noise: float) -> float:
    """The same of a count that is a share of `n`: binomial, and so as exact of a share near 1 as of one near 0.

    By the beta function, which also knows what lies between whole counts.
    """
    from scipy.stats import beta

    n = max(n, 1e-9)
    p, count, n = expected / n, min(count, n) / noise, n / noise
    tail = beta.logcdf(p, count, n - count + 1) if count > n * p else beta.logsf(p, count + 1, n - count)
    return float(tail)


def n_tests(moved: Sequence[Moved]) -> float:
    """Answers that a week brings, each of which may err: those of the series that say something, at each look."""
    return max(sum(LOOKS[one.days] for one in moved if not one.note), 1.0)
