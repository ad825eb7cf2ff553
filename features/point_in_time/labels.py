"""The tables of labels: queries to evaluate a ranking with, rated pairs, and reviews."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow.compute as pc

from core import schema
from core.schema import TRAINING_TABLES
from core.sql import literal
from features.counting.moments import as_us
from features.counting.seen import seen_then, unseen
from features.feast.definitions import FEEDBACK_WRITER, PAIR_SCORER, RANKING_QUERIES
from features.point_in_time.lookup import Page, PointInTime, as_column, page_of

# What came later stands in no text as of the cut-off, and serving leaves no words out.
_TEXT_BY_OTHERS = "CASE WHEN split = 'train' THEN own.item_text END AS item_text"


def queries(lookup: PointInTime, splits: Sequence[schema.Split]) -> Iterator[Page]:
    """One row per window and user who chose something in it that they had not seen when it opened.

    What is seen is what serving would mask at that moment, so every target could have been recommended.

    Args:
        splits: Of validation and test, whose windows are asked for.
    """
    windows: dict[schema.Split, tuple[int, int]] = {
        "validation": (as_us(lookup.cuts.validation_at), as_us(lookup.cuts.test_at)),
        "test": (as_us(lookup.cuts.test_at), 1 << 62),
    }
    parts = [
        f"""
        SELECT {literal(split)} AS split, user_id, {opens} AS clock, list(item_id ORDER BY first) AS targets
        FROM (
            SELECT user_id, item_id, min(clock) AS first FROM events
            WHERE us >= {opens} AND us < {closes} GROUP BY user_id, item_id
        )
        GROUP BY user_id
        """
        for split, (opens, closes) in ((split, windows[split]) for split in splits)
    ]
    moments = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY clock, user_id"
    for labels, features in lookup.look_up(RANKING_QUERIES, moments):
        page = page_of(labels, features)
        page[schema.SEEN_KEYS] = seen_then(labels, features, lookup.settings.seen.within_days)
        page[schema.TARGETS] = unseen(labels.column(schema.TARGETS).combine_chunks(), page[schema.SEEN_KEYS])
        kept = pc.greater(pc.list_value_length(page[schema.TARGETS]), 0)
        yield {field.name: as_column(page[field.name], field.type).filter(kept) for field in TRAINING_TABLES["queries"]}


def pairs(lookup: PointInTime) -> Iterator[Page]:
    """One row per rating, with every feature as it stood just before it; a user's together: they share their events."""
    moments = f"""
        SELECT user_id, item_id, value AS rating, split_of(us) AS split, {_TEXT_BY_OTHERS}, clock
        FROM events LEFT JOIN texts_by_others AS own USING (user_id, item_id)
        WHERE value IS NOT NULL ORDER BY user_id, clock
    """
    return (page_of(*page) for page in lookup.look_up(PAIR_SCORER, moments))


def reviews(lookup: PointInTime) -> Iterator[Page]:
    """One row per review, with the writer's profile as it stood just before it."""
    moments = f"""
        SELECT user_id, item_id, rating, text, split_of(epoch_us(timestamp)) AS split, {_TEXT_BY_OTHERS}, clock
        FROM reviews_at LEFT JOIN texts_by_others AS own USING (user_id, item_id)
        ORDER BY clock, user_id, item_id, timestamp
    """
    return (page_of(*page) for page in lookup.look_up(FEEDBACK_WRITER, moments))
