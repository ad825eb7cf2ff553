"""From when to when a shop's events go: a handful of them long after the others do not move the end.

Windows are counted back from the end. Were it that of whatever came last, three clicks of today on a log that ended
months ago would leave the newest windows all but empty, and hide what drifted before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb

from core.sql import literal
from monitoring.calibration import LAG

LONGEST_SILENCE_DAYS = 2 * LAG  # without any event: then these data are a past, and no feed that has stopped
# Users after such a silence with whom the shop goes on, as many as most signals want to say anything; and as many as a
# usual day has.
LEAST_USERS = 30
# Or, where fewer come: days with events since, on half of which are half as many users as on a usual day before.
LEAST_DAYS = LAG
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Extent:
    """Of the events.

    Attributes:
        first, newest: The first and the newest event that count; None where there is none.
        late_users, late_events: After a long silence, too few for the shop to have gone on: left out.
        late_since: The first of those; None where there is none.
    """

    first: datetime | None = None
    newest: datetime | None = None
    late_users: int = 0
    late_events: int = 0
    late_since: datetime | None = None

    @property
    def note(self) -> str:
        """What was left out, a sentence; empty where nothing was."""
        if self.newest is None or self.late_since is None:
            return ""
        silence = (self.late_since - self.newest).days
        return (
            f"Left out: {self.late_events} events of {self.late_users} users from {self.late_since.date()} on, after "
            f"{silence} days without any. So few do not say that the shop goes on: the windows end at "
            f"{self.newest.date()}."
        )


def find_extent(clean: Path) -> Extent:
    """From when to when the events of the clean tables go."""
    events = f"read_parquet({literal(str(clean / 'interactions.parquet'))})"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        days = connection.execute(
            f"SELECT min(timestamp), max(timestamp) FROM {events} GROUP BY epoch_us(timestamp) // {_DAY_US} ORDER BY 1"
        ).fetchall()
        if not days:
            return Extent()
        whole = Extent(days[0][0], days[-1][1])
        for place in range(len(days) - 1, 0, -1):
            since, before = days[place][0], days[place - 1][1]
            if since - before <= timedelta(days=LONGEST_SILENCE_DAYS):
                continue
            query = f"SELECT count(DISTINCT user_id), count(*) FROM {events} WHERE timestamp >= ?"
            ((users, n_events),) = connection.execute(query, [since]).fetchall()
            usual = _usual_users(connection, events, "<", since)
            if users >= max(LEAST_USERS, usual):
                break
            is_trade = len(days) - place >= LEAST_DAYS
            if is_trade and _usual_users(connection, events, ">=", since) >= min(LEAST_USERS, usual) / 2:
                break
            whole = Extent(days[0][0], before, int(users), int(n_events), since)
    return whole


def _usual_users(
    connection: duckdb.DuckDBPyConnection, events: str, side: Literal["<", ">="], moment: datetime
) -> float:
    """Users of a usual day with events, before a moment or from it on. It takes long on millions of events."""
    rows = connection.execute(
        f"""SELECT median(n) FROM (SELECT count(DISTINCT user_id) AS n FROM {events} WHERE timestamp {side} ?
        GROUP BY epoch_us(timestamp) // {_DAY_US})""",
        [moment],
    ).fetchall()
    return float(rows[0][0])
