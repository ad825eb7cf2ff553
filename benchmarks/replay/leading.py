"""A past is led through a platform, period by period; cut off at any moment, it goes on where its journal ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from benchmarks.replay import policies
from benchmarks.replay.figures import K, Row
from benchmarks.replay.journal import Answer, Journal
from benchmarks.replay.past import Happening, Period
from benchmarks.replay.policies import Policy, finish_period

# Steps of a period, in the journal.
_BEGUN, _TOLD, _REFRESHED, _FINISHED, _ENDED = "begun", "told", "refreshed", "finished", "ended"


class Platform(policies.Platform, Protocol):
    """What a replay asks of the platform that is up."""

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the service answers."""

    def wait_for_bundle(self, tag: str) -> None:
        """Wait until the service answers by a bundle."""

    def cpu_s(self) -> float:
        """Processor time of all runs since the platform came up, seconds."""


def replay(platform: Platform, policy: Policy, periods: Iterator[Period], journal: Journal) -> Iterator[Row]:
    """Lead the periods through a platform that is up, from where the journal ends.

    Args:
        periods: All of them, those that are done among them.
        journal: Of this policy.
    """
    for number, period in enumerate(periods):
        if journal.step(number, _ENDED) is None:
            _live(platform, policy, number, period, journal)
        yield row_of(policy, number, period, journal)


def row_of(policy: Policy, number: int, period: Period, journal: Journal) -> Row:
    """A period that is done."""
    ended = journal.step(number, _ENDED)
    answers = tuple(journal.answers(number).values())
    return Row(policy, f"{period.opens:%Y-%m-%d}", answers, tuple(ended["happened"]), ended["cpu_s"], ended["wall_s"])


def is_done(number: int, journal: Journal) -> bool:
    """Whether nothing of a period is left to do."""
    return journal.step(number, _ENDED) is not None


def _live(platform: Platform, policy: Policy, number: int, period: Period, journal: Journal) -> None:
    """A period: users ask and act, the features are refreshed, and what the policy does at its end is done."""
    if (begun := journal.step(number, _BEGUN)) is None:
        newest = max((entry["id"] for entry in platform.entries(0)), default=0)
        begun = {"entry": newest, "at": datetime.now(UTC).isoformat()}
        journal.mark(number, _BEGUN, begun)
    told = journal.step(number, _TOLD) or 0
    for place, batch in enumerate(period.batches()):
        if place >= told:
            _tell(platform, number, batch, journal)
            journal.mark(number, _TOLD, place + 1)
    if journal.step(number, _REFRESHED) is None:
        journal.mark(number, _REFRESHED, _timed(platform, lambda: platform.run("refresh-features")))
    if journal.step(number, _FINISHED) is None:
        journal.mark(number, _FINISHED, _timed(platform, lambda: finish_period(platform, policy, begun["entry"])))
    # An alarm that is on still, and a decision that is the same again, are counted and make no entry more.
    entries = [one for one in platform.entries(0) if one["id"] > begun["entry"] or one["until"] > begun["at"]]
    changes = [entry["subject"] for entry in entries if entry["kind"] in ("promotion", "rollback")]
    if changes:
        platform.wait_for_bundle(changes[-1])
    spent = [journal.step(number, step) for step in (_REFRESHED, _FINISHED)]
    cpu_s, wall_s = (sum(one[place] for one in spent) for place in (0, 1))
    journal.mark(number, _ENDED, {"happened": entries, "cpu_s": cpu_s, "wall_s": wall_s})


def _tell(platform: Platform, number: int, batch: tuple[Happening, ...], journal: Journal) -> None:
    """Ask for each who asks, then tell what happened; what was told is told again without effect, by its event id."""
    known = journal.answers(number)
    found = [_ask(platform, event) for event in batch if event.asks and event.event_id not in known]
    journal.keep_answers(number, found)
    shown_by = {one.event_id: one.recommendation_id for one in [*known.values(), *found] if one.place is not None}
    platform.ask("/v1/events", {"events": [event.body(shown_by.get(event.event_id)) for event in batch]})


def _ask(platform: Platform, event: Happening) -> Answer:
    answer = platform.ask("/v1/recommend", {"user_id": event.user_id, "k": K})
    shown = [item["item_id"] for item in answer["items"]]
    place = shown.index(event.item_id) + 1 if event.item_id in shown else None
    return Answer(event.event_id, event.user_id, place, answer["recommendation_id"])


def _timed(platform: Platform, work: Callable[[], None]) -> tuple[float, float]:
    """Processor time and wall time of runs, seconds. Of a platform that had to come up again, that since then."""
    before_s, clock = platform.cpu_s(), time.monotonic()
    work()
    after_s = platform.cpu_s()
    return after_s - before_s if after_s >= before_s else after_s, time.monotonic() - clock
