"""Days that the bundle in service is asked about: which, who is left out, users as a day began, and what is kept.

Of each whole day (UTC) after a bundle learned, once: sums of a day are kept, so that a past grows over bundles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

import duckdb
import numpy as np
from pydantic import TypeAdapter

from core.schema import EVENTS
from core.sql import literal
from core.storage import atomic_file
from monitoring.extent import Extent
from monitoring.signals.activity import FloodRule
from recommender.inputs.user import UserState

KEPT_DAYS = 400
# Whoever floods on one day is no user whose taste is asked about.
_FLOODERS = """
CREATE TEMP TABLE flooders AS
WITH days AS (SELECT user_id, CAST(timestamp AS DATE) AS day, count(*) AS n FROM events GROUP BY ALL)
SELECT DISTINCT user_id FROM days
WHERE n > greatest($min_repeats, $factor * (SELECT quantile_disc(n, 0.75) FROM days)) AND $is_on
"""


@dataclass(frozen=True)
class Replayed:
    """The bundle that is asked.

    Attributes:
        digest: Its own.
        learned_until: It learned nothing later.
        promise: What its evaluation found, by figure.
        k: Length of its lists.
        floods: Who is left out.
        catalogue_until: Items from until then are in its catalogue, also where it learned of none of their events;
            None: of what it learned.
    """

    digest: str
    learned_until: datetime
    promise: dict[str, float]
    k: int
    floods: FloodRule
    catalogue_until: datetime | None = None

    @property
    def catalogue_at(self) -> datetime:
        """When its catalogue was made, by the clock of the events."""
        return max(self.learned_until, self.catalogue_until or self.learned_until)


class HasDay(Protocol):
    """What was made of a day."""

    @property
    def day(self) -> date:
        """UTC."""


class StatesThen(Protocol):
    """Who derives users as a request of then would have found them: `features.point_in_time.states`."""

    def __call__(self, user_ids: Sequence[str], before_us: Sequence[int]) -> list[UserState]:
        """What was known of each user, and of the items, just before each moment (microseconds since 1970)."""


Day = TypeVar("Day", bound=HasDay)


def days_to_replay(extent: Extent, known: Sequence[HasDay], learned_until: datetime) -> list[date]:
    """Whole days after a bundle learned that no bundle was asked about yet, the oldest first.

    Args:
        extent: Of the shop's events: the days end where they do.
        known: Days that a bundle was asked about.
    """
    if extent.newest is None:
        return []
    end = (extent.newest + timedelta(microseconds=1)).astimezone(UTC).date()
    begin = max(learned_until.astimezone(UTC).date() + timedelta(days=1), end - timedelta(days=KEPT_DAYS))
    done = {one.day for one in known}
    days = (begin + timedelta(days=n) for n in range(max((end - begin).days, 0)))
    return [day for day in days if day not in done]


@contextmanager
def open_events(clean: Path, wanted: Sequence[date], floods: FloodRule) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with `events`, what users did, `wanted` (day), and `flooders` (user_id), who are left out."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        path = literal(str(clean / "interactions.parquet"))
        connection.execute(
            f"CREATE TEMP VIEW events AS SELECT * FROM read_parquet({path}) WHERE event <> {literal(EVENTS[0])}"
        )
        listed = ", ".join(f"(DATE {literal(day.isoformat())})" for day in wanted)
        connection.execute(f"CREATE TEMP TABLE wanted AS SELECT * FROM (VALUES {listed}) AS t(day)")
        rule = {"min_repeats": floods.min_repeats, "factor": floods.factor, "is_on": floods.is_on}
        connection.execute(_FLOODERS, rule)
        yield connection


def states_of(
    connection: duckdb.DuckDBPyConnection, states_then: StatesThen
) -> list[tuple[str, date, tuple[str, ...], UserState]]:
    """Of each of `queries` with a history by then: user, day, targets, and the user as the day began; by day."""
    rows = connection.execute("SELECT user_id, day, targets FROM queries ORDER BY day, user_id").fetchall()
    began = [round(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000 for _, day, _ in rows]
    states = states_then([user for user, *_ in rows], began)
    return [
        (user, day, tuple(targets), state)
        for (user, day, targets), state in zip(rows, states, strict=True)
        if not state.is_cold
    ]


def keep_days(path: Path, adapter: TypeAdapter[list[Day]], known: Sequence[Day], fresh: Sequence[Day]) -> list[Day]:
    """Write what was found of new days beside what is known, up to `KEPT_DAYS`; of a day that is known nothing changes.

    Returns:
        All that is kept, the oldest day first; where nothing is new, nothing is written.
    """
    found = {one.day: one for one in [*fresh, *known]}
    days = [found[day] for day in sorted(found)]
    if len(days) == len(known):
        return days
    days = [one for one in days if one.day >= days[-1].day - timedelta(days=KEPT_DAYS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(adapter.dump_json(days))
    return days


def sums_of(values: np.ndarray) -> tuple[float, float, float]:
    """Their number, their sum, and the sum of their squares."""
    return float(len(values)), float(values.sum()), float((values**2).sum())
