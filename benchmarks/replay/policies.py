"""What is done at the end of a period: the loop decides, a retraining is due by schedule, or nothing is learned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, get_args

Policy = Literal["loop", "schedule", "frozen"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
# A run that was killed is wanted again by a later look; a period has one, which stands for all of its days.
_LOOKS = 4
GIVE_UP_H = 0.02  # of `loop.retraining.give_up_h`: in compressed time nobody waits six hours for a lost event
_CUT_OFF = ("running", "crashed", "cancelled", "failed")


class Platform(Protocol):
    """What a policy asks of the platform that is up."""

    def run(self, deployment: str) -> None:
        """Run a deployment to its end."""

    def wait_until_idle(self) -> None:
        """Wait until no run goes on or is due."""

    def entries(self, after: int) -> list[dict[str, Any]]:
        """Entries of the time line with a higher number, the oldest first."""


def finish_period(platform: Platform, policy: Policy, since: int) -> None:
    """Do what a policy does at the end of a period; done again after it was cut off, it comes to the same.

    Args:
        since: The last entry of the time line when the period began.
    """
    if policy == "schedule":
        platform.run("fine-tune")
    elif policy == "loop":
        _look(platform, since)


def _look(platform: Platform, since: int) -> None:
    """Have `monitor` look, and what it wants run to its end; again where that was cut off."""
    for look in range(_LOOKS):
        decision = _newest_decision(platform.entries(since))
        # What was decided before a kill of the replay may go on still, or be due.
        if look or decision is None:
            if decision is not None and decision["state"] == "wanted":
                _wait_until_given_up(decision)
            platform.run("monitor")
        platform.wait_until_idle()
        entries = platform.entries(since)
        decision = _newest_decision(entries)
        if decision is None or _is_settled(entries, decision):
            return


def _newest_decision(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return next((one for one in reversed(entries) if one["kind"] == "decision"), None)


def _is_settled(entries: Sequence[dict[str, Any]], decision: dict[str, Any]) -> bool:
    """Whether what was decided has been done to its end."""
    if decision["subject"] == "none":
        return True
    if decision["state"] in ("wanted", "lost"):
        return False
    runs = [one for one in entries if one["kind"] == "run" and one["cause"] == decision["id"]]
    return bool(runs) and runs[-1]["state"] not in _CUT_OFF


def _wait_until_given_up(decision: dict[str, Any]) -> None:
    due = datetime.fromisoformat(decision["at"]) + timedelta(hours=GIVE_UP_H)
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds() + 1.0))
