"""The tables of labels: queries to evaluate a ranking with, rated pairs, and reviews."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow.compute as pc

from core import schema
from core.schema import TRAINING_TABLES
from core.sql import literal
from features.counting.seen import seen_then, unseen
from features.counting.views import ITEM_TIMESTAMP
from features.feast.definitions import FEEDBACK_WRITER, PAIR_SCORER, RANKING_QUERIES
from features.point_in_time.lookup import Page, PointInTime, as_column, page_of
from features.point_in_time.windows import query_windows

# What came later stands in no text as of the cut-off, and serving leaves no words out.
_TEXT_BY_OTHERS = "CASE WHEN split = 'train' THEN own.item_text END AS item_text"


def queries(lookup: PointInTime, wanted: Sequence[schema.Window]) -> Iterator[Page]:
    """One row per window and user who chose something in it that they had not seen when it opened.

    What is seen is what serving would mask at that moment, so every target could have been recommended.

    Args:
        wanted: The windows that are asked for; with `validation_late`, the targets of validation before it are counted.
    """
    windows = query_windows(lookup, wanted)
    half = windows["validation_late"][0] if "validation_late" in windows else None
    parts = [
        f"""
        SELECT {literal(window)} AS split, user_id, {opens} AS clock, list(item_id ORDER BY first) AS targets,
            {_early(half if window == "validation" else None)}
        FROM (
            SELECT user_id, item_id, min(clock) AS first, min(us) AS us FROM events
            WHERE us >= {opens} AND us < {closes} GROUP BY user_id, item_id
        )
        GROUP BY user_id
        """
        for window, (opens, closes) in windows.items()
    ]
    moments = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY clock, user_id"
    for labels, features in lookup.look_up(RANKING_QUERIES, moments):
        page = page_of(labels, features)
        seen = page[schema.SEEN_KEYS] = seen_then(labels, features, lookup.settings.seen.within_days)
        page[schema.TARGETS] = unseen(labels.column(schema.TARGETS).combine_chunks(), seen)
        n_early = pc.list_value_length(unseen(labels.column("early").combine_chunks(), seen))
        page[schema.N_EARLY_TARGETS] = pc.if_else(labels.column("has_halves").combine_chunks(), n_early, None)
        kept = pc.greater(pc.list_value_length(page[schema.TARGETS]), 0)
        yield {field.name: as_column(page[field.name], field.type).filter(kept) for field in TRAINING_TABLES["queries"]}


def _early(half: int | None) -> str:
    """The columns of what was touched before the later half, and of whether there is one."""
    if half is None:
        return "CAST([] AS VARCHAR[]) AS early, false AS has_halves"
    return f"coalesce(list(item_id ORDER BY first) FILTER (us < {half}), []) AS early, true AS has_halves"


def pairs(lookup: PointInTime) -> Iterator[Page]:
    """One row per rating, with every feature as it stood just before it; a user's together: they share their events.

    Of one instant, a user's own events are known in their order, those of others not at all: which of them came first
    nobody can say, and where a shop has dates alone, they are a whole day.
    """
    moments = f"""
        SELECT user_id, item_id, value AS rating, split_of(us) AS split, {_TEXT_BY_OTHERS}, clock,
            make_timestamp(us - 1) AS {ITEM_TIMESTAMP}
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
