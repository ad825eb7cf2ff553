"""Leave-one-out training sets from clean tables, for comparison with published figures.

- strict: per user the last event is the test and the one before it the validation; training sees neither, and at test
  time the validation event is in the history.
- refit: epochs and settings chosen under strict, then trained again on all but the test event. Its validation events
  are learned, so nothing may be chosen by them.

The third protocol, the global time split, is the pipeline's own: `features.training` writes its training set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.storage import atomic_folder
from recommender.errors import TrainingDataError
from recommender.inputs.texts import item_text

LeaveOneOut = Literal["strict", "refit"]
MAX_ITEM_CHARS = 400
# Of a user's newest events, how many training leaves out.
_LEFT_OUT: dict[str, int] = {"strict": 2, "refit": 1}


def write_leave_one_out(clean: Path, target: Path, protocol: LeaveOneOut, max_item_chars: int = MAX_ITEM_CHARS) -> None:
    """Write the sequences, queries and catalogue of a leave-one-out protocol, atomically.

    Events of one moment follow the source's own order (`position`).

    Args:
        clean: The folder of the clean tables.
        target: The training set's folder.
        max_item_chars: Length of an item's text.
    Raises:
        TrainingDataError: the protocol is unknown, or no user has the three events that it takes.
    """
    if protocol not in _LEFT_OUT:
        raise TrainingDataError(
            "Cannot split events", got=f"protocol={protocol}", expected="strict or refit", do="Choose one of them"
        )
    histories = {user: items for user, items in _histories(clean).items() if len(items) > max(_LEFT_OUT.values())}
    if not histories:
        raise TrainingDataError(
            "Cannot split events",
            got="users with three events=0",
            expected="at least 1",
            where=str(clean),
            do="Give more interactions per user",
        )
    learned = {user: items[: -_LEFT_OUT[protocol]] for user, items in histories.items()}
    queries = [
        {**_history(user, items[:-left_out]), schema.SPLIT: split, schema.TARGETS: [items[-left_out]]}
        for user, items in histories.items()
        for split, left_out in (("validation", 2), ("test", 1))
    ]
    items_table = pq.read_table(clean / "items.parquet").to_pylist()
    counts = _counts(learned)
    tables = {
        "sequences": [_history(user, items) for user, items in learned.items()],
        "queries": queries,
        "catalogue": [_catalogue_row(row, counts, max_item_chars) for row in items_table],
    }
    with atomic_folder(target) as folder:
        for name, rows in tables.items():
            table = pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES[name])
            pq.write_table(table, folder / f"{name}.parquet")


def _histories(clean: Path) -> dict[str, list[str]]:
    """Every user's items, oldest first."""
    rows = pq.read_table(clean / "interactions.parquet").sort_by(
        [(schema.USER_ID, "ascending"), (schema.TIMESTAMP, "ascending"), (schema.POSITION, "ascending")]
    )
    histories: dict[str, list[str]] = {}
    for user, item in zip(rows[schema.USER_ID].to_pylist(), rows[schema.ITEM_ID].to_pylist(), strict=True):
        histories.setdefault(user, []).append(item)
    return histories


def _counts(learned: dict[str, list[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for items in learned.values():
        for item in items:
            counts[item] = counts.get(item, 0) + 1
    return counts


def _catalogue_row(row: dict[str, Any], counts: dict[str, int], max_item_chars: int) -> dict[str, Any]:
    title, brand, category, description = (
        row[name] for name in (schema.TITLE, schema.BRAND, schema.CATEGORY, schema.DESCRIPTION)
    )
    known = {name: row[name] for name in (schema.ITEM_ID, schema.TITLE, schema.CATEGORY, schema.BRAND, schema.PRICE)}
    return {
        **known,
        schema.ITEM_TEXT: item_text(title, brand, category, description, [], max_item_chars),
        schema.ITEM_N_EVENTS: counts.get(row[schema.ITEM_ID], 0),
        schema.ITEM_N_RATINGS: 0,
    }


def _history(user: str, items: list[str]) -> dict[str, Any]:
    return {schema.USER_ID: user, schema.HISTORY_ITEMS: items, schema.HISTORY_VALUES: [None] * len(items)}
