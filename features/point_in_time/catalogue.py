"""The catalogue as of the training cut-off, with the text that the encoder reads of each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.sql import literal
from features.clean_tables import table_path
from features.counting.moments import as_us
from features.feast.definitions import CATALOGUE
from features.point_in_time.lookup import Page, PointInTime, page_of
from features.point_in_time.windows import query_windows
from recommender.inputs.texts import item_text

_REVIEWS_PER_ITEM = 3
_NAMES = ("title", "brand", "category", "description")
# The reviews before the cut-off of items without words of their own, the longest first: those that stand for a text.
_REVIEWS = """
    SELECT item_id, user_id, text,
        row_number() OVER (PARTITION BY item_id ORDER BY length(text) DESC, clock, user_id) AS place
    FROM reviews_at JOIN items USING (item_id)
    WHERE epoch_us(timestamp) < {opens} AND title IS NULL AND description IS NULL
"""
# Per user whom a text quotes, those that would stand for it without any of theirs.
_BY_OTHERS = """
    WITH by_others AS (
        SELECT quoted.item_id, quoted.user_id, text, place
        FROM (SELECT DISTINCT item_id, user_id FROM reviews WHERE place <= {n}) AS quoted
            LEFT JOIN reviews ON reviews.item_id = quoted.item_id AND reviews.user_id <> quoted.user_id
        QUALIFY row_number() OVER (PARTITION BY quoted.item_id, quoted.user_id ORDER BY place) <= {n}
    )
    SELECT user_id, item_id, {names}, texts
    FROM (
        SELECT user_id, item_id, list(text ORDER BY place) FILTER (WHERE text IS NOT NULL) AS texts
        FROM by_others GROUP BY user_id, item_id
    ) JOIN items USING (item_id) ORDER BY item_id, user_id
"""


def describe_items(lookup: PointInTime, clean: Path) -> None:
    """Make the items known to the database, with what their texts are made of as of the training cut-off.

    `items` is the catalogue, `reviews` the reviews that may stand for an item's text. `texts_by_others` has the text of
    each item once more for each user whom it quotes, without their words: nobody's rating or review is to be predicted
    from their own review.
    """
    database, max_chars = lookup.database, lookup.settings.max_item_chars
    items = pq.read_table(table_path(clean, "items"))
    contract = [name for name in schema.TABLES["items"].arrow().names if name in items.column_names]
    own = items.drop_columns(contract)
    # Apart from the contract's, whose names are known: a shop may call a column of its own as a query calls its.
    described = items.select(contract).append_column("row_id", pa.array(range(len(items)), pa.int64()))
    database.register("described_items", described)
    database.execute("CREATE TABLE items AS SELECT * FROM described_items")
    database.unregister("described_items")
    database.register("own_attributes", pa.table({schema.ITEM_ATTRIBUTES: _own_attributes(own, len(items))}))
    database.execute(f"CREATE TABLE reviews AS {_REVIEWS.format(opens=as_us(lookup.cuts.validation_at))}")
    names = ", ".join(_NAMES)
    rows = database.execute(_BY_OTHERS.format(n=_REVIEWS_PER_ITEM, names=names)).fetchall()
    texts = [
        item_text(title, brand, category, description, reviews or [], max_chars)
        for _, _, title, brand, category, description, reviews in rows
    ]
    columns = {schema.USER_ID: [row[0] for row in rows], schema.ITEM_ID: [row[1] for row in rows]}
    others = {name: pa.array(values, pa.string()) for name, values in (columns | {schema.ITEM_TEXT: texts}).items()}
    database.register("texts_by_others", pa.table(others))


def catalogue(lookup: PointInTime) -> Iterator[Page]:
    """Every item, as of the training cut-off."""
    texts = _item_texts(lookup)
    attributes = lookup.database.sql("SELECT * FROM own_attributes").to_arrow_table().column(0).combine_chunks()
    clock = as_us(lookup.cuts.validation_at)
    moments = f"SELECT item_id, title, category, brand, price, {clock} AS clock FROM items ORDER BY row_id"
    start = 0
    for labels, features in lookup.look_up(CATALOGUE, moments):
        page = slice(start, start + len(labels))
        yield {
            **page_of(labels, features),
            schema.ITEM_TEXT: texts[page],
            schema.ITEM_ATTRIBUTES: attributes.slice(start, len(labels)),
        }
        start += len(labels)


def items_then(lookup: PointInTime, wanted: Sequence[schema.Window]) -> Iterator[Page]:
    """Every item of the catalogue as each of the wanted windows opens; `describe_items` comes before it."""
    parts = [
        f"SELECT {literal(window)} AS split, item_id, row_id, {opens} AS clock FROM items"
        for window, (opens, _) in query_windows(lookup, wanted).items()
    ]
    moments = f"SELECT * EXCLUDE (row_id) FROM ({' UNION ALL '.join(parts)}) ORDER BY clock, row_id"
    return (page_of(*page) for page in lookup.look_up(CATALOGUE, moments))


def _own_attributes(own: pa.Table, n_items: int) -> pa.Array:
    """The further columns that the shop's items table carries, those that an item has a value of: a map per item."""
    columns = own.to_pydict()
    rows = zip(*columns.values(), strict=True) if columns else [()] * n_items
    found = [
        [(name, str(value)) for name, value in zip(columns, row, strict=True) if value is not None] or None
        for row in rows
    ]
    return pa.array(found, pa.map_(pa.string(), pa.string()))


def _item_texts(lookup: PointInTime) -> list[str]:
    """What the encoder reads of each item: its longest reviews before the cut-off if it has no words of its own."""
    rows = lookup.database.execute(
        f"""
        WITH described AS (
            SELECT item_id, list(text ORDER BY place) AS texts FROM reviews
            WHERE place <= {_REVIEWS_PER_ITEM} GROUP BY item_id
        )
        SELECT {", ".join(_NAMES)}, coalesce(texts, [])
        FROM items LEFT JOIN described USING (item_id) ORDER BY row_id
        """
    ).fetchall()
    return [
        item_text(title, brand, category, description, reviews, lookup.settings.max_item_chars)
        for title, brand, category, description, reviews in rows
    ]
