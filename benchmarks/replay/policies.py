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
GIVE_UP_H = 0.05  # of `loop.retraining.give_up_h`: in compressed time nobody waits six hours for a lost event
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
        # What was decided before a kill of the replay may go on still, or be due.
        if look or not any(entry["kind"] == "decision" for entry in platform.entries(since)):
            platform.run("monitor")
        _wait_for_run(platform, since)
        entries = platform.entries(since)
        if (wanted := _newest_wanted(entries)) is None or _is_done(entries, wanted):
            return


def _newest_wanted(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest decision to do something: one that waits for it to be done wants nothing."""
    return next((one for one in reversed(entries) if one["kind"] == "decision" and one["subject"] != "none"), None)


def _is_done(entries: Sequence[dict[str, Any]], wanted: dict[str, Any]) -> bool:
    """Whether what was wanted was done to its end."""
    runs = [one for one in entries if one["kind"] == "run" and one["cause"] == wanted["id"]]
    return bool(runs) and runs[-1]["state"] not in _CUT_OFF


def _wait_for_run(platform: Platform, since: int) -> None:
    """Wait until what was wanted has begun, or is given up, and nothing goes on."""
    while True:
        platform.wait_until_idle()
        wanted = _newest_wanted(platform.entries(since))
        if wanted is None or wanted["state"] != "wanted":
            return
        if datetime.now(UTC) - datetime.fromisoformat(wanted["at"]) > timedelta(hours=GIVE_UP_H):
            return
        time.sleep(1.0)
