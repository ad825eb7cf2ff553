"""Training sequences: what each user touched for the first time, behind the history that would have been served then.

A sequence is a history as of just before its first target, and the targets that followed it: items that the user had
not touched before, in the order of first touch. A model that reads it from left to right predicts every target from
what serving would have read at that moment, newest entry last, and from nothing that came later. An item that is
touched again moves to the end of the history from then on, so the sequence ends there and the next one begins with the
history as it stands then; the entries that it begins with are context (`n_context`): read, never predicted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from core.schema import TRAINING_TABLES
from features.counting.columns import Columns, Lists
from features.counting.moments import as_us
from features.feast.definitions import SEQUENCE_MODEL
from features.point_in_time.lookup import Page, PointInTime, as_column

# A touch is a user's events on an item with no other item between them; its value is the latest rating among them, its
# kind the strongest.
_TOUCHES = """
    SELECT user_id, item_id, min(clock) AS clock, bool_or(is_first) AS is_first,
        coalesce(last(value ORDER BY clock) FILTER (WHERE value IS NOT NULL), 'nan'::DOUBLE) AS value,
        max(kind) AS kind
    FROM (
        SELECT *, count(*) FILTER (WHERE item_id IS DISTINCT FROM before) OVER (PARTITION BY user_id ORDER BY clock)
            AS touch
        FROM (
            SELECT *, lag(item_id) OVER (PARTITION BY user_id ORDER BY clock) AS before,
                row_number() OVER (PARTITION BY user_id, item_id ORDER BY clock) = 1 AS is_first
            FROM events WHERE clock < {opens}
        )
    )
    GROUP BY user_id, item_id, touch
"""
# Targets with only first touches between them share a run; `n_before` items had been touched before each, `place` of
# them within the run. A run is cut where a sequence is full.
_SEQUENCES = """
    WITH touches AS ({touches}),
    runs AS (
        SELECT *, count(*) FILTER (WHERE NOT is_first) OVER (PARTITION BY user_id ORDER BY clock) AS run FROM touches
    ),
    targets AS (
        SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY clock) - 1 AS n_before,
            row_number() OVER (PARTITION BY user_id, run ORDER BY clock) - 1 AS place
        FROM runs WHERE is_first
    ),
    pieces AS (
        SELECT *, {longest} - least(n_before - place, {context}) AS room,
            CASE WHEN place < room THEN 0 ELSE 1 + (place - room) // ({longest} - {context}) END AS piece
        FROM targets
    )
    SELECT user_id, min(clock) AS clock, list(item_id ORDER BY clock) AS targets, list(clock ORDER BY clock) AS times,
        list(value ORDER BY clock) AS ratings, list({events}[kind + 1] ORDER BY clock) AS kinds
    FROM pieces GROUP BY user_id, run, piece ORDER BY user_id, clock
"""


def sequences(lookup: PointInTime) -> Iterator[Page]:
    """Every first touch before the training cut-off as a target of one sequence, a user's oldest first.

    A sequence has at most `max_history` entries, of which half at most are context: where a user's history is longer,
    a target is predicted from its newest entries.
    """
    longest = lookup.settings.max_history
    context = longest // 2
    touches = _TOUCHES.format(opens=as_us(lookup.cuts.validation_at))
    moments = _SEQUENCES.format(touches=touches, longest=longest, context=context, events=list(schema.EVENTS))
    for labels, features in lookup.look_up(SEQUENCE_MODEL, moments):
        yield _page(labels, features, context)


def _page(labels: pa.Table, features: Columns, context: int) -> Page:
    fields = TRAINING_TABLES["sequences"]
    following = {schema.HISTORY_ITEMS: "targets", schema.HISTORY_VALUES: "ratings", schema.HISTORY_EVENTS: "kinds"}
    known = {name: _newest(features, name, context) for name in following}
    return {
        schema.USER_ID: labels.column(schema.USER_ID),
        schema.ATTRIBUTES: features[schema.ATTRIBUTES],
        schema.N_CONTEXT: known[schema.HISTORY_ITEMS].lengths,
        schema.TARGET_TIMES: labels.column("times"),
        **{
            name: _joined(
                as_column(known[name], fields.field(name).type), as_column(labels[column], fields.field(name).type)
            )
            for name, column in following.items()
        },
    }


def _newest(features: Columns, name: str, n: int) -> Lists:
    entries = features[name]
    assert isinstance(entries, Lists), name
    return entries.last(n)


def _joined(before: pa.ListArray, after: pa.ListArray) -> pa.ListArray:
    """Row by row the entries of the one, then those of the other."""
    rows = np.concatenate([pc.list_parent_indices(lists).to_numpy().astype(np.int64) for lists in (before, after)])
    order = np.argsort(rows, kind="stable")
    flat = pa.concat_arrays([before.flatten(), after.flatten()]).take(pa.array(order))
    return pa.ListArray.from_arrays(
        pa.array(np.searchsorted(rows[order], np.arange(len(before) + 1)), pa.int32()), flat
    )
