"""What becomes of a canary, by its live figures: it grows, waits, is withdrawn or is promoted, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from core.settings.form import Frozen
from core.settings.loop import CanarySettings

Action = Literal["grow", "hold", "withdraw", "promote"]
OVERTAKEN = "overtaken"  # the rule by which nothing is said about the candidate itself


class CanaryEvidence(Frozen):
    """What a decision is made of. Figures count from when the share is what it is.

    Attributes:
        now, since: When; and since when the share is what it is.
        share: Of the users.
        overtaken: What else is in service since it began, one clause; empty where nothing is.
        forgotten: Whether it learned from somebody who was forgotten since.
        broken: Why the service cannot answer by it, one clause; empty where it can.
        pinned: What answers everybody in the meantime, one clause; empty where nothing does.
        users: Whom the candidate has answered.
        hit_rate: Of the bundle in service: the mean of its users' who are known to the end.
        difference, low, high: Of the hit rates, candidate less bundle in service, with the bounds of a confidence
            sequence, which hold at all looks together; None while too few users are known to the end.
        untested: Why there is no test and never will be at this share, one clause; empty where there may be.
        latency_low_ms, latency_high_ms: The candidate's median is above the first, that of the bundle in service below
            the second; None while there are few answers.
        failed_low, failed_high: The share of lists that the candidate failed to make is above the first, that of the
            bundle in service below the second; None where one of them was asked for none.
    """

    now: datetime
    since: datetime
    share: float
    overtaken: str = ""
    forgotten: bool = False
    broken: str = ""
    pinned: str = ""
    users: int = 0
    hit_rate: float = 0.0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    untested: str = ""
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    failed_low: float | None = None
    failed_high: float | None = None


class Rollout(Frozen):
    """What becomes of it.

    Attributes:
        action: What is to be done.
        rule: The name of the rule that decided.
        reason: One sentence with figures.
        share: Of the users, from now on; that of before where nothing changes.
    """

    action: Action
    rule: str
    reason: str
    share: float


def decide_rollout(seen: CanaryEvidence, rules: CanarySettings) -> Rollout:
    """What becomes of a canary.

    It goes where it surely fails more often, is worse or slower, or cannot show in time that it is not; and it grows,
    and is promoted in the end, where a loss that matters is ruled out.
    """
    if gone := _is_lost(seen, rules):
        rule, reason = gone
        return Rollout(action="withdraw", rule=rule, reason=f"{reason}.", share=seen.share)
    if seen.pinned:
        return Rollout(
            action="hold",
            rule="pinned",
            reason=f"The canary waits, as it answers nobody: {seen.pinned}.",
            share=seen.share,
        )
    if waits := _is_open(seen, rules):
        rule, reason = waits
        if seen.now - seen.since >= timedelta(days=rules.max_days):
            told = f"After {rules.max_days:g} days at {seen.share:.0%} of the users it is still undecided: {reason}."
            return Rollout(action="withdraw", rule="undecided", reason=told, share=seen.share)
        return Rollout(action="hold", rule=rule, reason=f"{reason[:1].upper()}{reason[1:]}.", share=seen.share)
    told = f"{_compared(seen)}, measured on {seen.users} users; {_allowed(seen, rules)} is ruled out"
    following = next((share for share in rules.steps if share > seen.share), None)
    if following is None:
        return Rollout(action="promote", rule="promote", reason=f"{told}. The canary is promoted.", share=1.0)
    told = f"{told}. The canary grows from {seen.share:.0%} to {following:.0%} of the users."
    return Rollout(action="grow", rule="grow", reason=told, share=following)


def _is_lost(seen: CanaryEvidence, rules: CanarySettings) -> tuple[str, str] | None:
    """By which rule the candidate goes, and why."""
    if seen.overtaken:
        return OVERTAKEN, f"What it was compared with is not in service any more: {seen.overtaken}"
    if seen.forgotten:
        return OVERTAKEN, "It learned from somebody who was forgotten since, and may not answer"
    if seen.broken:
        return "broken", f"The service cannot answer by it: {seen.broken}"
    if seen.failed_low is not None and seen.failed_high is not None:
        tolerated = seen.failed_high + rules.max_failures
        if seen.failed_low > tolerated:
            return "failing", (
                f"The canary fails: at least {seen.failed_low:.1%} of its lists cannot be made, of those of the bundle "
                f"in service at most {seen.failed_high:.1%}; {tolerated:.1%} are allowed"
            )
    if seen.high is not None and seen.high < 0:
        return "worse", f"The canary is significantly worse: {_compared(seen)}"
    ours, theirs = seen.latency_low_ms, seen.latency_high_ms
    if ours is not None and theirs is not None:
        allowed = max(theirs * (1 + rules.latency_growth), theirs + rules.latency_slack_ms)
        if ours > allowed:
            return "slow", (
                f"The canary is too slow: its median answer takes at least {ours:.1f} ms, that of the bundle in "
                f"service at most {theirs:.1f} ms; {allowed:.1f} ms are allowed"
            )
    return None


def _is_open(seen: CanaryEvidence, rules: CanarySettings) -> tuple[str, str] | None:
    """Why it cannot grow yet, by rule."""
    if seen.untested:
        return "untested", f"it cannot be tested: {seen.untested}"
    if seen.users < rules.min_users or seen.low is None:
        known = "" if seen.low is not None else ", too few of whom are known to the end for a test"
        return "few users", f"it has answered {seen.users} users, and at least {rules.min_users} are needed{known}"
    if seen.low < -rules.max_loss * seen.hit_rate:
        return "unsure", f"{_compared(seen)}, and {_allowed(seen, rules)} is not ruled out"
    return None


def _compared(seen: CanaryEvidence) -> str:
    interval = f"95 % interval [{seen.low:+.4f}, {seen.high:+.4f}]"
    return f"its hit rate differs from that of the bundle in service by {seen.difference:+.4f} ({interval})"


def _allowed(seen: CanaryEvidence, rules: CanarySettings) -> str:
    return f"a loss of more than {rules.max_loss:.0%} of the hit rate in service ({seen.hit_rate:.4f})"
