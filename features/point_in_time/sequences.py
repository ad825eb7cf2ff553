"""Training sequences: every user's history at the training cut-off, in pieces that a model takes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from core.schema import TRAINING_TABLES
from features.counting.columns import Columns
from features.counting.moments import as_us
from features.feast.definitions import SEQUENCE_MODEL
from features.point_in_time.lookup import Page, PointInTime, as_column

_PIECES = pa.schema(
    [
        (schema.USER_ID, pa.string()), ("until", pa.int64()), (schema.HISTORY_ITEMS, pa.list_(pa.string())),
        (schema.HISTORY_VALUES, pa.list_(pa.float64())), (schema.ATTRIBUTES, pa.string()),
    ]
)  # fmt: skip
_BEFORE_THE_OLDEST = """
    SELECT e.user_id, max(e.clock) AS clock, max(e.clock) AS until
    FROM events AS e JOIN earlier AS o ON e.user_id = o.user_id AND e.item_id = o.item_id AND e.clock < o.until
    GROUP BY e.user_id
"""


def sequences(lookup: PointInTime) -> Iterator[Page]:
    """Every user's history at the training cut-off, cut into pieces of at most `max_history` entries, oldest first.

    A piece is the history as of just before the piece that follows, less the items that follow: those have their
    entry there. Feast is asked again only for users whose last answer was a full history.
    """
    opens = as_us(lookup.cuts.validation_at)
    rounds: list[pa.Table] = []
    later: dict[str, set[str]] = {}
    moments = f"SELECT DISTINCT user_id, {opens} AS clock, {opens} AS until FROM events WHERE clock < {opens}"
    while moments:
        pages = [_histories(*page) for page in lookup.look_up(SEQUENCE_MODEL, moments)]
        found = pa.concat_tables(pages) if pages else _PIECES.empty_table()
        is_full = pc.equal(pc.list_value_length(found.column(schema.HISTORY_ITEMS)), lookup.settings.max_history)
        full = found.filter(is_full)
        rounds.append(_without(found, later) if rounds else found)
        for user_id, items in zip(
            full.column(schema.USER_ID).to_pylist(), full.column(schema.HISTORY_ITEMS).to_pylist(), strict=True
        ):
            later.setdefault(user_id, set()).update(items)
        # The clock of the oldest entry: of the user's latest event on it before the moment asked for.
        oldest = pc.list_element(full.column(schema.HISTORY_ITEMS), 0)
        lookup.database.register("earlier", full.select([schema.USER_ID, "until"]).append_column("item_id", oldest))
        moments = _BEFORE_THE_OLDEST if len(full) else ""
    numbered = [table.append_column("round", pa.array([-n] * len(table), pa.int64())) for n, table in enumerate(rounds)]
    pieces = pa.concat_tables(numbered).sort_by([(schema.USER_ID, "ascending"), ("round", "ascending")])
    pieces = pieces.filter(pc.greater(pc.list_value_length(pieces.column(schema.HISTORY_ITEMS)), 0))
    yield {name: pieces.column(name) for name in TRAINING_TABLES["sequences"].names}


def _histories(labels: pa.Table, features: Columns) -> pa.Table:
    columns = {**{name: labels.column(name) for name in (schema.USER_ID, "until")}, **features}
    return pa.table([as_column(columns[field.name], field.type) for field in _PIECES], schema=_PIECES)


def _without(found: pa.Table, later: dict[str, set[str]]) -> pa.Table:
    """The pieces without the items of the pieces that follow them."""
    rows = found.to_pylist()
    for row in rows:
        pairs = zip(row[schema.HISTORY_ITEMS], row[schema.HISTORY_VALUES], strict=True)
        kept = [pair for pair in pairs if pair[0] not in later[row[schema.USER_ID]]]
        row[schema.HISTORY_ITEMS] = [item for item, _ in kept]
        row[schema.HISTORY_VALUES] = [value for _, value in kept]
    return pa.Table.from_pylist(rows, schema=_PIECES)
