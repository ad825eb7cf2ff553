"""Reader of kind "amazon-2023": the reviews, and perhaps the metadata, of one category of the 2023 release.

An item is the parent product, so that all colours and sizes of it are one; images are not read.
Source: Hou et al. 2024, "Bridging Language and Items for Retrieval and Recommendation" (the data's form).
"""

from __future__ import annotations

import pyarrow as pa

from core.settings.source import Amazon2023Source
from validation.raw.parts import TableMapping
from validation.raw.writer import RawWriter, field_sql
from validation.reading.lists import list_text_sql
from validation.sources.amazon import Release, read_release
from validation.sources.amazon import locate as locate
from validation.sources.mappings import category_sql

_REVIEW = (
    "user_id", "parent_asin", "asin", "rating", "title", "text", "timestamp", "helpful_vote", "verified_purchase",
)  # fmt: skip
_ITEM = ("parent_asin", "title", "features", "description", "main_category", "categories", "store", "price")
_NO_PRICE = "('', 'None', '—')"  # what the release writes for an unknown price
_DESCRIPTION = ", ".join(list_text_sql(field_sql(name), " ") for name in ("features", "description"))
_PRICE = field_sql("price")
_RELEASE = Release(
    review=_REVIEW,
    item=_ITEM,
    user_id="user_id",
    item_id="parent_asin",
    timestamp="timestamp",
    rating="rating",
    headline="title",
    text="text",
    items=TableMapping(
        columns={
            "item_id": field_sql("parent_asin"),
            "title": field_sql("title"),
            "description": f"nullif(concat_ws(' ', {_DESCRIPTION}), '')",
            "category": f"coalesce({category_sql(field_sql('categories'), pa.string())}, {field_sql('main_category')})",
            "brand": field_sql("store"),
            "price": f"CASE WHEN {_PRICE} NOT IN {_NO_PRICE} THEN regexp_replace({_PRICE}, '^from ', '') END",
        },
        unreadable=True,
    ),
)


def read(source: Amazon2023Source, writer: RawWriter) -> None:
    """Write a part for each file; see `read_release`."""
    read_release(source, writer, _RELEASE)
