"""From how far signals moved to alarms: what is beyond noise, in words, the cause before what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from core.alarms import Alarm, Family
from monitoring.calibration import Moved, n_tests
from monitoring.course import Days
from monitoring.signals.activity import Span

_BROKEN_RISE = 0.3  # of the share of empty values: nobody empties so many by and by
_EMBEDDED = {
    "items": "what users took",
    "users": "what those who came had taken before,",
    "texts": "what reviewers wrote",
}
_FEW_SHOWN = 10.0  # times the threshold; more is not told apart


class Signal(BaseModel):
    """One signal in one window.

    Attributes:
        value, reference: In the window, and in the reference.
        p_value: How likely a quiet shop moves at least so far, corrected for all that a week asks.
        evidence: Of the logarithm of the p-value, the multiple of what an alarm takes: from 1 on it is one.
        exposure: What the window counts: users, each once a day; pairs of users; days.
        note: Why nothing is said; empty where something is.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    family: Family
    segment: str | None
    window_days: int
    value: float
    reference: float
    p_value: float
    evidence: float
    exposure: float
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the figures say: all signals, and the alarms, the named cause first."""

    signals: tuple[Signal, ...]
    alarms: tuple[Alarm, ...]


def judge(
    moved: Sequence[Moved], span: Span, end: int, false_alarms_per_week: float, days: Days | None = None
) -> Verdict:
    """Call alarms so that a quiet shop has one in so many weeks only.

    Args:
        end: Day before which the windows end.
        false_alarms_per_week: Share of quiet weeks with an alarm.
        days: By which an alarm tells since when, and how its signal went; None: since its window began.
    """
    tests = n_tests(moved)
    # Below 0, also where every quiet week may have an alarm: a signal that did not move at all is none.
    needed = min(math.log(false_alarms_per_week / tests), -1e-9) if false_alarms_per_week > 0 else -math.inf
    signals = tuple(_signal(one, tests, needed) for one in moved)
    found: dict[str, list[Moved]] = {}
    for one in moved:
        if not one.note and one.log_p <= needed:
            found.setdefault(one.series.name, []).append(one)
    named = [min(those, key=lambda one: (one.log_p, -one.strength)) for those in found.values()]
    return Verdict(signals, tuple(_alarm(one, span, end, tests, days) for one in _by_cause(named)))


def _by_cause(named: Sequence[Moved]) -> list[Moved]:
    """Causes before consequences, the strongest first; of one column, its level before the spread of its values."""
    strongest: dict[tuple[int, str], tuple[float, float]] = {}
    for one in named:
        column = (one.series.consequence, one.series.name.rpartition(".")[0])
        strength = (one.log_p, -one.strength)
        strongest[column] = min(strength, strongest.get(column, strength))
    return sorted(
        named,
        key=lambda one: (
            one.series.consequence,
            strongest[one.series.consequence, one.series.name.rpartition(".")[0]],
            one.series.name.endswith((".spread", ".mix")),
            one.log_p,
        ),
    )


def _signal(one: Moved, tests: float, needed: float) -> Signal:
    return Signal(
        name=one.series.name,
        family=one.series.family,
        segment=one.series.segment,
        window_days=one.days,
        value=_plain(one, one.value),
        reference=_plain(one, one.reference),
        p_value=_corrected(one.log_p, tests),
        evidence=min(one.log_p / needed, _FEW_SHOWN),
        exposure=one.exposure,
        note=one.note,
    )


def _corrected(log_p: float, tests: float) -> float:
    return min(math.exp(max(log_p, -700.0)) * tests, 1.0)


def _plain(one: Moved, value: float) -> float:
    return math.exp(value) if one.series.is_log else value


def _alarm(one: Moved, span: Span, end: int, tests: float, days: Days | None) -> Alarm:
    since = None if days is None else days.since(one.series)
    return Alarm(
        signal=one.series.name,
        family=one.series.family,
        segment=one.series.segment,
        window_days=one.days,
        since=span.starts(end - one.days if since is None else since).isoformat(),
        until=span.starts(end).isoformat(),
        value=_plain(one, one.value),
        reference=_plain(one, one.reference),
        p_value=_corrected(one.log_p, tests),
        broken=is_broken(one),
        says=describe(one),
        course=None if days is None else days.course(one.series),
    )


def is_broken(one: Moved) -> bool:
    """Whether the data are broken, and have not merely changed."""
    name = one.series.name
    if name.endswith(".unit"):
        return True
    if name.endswith(".null_share"):
        return one.value - one.reference >= _BROKEN_RISE
    return name.endswith((".volume", ".freshness")) and one.series.segment is None and one.value == 0


def describe(one: Moved) -> str:
    """One sentence: what moved, from what to what, for whom."""
    series = one.series
    _, _, rest = series.name.partition(".")
    subject, _, what = rest.rpartition(".")
    whom = f" for {series.segment}" if series.segment else ""
    now, then = _plain(one, one.value), _plain(one, one.reference)
    window = f"in the last {one.days} days" if one.days > 1 else "in the last day"
    match what:
        case "null_share":
            return f"{subject}: {now:.0%} of the values are empty {window}{whom}, {then:.0%} before."
        case "new_column":
            return f"{subject}: a column of which no look before saw a value; {now:.0%} of its values are filled."
        case "freshness":
            return (
                f"{subject}: {now:.0f} users did anything in the six hours {series.labels[1]}, {then:.0f} usually "
                f"do by that time of the day; the newest event is {series.labels[0]} old."
            )
        case "new_values":
            return f"{subject}: {now:.1%} of what users did {window} had a value never seen before, {then:.1%} usually."
        case "mix" | "spread" | "language":
            label = series.labels[one.part] if one.part < len(series.labels) else "rare values"
            share, was = one.shares
            moved = f"{label}: {was:.1%} to {share:.1%}"
            return f"{subject}: the shares of its values moved {window}{whom}, most of all {moved}."
        case "mean":
            what = _EMBEDDED[subject]
            told = f"Embeddings: the mean vector of {what} {window} moved by {now:.2f}"
            if not one.toward:
                return f"{told}."
            toward, away = (" and ".join(f"“{name}”" for name in names) for names in (one.toward, one.away))
            return f"{told}, towards items such as {toward}, and away from such as {away}."
        case "load":
            return f"Service: {now:.0f} requests a day {window}, {then:.0f} before."
        case "failed_share" | "limited_share":
            came = "failed" if what == "failed_share" else "were refused as too many at once"
            return f"Service: {now:.2%} of the requests {window} {came}, {then:.2%} before."
        case "supported_share":
            return (
                f"Written reviews: {now:.1%} of what they praise {window} is what several reviewers of the item praise "
                f"or its text says, {then:.1%} before."
            )
        case "volume" | "new":
            return f"{subject}: {now:.1f} a day {window}{whom}, {then:.1f} before."
        case "floods":
            return (
                f"{subject}: {now:.1%} of the users' days were floods or bots {window} and left out, {then:.1%} before."
            )
        case "unit":
            return f"{subject}: most values were multiplied by {now:.4g} {window}, as by a change of unit."
        case "concentration":
            times = now / max(then, 1e-12)
            if series.family == "predictions":
                return f"{subject}: two lists had an item in common {times:.1f} times as often {window} as before."
            return f"{subject}: users met at the same items {times:.1f} times as often {window} as before."
        case "novelty":
            return f"{subject}: what was shown {window}{whom} has {now:.2f} bits of information, {then:.2f} before."
        case "popular_share":
            return (
                f"{subject}: {now:.1%} of what was shown {window} is among the most popular items, {then:.1%} before."
            )
        case "mismatch_share":
            return (
                f"Reviews: {now:.1%} of those with a low or a high rating sound like the other {window}, "
                f"{then:.1%} before."
            )
        case "repeated_share":
            return f"Reviews: {now:.1%} repeat what a review of the four weeks before said {window}, {then:.1%} before."
        case "cold_share" | "slow_share":
            slow = f" took {series.labels[0]}" if series.labels else " were to users of whom nothing is known"
            return f"{subject}: {now:.1%} of the answers {window}{slow}, {then:.1%} before."
        case "ndcg" if subject == "replay":
            return f"What users took {window}: NDCG of the bundle's lists is {now:.4f}, {then:.4f} before."
        case "ctr" | "hit_rate" | "ndcg":
            return f"Quality of answers ({what}): {now:.4f} {window}{whom}, {then:.4f} before."
        case "rank":
            return (
                f"What users took {window}{whom} stood above {now:.1%} of the other items where the bundle in service "
                f"ranks them, above {then:.1%} before."
            )
        case "lead":
            leads = [f"{abs(one):.1%} of the catalogue {'higher' if one >= 0 else 'lower'}" for one in (now, then)]
            return (
                f"What users took {window} stood {leads[0]} where the bundle in service ranks than where item "
                f"neighbours do that learn anew each week; when the bundle was new it stood {leads[1]}."
            )
        case "unknown_share":
            return (
                f"Of what users took {window}, {now:.1%} were items that the bundle in service does not know and "
                f"cannot recommend; when it was new, {then:.1%}."
            )
        case "error" if subject == "rated":
            return f"The scorer of the bundle in service was off by {now:.2f} stars {window}, by {then:.2f} before."
        case "like_bias":
            often = [f"{abs(one):.1%} {'too often' if one > 0 else 'too rarely'}" for one in (now, then)]
            return f"The scorer of the bundle in service foresaw likes {often[0]} {window}, {often[1]} before."
        case "promise":
            return (
                f"What users took {window} stood above {now:.1%} of the other items where the bundle in service ranks "
                f"them; its evaluation promised {then:.1%}."
            )
        case "kept_promise":
            return f"Quality of answers: NDCG is {now:.3f} of what evaluation promised {window}, {then:.3f} before."
        case _:
            return f"{rest}: {now:.4g} {window}{whom}, {then:.4g} before."
