"""The catalogue as of the training cut-off, with the text that the encoder reads of each item."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core import schema
from features.clean_tables import table_path
from features.counting.moments import as_us
from features.feast.definitions import CATALOGUE
from features.point_in_time.lookup import Page, PointInTime, page_of
from recommender.inputs.texts import item_text

_REVIEWS_PER_ITEM = 3


def catalogue(lookup: PointInTime, clean: Path) -> Iterator[Page]:
    """Every item, as of the training cut-off."""
    lookup.database.execute(
        "CREATE TABLE items AS SELECT *, file_row_number AS row_id FROM read_parquet($items, file_row_number = true)",
        {"items": str(table_path(clean, "items"))},
    )
    texts = _item_texts(lookup)
    clock = as_us(lookup.cuts.validation_at)
    moments = f"SELECT item_id, title, category, brand, price, {clock} AS clock FROM items ORDER BY row_id"
    start = 0
    for labels, features in lookup.look_up(CATALOGUE, moments):
        yield {**page_of(labels, features), schema.ITEM_TEXT: texts[start : start + len(labels)]}
        start += len(labels)


def _item_texts(lookup: PointInTime) -> list[str]:
    """What the encoder reads of each item: its longest reviews before the cut-off if it has no words of its own."""
    rows = lookup.database.execute(
        f"""
        WITH described AS (
            SELECT item_id, list(text ORDER BY length(text) DESC, clock, user_id)[:{_REVIEWS_PER_ITEM}] AS texts
            FROM reviews_at JOIN items USING (item_id)
            WHERE epoch_us(timestamp) < {as_us(lookup.cuts.validation_at)} AND title IS NULL AND description IS NULL
            GROUP BY item_id
        )
        SELECT title, brand, category, description, coalesce(texts, [])
        FROM items LEFT JOIN described USING (item_id) ORDER BY row_id
        """
    ).fetchall()
    return [
        item_text(title, brand, category, description, reviews, lookup.settings.max_item_chars)
        for title, brand, category, description, reviews in rows
    ]
