"""Reader of kind "amazon-2014": the reviews, and perhaps the metadata, of one category of the 2014 release.

Source: McAuley et al. 2015, "Image-based recommendations on styles and substitutes" (the data's form).
"""

from __future__ import annotations

import pyarrow as pa

from core.settings.source import Amazon2014Source
from validation.raw.parts import TableMapping
from validation.raw.writer import RawWriter, field_sql
from validation.reading.lists import list_text_sql
from validation.sources.amazon import Release, read_release
from validation.sources.amazon import locate as locate
from validation.sources.mappings import category_sql

_PLAIN = {"item_id": "asin", "price": "price"}
_WORDS = {"title": "title", "description": "description", "brand": "brand"}
_RELEASE = Release(
    review=("reviewerID", "asin", "overall", "unixReviewTime", "summary", "reviewText"),
    item=("asin", "title", "description", "categories", "brand", "price"),
    user_id="reviewerID",
    item_id="asin",
    timestamp="unixReviewTime",
    rating="overall",
    headline="summary",
    text="reviewText",
    items=TableMapping(
        columns={
            **{name: field_sql(own) for name, own in _PLAIN.items()},
            **{name: list_text_sql(field_sql(own)) for name, own in _WORDS.items()},
            "category": category_sql(field_sql("categories"), pa.string()),
        },
        unreadable=True,
    ),
    python_literals=True,
)


def read(source: Amazon2014Source, writer: RawWriter) -> None:
    """Write a part for each file; see `read_release`."""
    read_release(source, writer, _RELEASE)
