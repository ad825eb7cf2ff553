"""The prediction log as a table for training: one row per shown item, with what became of it. Parquet."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from core.logs.events import EventLog
from core.storage import atomic_file
from monitoring.online.shown import open_shown

FILE = "predictions.parquet"
_ROWS = """
SELECT a.recommendation_id, a."at", endpoint, model, experiment, variant, unit, role, user_id, visitor_id, k, seed,
    seed_given, cold_start, degraded, took_ms, a.position, a.item_id, score, part, rule, propensity,
    c.item_id IS NOT NULL AS clicked, c.event, c.reacted_at
FROM (
    SELECT * EXCLUDE (items, scores, parts, rules, propensities, who, n_pinned),
        generate_subscripts(items, 1) AS position, unnest(items) AS item_id, unnest(scores) AS score,
        unnest(parts) AS part, nullif(unnest(rules), '') AS rule, unnest(propensities) AS propensity
    FROM answers
) a LEFT JOIN clicked c ON a.role = 'shown' AND c.recommendation_id = a.recommendation_id AND c.item_id = a.item_id
WHERE a.item_id IS NOT NULL
ORDER BY a."at", a.recommendation_id, role DESC, position
"""


def export_predictions(
    log: Path,
    events: EventLog,
    folder: Path,
    clicks: Collection[str],
    window_s: float,
    since: datetime = datetime(1970, 1, 1, tzinfo=UTC),
) -> tuple[Path, int]:
    """Write what the log holds, in the place of the export before; its file, and how many rows it has.

    Args:
        log: The folder of the prediction log.
        events: The service's event log: says what was clicked.
        folder: Where the file goes.
        clicks: Kinds of event that count as a click.
        window_s: An event counts for an answer that is at most so old, seconds.
        since: No earlier answer.
    Raises:
        PredictionLogError, EventLogError: a log cannot be read.
    """
    import pyarrow.parquet as pq

    file = folder / FILE
    with open_shown(log, events, clicks, window_s, since=since) as (connection, _):
        rows = connection.sql(_ROWS).to_arrow_table()
    with atomic_file(file) as temporary:
        pq.write_table(rows, temporary, compression="zstd")
    return file, rows.num_rows
