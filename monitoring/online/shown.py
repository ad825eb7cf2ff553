"""What was shown and what became of it: the prediction log beside the event log, as tables of DuckDB.

A click on a shown item is an event of a kind that counts, within the window after the answer: one that names the
answer, or, where it names none, one of the same user (or visitor) on the same item, after the last answer that showed
it to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import SommelierError
from core.logs.events import EventLog
from core.logs.predictions import segments_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TRIES = 5
_COLUMNS = {
    "recommendation_id": "VARCHAR",
    "at": "TIMESTAMPTZ",
    "endpoint": "VARCHAR",
    "model": "VARCHAR",
    "items": "VARCHAR[]",
    "scores": "DOUBLE[]",
    "parts": "VARCHAR[]",
    "propensities": "DOUBLE[]",
    "user_id": "VARCHAR",
    "visitor_id": "VARCHAR",
    "experiment": "VARCHAR",
    "variant": "VARCHAR",
    "unit": "VARCHAR",
    "role": "VARCHAR",
    "k": "BIGINT",
    "seed": "BIGINT",
    "cold_start": "BOOLEAN",
    "degraded": "VARCHAR[]",
    "took_ms": "DOUBLE",
    "overlap": "DOUBLE",
    "rank_correlation": "DOUBLE",
    "request_id": "VARCHAR",
    "dropped": "BIGINT",
}
_EMPTY = f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in _COLUMNS.items())} LIMIT 0"
_LINES = f"""
SELECT * FROM read_json($files, format = 'newline_delimited', ignore_errors = true, columns = {_COLUMNS!r})
"""
_ANSWERS = """
CREATE TEMP TABLE answers AS
SELECT * EXCLUDE (dropped), coalesce(user_id, visitor_id) AS who FROM lines
WHERE recommendation_id IS NOT NULL AND "at" >= $since AND ($experiment IS NULL OR experiment = $experiment)
"""
_DROPS = """
SELECT coalesce(sum(dropped), 0)::BIGINT FROM lines WHERE dropped IS NOT NULL AND "at" >= $since
"""
_SHOWN = """
CREATE TEMP TABLE shown AS
SELECT recommendation_id, "at", who, generate_subscripts(items, 1) AS position, unnest(items) AS item_id
FROM answers WHERE role = 'shown'
"""
_NAMED = """
SELECT r.recommendation_id, r.item_id, r.event, r."at" AS reacted_at
FROM reactions r JOIN shown s ON s.recommendation_id = r.recommendation_id AND s.item_id = r.item_id
WHERE r."at" <= s."at" + to_microseconds($window_us)
"""
_UNNAMED = """
SELECT s.recommendation_id, r.item_id, r.event, r."at" AS reacted_at
FROM (SELECT * FROM reactions WHERE recommendation_id IS NULL) r
ASOF JOIN (SELECT * FROM shown WHERE who IS NOT NULL) s
ON s.who = r.user_id AND s.item_id = r.item_id AND s."at" <= r."at"
WHERE r."at" <= s."at" + to_microseconds($window_us)
"""
_CLICKED = f"""
CREATE TEMP TABLE clicked AS
SELECT recommendation_id, item_id, arg_min(event, reacted_at) AS event, min(reacted_at) AS reacted_at
FROM ({_NAMED} UNION ALL {_UNNAMED}) GROUP BY ALL
"""


class PredictionLogError(SommelierError):
    """The prediction log cannot be read."""


@contextmanager
def open_shown(
    folder: Path,
    events: EventLog,
    clicks: Collection[str],
    window_s: float,
    *,
    since: datetime = datetime(1970, 1, 1, tzinfo=UTC),
    experiment: str | None = None,
) -> Iterator[tuple[DuckDBPyConnection, int]]:
    """A connection with three tables, and how many records were dropped meanwhile.

    - `answers`: one row per record of the prediction log; `who` asked.
    - `shown`: one row per item that somebody was shown; its `position` counts from 1.
    - `clicked`: which of those were clicked: `recommendation_id`, `item_id`, the first `event`, `reacted_at`.

    Args:
        folder: Of the prediction log.
        events: Of the service.
        clicks: Kinds of event that count.
        window_s: An event counts for an answer that is at most so old, seconds.
        since: No earlier answer.
        experiment: Only answers of this experiment.
    Raises:
        PredictionLogError: the log cannot be read.
        EventLogError: the event log cannot be read.
    """
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _read_lines(connection, folder, since)
        dropped = connection.execute(_DROPS, {"since": since}).fetchall()[0][0]
        connection.execute(_ANSWERS, {"since": since, "experiment": experiment})
        connection.execute("DROP TABLE lines")
        connection.execute(_SHOWN)
        _add_reactions(connection, events, clicks, since)
        connection.execute(_CLICKED, {"window_us": round(window_s * 1e6)})
        yield connection, int(dropped)


def _read_lines(connection: DuckDBPyConnection, folder: Path, since: datetime) -> None:
    import duckdb

    fault: Exception | None = None
    for _ in range(_TRIES):
        try:
            # A segment holds no answer that is later than its last write.
            files = [str(one) for one in segments_of(folder) if one.stat().st_mtime >= since.timestamp()]
            if files:
                connection.execute(f"CREATE TEMP TABLE lines AS {_LINES}", {"files": files})
            else:
                connection.execute(f"CREATE TEMP TABLE lines AS {_EMPTY}")
            return
        except (FileNotFoundError, duckdb.IOException) as error:  # a segment was too old, and went meanwhile
            fault = error
        except duckdb.Error as error:
            fault = error
            break
    raise PredictionLogError(
        "Cannot read the prediction log",
        got=f"error={str(fault).splitlines()[0]}",
        expected="JSON lines as the service writes them",
        where=str(folder),
        do="Move the file that is named away",
    ) from fault


def _add_reactions(connection: DuckDBPyConnection, events: EventLog, clicks: Collection[str], since: datetime) -> None:
    import pyarrow as pa

    # Clients' clocks differ a little from the service's.
    rows = [row for row in events.since(since - timedelta(hours=1)) if row[2] in clicks]
    names = ("user_id", "item_id", "event", "at", "recommendation_id")
    columns = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(names)}
    table = pa.table(columns)
    connection.register("event_rows", table)
    connection.execute('CREATE TEMP TABLE reactions AS SELECT * REPLACE ("at"::TIMESTAMPTZ AS "at") FROM event_rows')
    connection.unregister("event_rows")
