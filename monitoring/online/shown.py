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
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from core.errors import SommelierError
from core.experiments import Experiment
from core.logs.events import EventLog
from core.logs.pruning import Lost, read_lost, segments_of
from core.sql import literal
from monitoring.online.columns import COLUMNS, IS_PINNED, MEMORY, OF_EXPERIMENT, lines_of
from monitoring.online.kept import kept_files

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TRIES = 5
# Of no experiment's own: the bundle in service answered in the place of a variant of this one, which failed.
_IS_INSTEAD = "coalesce(starts_with(instead_of, $experiment || '/'), FALSE)"
# Both filter while they read: the log has far more than fits into the memory of a service.
_ANSWERS = f"""
CREATE TEMP TABLE answers AS
SELECT * EXCLUDE (instead_of) REPLACE (
        CASE WHEN {_IS_INSTEAD} THEN 'instead' ELSE role END AS role,
        CASE WHEN {_IS_INSTEAD} THEN split_part(instead_of, '/', 2) ELSE variant END AS variant
    ), coalesce(user_id, visitor_id) AS who, coalesce(len(list_filter(rules, lambda rule: {IS_PINNED})), 0) AS n_pinned
FROM {{lines}}
WHERE "at" >= $since AND (dropped IS NOT NULL
    OR (recommendation_id IS NOT NULL AND ($experiment IS NULL OR experiment = $experiment OR {_IS_INSTEAD})))
"""
_ELSEWHERE = f"""
CREATE TEMP TABLE elsewhere AS
WITH awaited AS (SELECT DISTINCT user_id AS who, item_id FROM reactions WHERE recommendation_id IS NULL),
lists AS (
    SELECT recommendation_id, "at", coalesce(user_id, visitor_id) AS who, items FROM {{lines}}
    WHERE role = 'shown' AND recommendation_id IS NOT NULL AND "at" >= $since
        AND experiment IS DISTINCT FROM $experiment AND NOT {_IS_INSTEAD}
),
theirs AS (SELECT recommendation_id, "at", who, unnest(items) AS item_id FROM lists SEMI JOIN awaited USING (who))
SELECT * FROM theirs
SEMI JOIN awaited USING (who, item_id)
"""
_EXPLORED = """
CREATE TEMP TABLE explored AS SELECT 1 AS one FROM {lines}
WHERE role = 'shown' AND model = {model} AND user_id IS NOT NULL AND propensities IS NOT NULL AND "at" >= $since
    AND $experiment IS NULL LIMIT 1
"""
# A line of them is written when the log can be written again; before it said since when, that was all that it said.
_DROPS = """
SELECT coalesce(sum(dropped), 0)::BIGINT FROM answers WHERE $until IS NULL OR coalesce(dropped_since, "at") <= $until
"""
_SHOWN = f"""
CREATE TEMP VIEW shown AS
SELECT recommendation_id, "at", who, position, item_id, {IS_PINNED} AS is_pinned
FROM (
    SELECT *, generate_subscripts(items, 1) AS position, unnest(items) AS item_id, unnest(rules) AS rule
    FROM answers WHERE role IN ('shown', 'instead')
)
WHERE item_id IS NOT NULL
"""
_UNNAMED_ONES = "SELECT 1 FROM reactions WHERE recommendation_id IS NULL LIMIT 1"
_NAMED = """
SELECT r.recommendation_id, r.item_id, r.event, r."at" AS reacted_at, s.is_pinned
FROM reactions r JOIN shown s ON s.recommendation_id = r.recommendation_id AND s.item_id = r.item_id
WHERE r."at" <= s."at" + to_microseconds($window_us)
"""
_UNNAMED = """
SELECT s.recommendation_id, r.item_id, r.event, r."at" AS reacted_at, s.is_pinned
FROM (SELECT * FROM reactions WHERE recommendation_id IS NULL) r
ASOF JOIN (
    SELECT recommendation_id, "at", who, item_id, TRUE AS is_ours, is_pinned FROM shown WHERE who IS NOT NULL
    UNION ALL SELECT recommendation_id, "at", who, item_id, FALSE, FALSE FROM elsewhere
) s
ON s.who = r.user_id AND s.item_id = r.item_id AND s."at" <= r."at"
WHERE s.is_ours AND r."at" <= s."at" + to_microseconds($window_us)
"""
_CLICKED = f"""
CREATE TEMP TABLE clicked AS
SELECT recommendation_id, item_id, arg_min(event, reacted_at) AS event, min(reacted_at) AS reacted_at,
    bool_or(is_pinned) AS is_pinned
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
    until: datetime | None = None,
    experiment: Experiment | None = None,
) -> Iterator[tuple[DuckDBPyConnection, int]]:
    """A connection with three tables, and how many records were dropped between `since` and `until`, as far as the log
    tells: what was dropped at a stretch counts as a whole where a part of the time is in between.

    - `answers`: one row per record of the prediction log; `who` asked. Of an experiment also lists of the bundle in
      service in the place of a variant that failed: their `role` is `instead`, their `variant` that one. `n_pinned` of
      their items stand where the request pinned them.
    - `shown`: one row per item that somebody was shown; its `position` counts from 1, and `is_pinned` says so.
    - `clicked`: which of those were clicked: `recommendation_id`, `item_id`, the first `event`, `reacted_at`,
      `is_pinned`. An event that names no answer belongs to the last list that showed the item, also where that is of
      no experiment.

    Args:
        folder: Of the prediction log.
        events: Of the service.
        clicks: Kinds of event that count.
        window_s: An event counts for an answer that is at most so old, seconds.
        since: No earlier answer.
        until: Of drops, no later ones.
        experiment: Only answers of this experiment, without what its figures do not need, as scores and propensities;
            also those that are kept for longer than the log goes back.
    Raises:
        PredictionLogError: the log cannot be read.
        EventLogError: the event log cannot be read.
    """
    import duckdb

    with (
        TemporaryDirectory(prefix="shown-", ignore_cleanup_errors=True) as spilled,
        duckdb.connect(config={"threads": 1, "memory_limit": MEMORY, "temp_directory": spilled}) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        _read(connection, folder, _ANSWERS, since, experiment)
        dropped = connection.execute(_DROPS, {"until": until}).fetchall()[0][0]
        connection.execute("DELETE FROM answers WHERE recommendation_id IS NULL")
        for column in ("dropped", "dropped_since"):
            connection.execute(f"ALTER TABLE answers DROP COLUMN {column}")
        connection.execute(_SHOWN)
        _add_reactions(connection, events, clicks, since)
        if experiment is None or not connection.execute(_UNNAMED_ONES).fetchall():
            connection.execute(
                "CREATE TEMP VIEW elsewhere AS SELECT * EXCLUDE (position, is_pinned) FROM shown LIMIT 0"
            )
        else:
            _read(connection, folder, _ELSEWHERE, since, experiment)
        connection.execute(_CLICKED, {"window_us": round(window_s * 1e6)})
        yield connection, int(dropped)


def has_explored(folder: Path, since: datetime, model: str) -> bool:
    """Whether the log has a list that a bundle showed to a user since then, with chances.

    Args:
        folder: Of the prediction log.
        model: The bundle, name:version.
    Raises:
        PredictionLogError: the log cannot be read.
    """
    import duckdb

    with duckdb.connect(config={"threads": 1, "memory_limit": MEMORY}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _read(connection, folder, _EXPLORED.format(model=literal(model), lines="{lines}"), since, None)
        return bool(connection.execute("SELECT 1 FROM explored").fetchall())


def log_lost(folder: Path) -> Lost:
    """Up to when the log may have lost answers, and what is kept of them. Asked after it was read.

    Args:
        folder: Of the prediction log.
    Raises:
        PredictionLogError: what is written down of it cannot be read, or is missing though segments went.
    """
    try:
        return read_lost(folder)
    except (OSError, ValueError) as error:
        raise PredictionLogError(
            "Cannot tell how far back the prediction log goes",
            got=f"error={error}",
            expected='{"until": a moment} as the service writes it',
            where=str(folder / "lost.json"),
            do="Put it back from a backup, or write it: up to that moment answers may be gone. Do not remove it. Where "
            "it is missing, the service writes it within ten minutes, and all before the segments that are there "
            "counts as gone; where it cannot be read, once segments go, and all before these does",
        ) from error


def _read(
    connection: DuckDBPyConnection, folder: Path, statement: str, since: datetime, experiment: Experiment | None
) -> None:
    """Make a table of the log's `{lines}`, and of what is kept of it for an experiment."""
    import duckdb

    fault: Exception | None = None
    for _ in range(_TRIES):
        try:
            # Segments first: what goes between the two is kept by then. One that is still there is read itself.
            segments = segments_of(folder)
            there = {segment.stem for segment in segments}
            kept = [] if experiment is None else kept_files(folder, experiment)
            kept = [one for one in kept if one.stem not in there]
            # None holds an answer that is later than its last write.
            read = {
                name: [str(one) for one in found if one.stat().st_mtime >= since.timestamp()]
                for name, found in (("files", segments), ("kept", kept))
            }
            columns = COLUMNS if experiment is None else OF_EXPERIMENT
            lines = lines_of(columns, are_there=bool(read["files"]), are_kept=bool(read["kept"]))
            given = {"since": since, "experiment": None if experiment is None else experiment.name}
            connection.execute(statement.format(lines=lines), given | {name: one for name, one in read.items() if one})
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
