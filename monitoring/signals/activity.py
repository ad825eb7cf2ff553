"""One pass over the events: who did what on which day, each user counted once, floods left out and counted.

Days are spans of 24 hours that end together with the newest one, so that the newest is whole whenever it ends. Of each
user's day a few events are taken by chance, their weights summing to one: a busy user is one user.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from core.sql import literal

MAX_EVENTS = 5  # of a user's day
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_MIN_USER_DAYS = 100  # with fewer, there is nothing to call a day unusual by


@dataclass(frozen=True)
class Span:
    """Days that are watched: `n_days` spans of 24 hours, the last of which ends at `end`, exclusive."""

    end: datetime
    n_days: int

    def starts(self, day: int) -> datetime:
        """The beginning of a day; of day `n_days`, the end."""
        return self.end - timedelta(days=self.n_days - day)

    def day_sql(self, time: str) -> str:
        """SQL of the day of a time within the span."""
        return f"CAST({self.n_days} - 1 - ({self.age_us_sql(f'epoch_us({time})')} // {DAY_US}) AS SMALLINT)"

    def age_us_sql(self, time_us: str) -> str:
        """SQL of how long before the end a time within the span is, both in microseconds; 0 just before it."""
        return f"(epoch_us({literal(self.end.isoformat())}::TIMESTAMPTZ) - 1 - {time_us})"

    def within_sql(self, time: str) -> str:
        """SQL that is true of a time within the span."""
        begin, end = (literal(one.isoformat()) for one in (self.starts(0), self.end))
        return f"{time} >= {begin}::TIMESTAMPTZ AND {time} < {end}::TIMESTAMPTZ"


@dataclass(frozen=True)
class FloodRule:
    """A user's day with more events than this is left out: as the data gate has it of a user's whole history.

    Attributes:
        factor: Times the third quartile of all users' days.
        min_repeats: Up to so many are no flood.
        is_on: Whether any is left out.
    """

    factor: float
    min_repeats: int
    is_on: bool = True


@dataclass(frozen=True)
class Flooded:
    """What was left out of the watched days: users, their days, and the events on them."""

    users: int = 0
    user_days: int = 0
    events: int = 0
    limit: float = 0.0


def open_database(memory_gib: float, spill: Path, threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A database that takes so much memory, and the disk below `spill` beyond it."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"SET memory_limit = {literal(f'{memory_gib}GB')}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"SET temp_directory = {literal(str(spill))}")
    return connection


def read_activity(connection: duckdb.DuckDBPyConnection, clean: Path, span: Span, rule: FloodRule) -> Flooded:
    """Make the tables that signals are counted from.

    `events` (day, uid, iid, us, event, value, draw) holds what happened on the watched days, users and items by hash;
    `active` the users of each day that are no flood; `flooded` the others; `picked` (day, uid, iid, us, hour, w) a few
    events of each user's day but ratings, if there are others; `rated` (day, uid, iid, value, w) the ratings.
    """
    events = literal(str(clean / "interactions.parquet"))
    connection.execute(
        f"""CREATE TEMP TABLE events AS SELECT {span.day_sql("timestamp")} AS day, hash(user_id) AS uid,
            hash(item_id) AS iid, epoch_us(timestamp) AS us, event, value, hash(event_id) AS draw
        FROM read_parquet({events}) WHERE {span.within_sql("timestamp")}"""
    )
    connection.execute("CREATE TEMP TABLE active AS SELECT day, uid, count(*) AS n FROM events GROUP BY ALL")
    ((n_days, usual),) = connection.execute("SELECT count(*), quantile_disc(n, 0.75) FROM active").fetchall()
    limit = max(float(rule.min_repeats), rule.factor * float(usual or 0))
    is_flood = f"n > {limit!r}" if rule.is_on and n_days >= _MIN_USER_DAYS else "false"
    connection.execute(f"CREATE TEMP TABLE flooded AS SELECT * FROM active WHERE {is_flood}")
    connection.execute(f"DELETE FROM active WHERE {is_flood}")
    if connection.execute("SELECT 1 FROM flooded LIMIT 1").fetchone():
        connection.execute("CREATE TEMP TABLE calm AS SELECT * FROM events ANTI JOIN flooded USING (day, uid)")
    else:
        connection.execute("CREATE TEMP VIEW calm AS SELECT * FROM events")
    _pick(connection)
    (row,) = connection.execute("SELECT count(DISTINCT uid), count(*), sum(n) FROM flooded").fetchall()
    return Flooded(int(row[0]), int(row[1]), int(row[2] or 0), limit)


def _pick(connection: duckdb.DuckDBPyConnection) -> None:
    only_ratings = not connection.execute("SELECT 1 FROM calm WHERE event <> 'rating' LIMIT 1").fetchone()
    of_interest = "true" if only_ratings else "event <> 'rating'"
    hour = "CAST((us // 3600000000) % 24 AS TINYINT)"
    for name, rows, columns in (
        ("picked", of_interest, f"day, uid, iid, us, {hour} AS hour"),
        ("rated", "event = 'rating' AND value IS NOT NULL", "day, uid, iid, us, value"),
    ):
        connection.execute(
            f"""CREATE TEMP TABLE {name} AS SELECT {columns}, CAST(1.0 / least(n, {MAX_EVENTS}) AS FLOAT) AS w FROM (
                SELECT *, row_number() OVER (PARTITION BY day, uid ORDER BY draw) AS place,
                    count(*) OVER (PARTITION BY day, uid) AS n
                FROM calm WHERE {rows}) WHERE place <= {MAX_EVENTS}"""
        )
