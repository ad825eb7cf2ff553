"""Reader of kind "amazon-2023": the reviews, and perhaps the metadata, of one category of the 2023 release.

A review gives two rows, as in the 2014 release: an interaction (event "rating") and, with its title put before it, a
feedback row. An item is the parent product, so that all colours and sizes of it are one; images are not read.
Source: Hou et al. 2024, "Bridging Language and Items for Retrieval and Recommendation" (the data's form).
"""

from __future__ import annotations

import pyarrow as pa

from core.settings.source import Amazon2023Source
from validation.formats.json_lines import object_type, write_json_lines
from validation.raw.parts import SOURCE_NUMBER, TableMapping
from validation.raw.writer import RawWriter, field_sql
from validation.reading.lists import list_text_sql
from validation.sources.amazon_2014 import both_tables
from validation.sources.amazon_2014 import locate as locate  # both releases name their files alike
from validation.sources.mappings import category_sql, headed_text_sql

_REVIEW = (
    "user_id", "parent_asin", "asin", "rating", "title", "text", "timestamp", "helpful_vote", "verified_purchase",
)  # fmt: skip
_ITEM = ("parent_asin", "title", "features", "description", "main_category", "categories", "store", "price")
_NO_PRICE = "('', 'None', '—')"  # what the release writes where it knows no price


def read(source: Amazon2023Source, writer: RawWriter) -> None:
    """Write a part for each file.

    Raises:
        SourceError: a file is missing, empty, truncated or not JSON lines.
    """
    reviews, *metas = locate(source)
    for meta in metas:
        with writer.open_part("items", object_type(_ITEM, has_others=False), {"items": _items()}) as part:
            write_json_lines(meta, part, _ITEM)
    both = both_tables(source, reviews, _interactions(), _feedback())
    with writer.open_part("reviews", object_type(_REVIEW, has_others=False), both) as part:
        write_json_lines(reviews, part, _REVIEW)


def _items() -> TableMapping:
    words = (list_text_sql(field_sql(name), " ") for name in ("features", "description"))
    price = field_sql("price")
    return TableMapping(
        columns={
            "item_id": field_sql("parent_asin"),
            "title": field_sql("title"),
            "description": f"nullif(concat_ws(' ', {', '.join(words)}), '')",
            "category": f"coalesce({category_sql(field_sql('categories'), pa.string())}, {field_sql('main_category')})",
            "brand": field_sql("store"),
            "price": f"CASE WHEN {price} NOT IN {_NO_PRICE} THEN regexp_replace({price}, '^from ', '') END",
        },
        unreadable=True,
    )


def _interactions() -> TableMapping:
    columns = {**_WHO, "event": "'rating'", "value": field_sql("rating"), "position": SOURCE_NUMBER}
    return TableMapping(columns=columns, unreadable=True)


def _feedback() -> TableMapping:
    text = headed_text_sql(field_sql("title"), field_sql("text"))
    return TableMapping(columns={**_WHO, "rating": field_sql("rating"), "text": text})


_WHO = {
    "user_id": field_sql("user_id"),
    "item_id": field_sql("parent_asin"),
    "timestamp": field_sql("timestamp"),
}
