"""Signals of the replay: how well the bundle in service ranks what users now take, against its past and its promise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np

from monitoring.answers.replay import NDCG, RANK, ReplayDay
from monitoring.answers.signals import NEEDED_DAYS, last_whole_day
from monitoring.answers.staleness import UNKNOWN_SHARE
from monitoring.calibration import LAG, Moved
from monitoring.signals.activity import Span
from monitoring.signals.series import Series

CHANCE = 0.5  # the rank of a taken item where a bundle knows nothing
TOLERATED = 0.1  # of what the promise is above chance: a day is not a window of evaluation
MIN_DAYS, MIN_USERS = 14, 200  # of a bundle, for its promise to be asked about
NEW_DAYS = 14  # of a bundle, from the first that is replayed on
MOST_ALIKE = 0.95  # correlation of a day with the one before
LOST_LEAD = 0.05  # of what a bundle's rank was above chance at first: less of its lead may go with age
# Of what users take, beyond what a bundle lacks when it is new. At a rank of .8 it costs as much of it as LOST_LEAD.
LACKED = 0.02


def replay_note(days: Sequence[ReplayDay], span: Span) -> str:
    """Why the replay is not watched, a sentence; empty where it is."""
    what = "how well the bundle in service ranks what users do since it learned"
    if not days:
        return f"Not watched: {what}. No whole day has passed since."
    n = (last_whole_day(span) - days[0].day).days + 1
    if n >= NEEDED_DAYS:
        return ""
    return (
        f"Not watched against its past: {what}. Such days are known for {max(n, 0)} days; a quiet past takes "
        f"{NEEDED_DAYS}. Against the promise of its evaluation it is, from {MIN_DAYS} days on."
    )


def replay_series(days: Sequence[ReplayDay], span: Span) -> list[Series]:
    """All of them; none where no day of the span was replayed."""
    placed = [(_place(one.day, span), one) for one in days]
    within = [(place, one) for place, one in placed if 0 <= place < span.n_days]
    if not within:
        return []
    return list(_series(within, span.n_days))


def _series(within: Sequence[tuple[int, ReplayDay]], n_days: int) -> Iterator[Series]:
    begins = within[0][0]
    names = [(RANK, None), (NDCG, None)]
    names += [(RANK, segment) for segment in sorted({segment for _, one in within for segment in one.segments})]  # type: ignore[misc]
    for figure, segment in names:
        cells = np.zeros((n_days - begins, 3))
        for place, one in within:
            found = one.figures.get(figure) if segment is None else one.segments.get(segment)
            cells[place - begins] += found or (0.0, 0.0, 0.0)
        if cells[:, 0].any():
            yield Series(
                f"quality.replay.{figure}", "quality", "mean", cells[:, 0], cells[:, 1:2], cells[:, 2:],
                worse="lower", begins=begins, segment=segment, consequence=3,
            )  # fmt: skip


def up_to_served(days: Sequence[ReplayDay], digest: str | None) -> Sequence[ReplayDay]:
    """The days up to the newest that the bundle in service was asked about: those of one that it replaced tell of that.

    Args:
        digest: Of the bundle in service; None where there is none.
    Returns:
        No day, where it was asked about none: since a promotion no whole day has passed.
    """
    its = [place for place, one in enumerate(days) if one.digest == digest]
    return days[: its[-1] + 1] if its else ()


def below_promise(days: Sequence[ReplayDay], span: Span, end: int) -> Iterator[Moved]:
    """Whether the newest bundle ranks surely worse than it promised, by its days of the four weeks before day `end`.

    By Student's t of the days' means: what users of a day have in common is in it, and what days have with the next.
    """
    from scipy.stats import t

    mine = [one for one in days if one.digest == days[-1].digest and end - LAG <= _place(one.day, span) < end]
    promise = mine[-1].promise.get(RANK) if mine else None
    found = [one.figures[RANK] for one in mine if RANK in one.figures]
    if promise is None or len(found) < MIN_DAYS or sum(n for n, *_ in found) < MIN_USERS:
        return
    mean, error, freedom = mean_of_days(found)
    floor = CHANCE + (1 - TOLERATED) * (promise - CHANCE)
    distance = (floor - mean) / max(error, 1e-9)
    exposure = np.array([n for n, *_ in found])
    series = Series(
        "quality.replay.promise", "quality", "mean", exposure, exposure[:, None], worse="lower", consequence=3
    )
    log_p = float(t.logsf(distance, freedom)) if distance > 0 else 0.0
    yield Moved(series, LAG, mean, promise, log_p, max(distance, 0.0) ** 2, float(exposure.sum()))


def lost_lead(days: Sequence[ReplayDay], span: Span, end: int) -> Iterator[Moved]:
    """Whether the newest bundle has surely lost of its lead over neighbours that learn anew, since its first days.

    The four weeks before day `end` against the four weeks after it learned. Both are asked about the same items of the
    same users, and both rank the bundle's items alone, so neither what changed in how hard these are to foresee nor new
    items are in it; by Student's t of the days' means, as `below_promise`.
    """
    from scipy.stats import t

    mine = [one for one in days if one.digest == days[-1].digest and one.lead is not None and RANK in one.figures]
    newest = [one for one in mine if end - LAG <= _place(one.day, span) < end]
    first = [one for one in mine if one.day < newest[0].day][:LAG] if newest else []
    asked = [sum(one.lead[0] for one in part if one.lead) for part in (first, newest)]
    if min(len(first), len(newest)) < MIN_DAYS or min(asked) < MIN_USERS:
        return
    (was, was_error, was_freedom), (now, now_error, now_freedom) = (
        mean_of_days([one.lead for one in part if one.lead]) for part in (first, newest)
    )
    above_chance = mean_of_days([one.figures[RANK] for one in first])[0] - CHANCE
    distance = (was - LOST_LEAD * max(above_chance, 0.0) - now) / max(np.hypot(was_error, now_error), 1e-9)
    exposure = np.array([one.lead[0] for one in newest if one.lead])
    series = Series("quality.replay.lead", "quality", "mean", exposure, exposure[:, None], worse="lower", consequence=3)
    log_p = float(t.logsf(distance, min(was_freedom, now_freedom))) if distance > 0 else 0.0
    yield Moved(series, LAG, now, was, log_p, max(distance, 0.0) ** 2, float(exposure.sum()))


def lacks_items(days: Sequence[ReplayDay], span: Span, end: int) -> Iterator[Moved]:
    """Whether the newest bundle surely lacks more of what users take than when it was new: what it cannot recommend.

    The four weeks before day `end` against the two weeks after it learned; more, and it has aged in what it is held
    against. What is new by then is missing in those, too, however soon a bundle learns again: what is beyond them is
    what one that learns now would know. By Student's t of groups of users, with the degrees of freedom of Welch
    1947. That days are like the day before is no noise here: an item that is taken for weeks is lacking for weeks.
    """
    from scipy.stats import t

    # A catalogue that was made after its bundle learned has all items of the days between.
    mine = [one for one in days if one.digest == days[-1].digest and one.unknown_groups and (one.age_days or 0) > 0]
    newest = [one for one in mine if end - LAG <= _place(one.day, span) < end]
    first = _when_new(days, [one for one in mine if one.day < newest[0].day]) if newest else []
    then, now = ([one.unknown for one in part if one.unknown] for part in (first, newest))
    if min(len(then), len(now)) < MIN_DAYS or min(sum(n for n, *_ in part) for part in (then, now)) < MIN_USERS:
        return
    (was, was_of_days), (is_now, of_days) = _mean_of_users(then), _mean_of_users(now)
    of_groups, n_groups = _variance_of_groups((first, was), (newest, is_now))
    variances = np.array([of_groups, was_of_days, of_days])
    distance = (is_now - was - LACKED) / max(np.sqrt(variances.sum()), 1e-9)
    parts = float(np.sum(variances**2 / (np.array([n_groups, len(then), len(now)]) - 1)))
    freedom = float(variances.sum()) ** 2 / parts if parts > 0 else n_groups - 1
    exposure = np.array([n for n, *_ in now])
    series = Series(UNKNOWN_SHARE, "quality", "mean", exposure, exposure[:, None], worse="higher", consequence=3)
    log_p = float(t.logsf(distance, freedom)) if distance > 0 else 0.0
    yield Moved(series, LAG, is_now, was, log_p, max(distance, 0.0) ** 2, float(exposure.sum()))


def _when_new(days: Sequence[ReplayDay], mine: Sequence[ReplayDay]) -> Sequence[ReplayDay]:
    """A bundle's first two weeks; where it was no longer new when it came into service, those of bundles before it."""
    is_late = bool(mine) and (mine[0].age_days or 0) > NEW_DAYS
    others: dict[str, list[ReplayDay]] = {}
    for one in days:
        if one.digest != days[-1].digest and one.unknown_groups and (one.age_days or 0) > 0:
            others.setdefault(one.digest, []).append(one)
    in_time = [its for its in others.values() if (its[0].age_days or 0) <= NEW_DAYS]
    before = [one for its in in_time for one in its[:NEW_DAYS]][-NEW_DAYS:]
    return before if is_late and len(before) >= MIN_DAYS else mine[:NEW_DAYS]


def _mean_of_users(found: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The mean over days' users, and its variance by what users of a day have in common: beyond that of users.

    Args:
        found: Of each day: users, sum, sum of squares. Two days at least.
    """
    n = np.array([users for users, *_ in found])
    means = np.array([total / users for users, total, _ in found])
    within = np.maximum(np.array([squares / users for users, _, squares in found]) - means**2, 0)
    weights = n / n.sum()
    mean = float(weights @ means)
    of_users = float(np.sum(weights**2 * within / np.maximum(n - 1, 1)))
    of_days = float(np.sum(weights**2 * (means - mean) ** 2)) * len(found) / (len(found) - 1)
    return mean, max(of_days - of_users, 0.0)


def _variance_of_groups(*periods: tuple[Sequence[ReplayDay], float]) -> tuple[float, int]:
    """The variance of the difference of two periods' means by that of groups of users, and how many groups came.

    A user is in one group on all days, so that whoever comes often, in one period or in both, counts as one.

    Args:
        periods: Days, and the mean over their users, of the one and of the other.
    Source: Wolter 2007, Introduction to Variance Estimation, 2.4, dependent random groups.
    """
    sums = [np.sum([one.unknown_groups for one in days], axis=0) for days, _ in periods]
    came = (sums[0][:, 0] + sums[1][:, 0]) > 0
    (before, after) = (
        (part[:, 1] - mean * part[:, 0]) / part[:, 0].sum() for part, (_, mean) in zip(sums, periods, strict=True)
    )
    n_groups = max(int(came.sum()), 2)
    return float(np.sum((after - before) ** 2)) * n_groups / (n_groups - 1), n_groups


def mean_of_days(found: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """The mean over days' users, its standard error, and the error's degrees of freedom.

    What users of a day have in common is in the error, and so is what a day has in common with the next: of n days
    that correlate by r with the day before, n (1 - r) / (1 + r) are apart. So few days tell r badly, and too low; it is
    taken without that bias, and a standard error higher. In simulations a test at 1 % then errs in 0.8 % with 28 days
    and r up to .8, in 0.4 % with 14 days and .5, and in 1.7 % with 14 days and .8.

    Args:
        found: Of each day, the oldest first: users, sum, sum of squares. Two days at least.
    Source: Priestley 1981, Spectral Analysis and Time Series, 5.3, for n apart; Kendall 1954 for the bias.
    """
    means = np.array([total / n for n, total, _ in found])
    weights = np.array([n for n, *_ in found]) / sum(n for n, *_ in found)
    mean, n_days = float(weights @ means), len(means)
    apart = means - mean
    alike = float(apart[1:] @ apart[:-1]) / max(float(apart @ apart), 1e-12)
    alike = min(max((n_days * alike + 1) / max(n_days - 3, 1), 0.0), MOST_ALIKE)
    alike = min(alike + np.sqrt((1 - alike**2) / n_days), MOST_ALIKE)
    n_apart = max(n_days * (1 - alike) / (1 + alike), 2.0)
    variance = float(np.sum(weights**2 * apart**2)) * n_days / (n_apart - 1)
    return mean, float(np.sqrt(variance)), n_apart - 1


def _place(day: date, span: Span) -> int:
    return span.n_days - 1 - (last_whole_day(span) - day).days
