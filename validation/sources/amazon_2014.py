"""Reader of kind "amazon-2014": the reviews, and perhaps the metadata, of one category of the 2014 release.

A review gives two rows: an interaction (event "rating") and, with its summary put before it, a feedback row.
Source: McAuley et al. 2015, "Image-based recommendations on styles and substitutes" (the data's form).
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from core.schema import TableName
from core.settings.source import Amazon2014Source, Amazon2023Source
from validation.errors import SourceError
from validation.formats.files import require_file, require_folder
from validation.formats.json_lines import json_names, object_type, write_json_lines
from validation.raw.parts import SOURCE_NUMBER, TableMapping
from validation.raw.writer import RawWriter, field_sql
from validation.reading.lists import list_text_sql
from validation.sources.mappings import category_sql, headed_text_sql, in_file_order, with_words

_REVIEW_FILES = ("reviews_*.json*", "*reviews*.json*", "*.json*")
_META_FILES = "meta_*.json*"
_REVIEW = ("reviewerID", "asin", "overall", "unixReviewTime", "summary", "reviewText")
_ITEM = ("asin", "title", "description", "categories", "brand", "price")


def locate(source: Amazon2014Source | Amazon2023Source) -> list[Path]:
    """The reviews file, and the metadata file if there is one; both releases name them alike.

    Raises:
        SourceError: there is no reviews file, or more than one.
    """
    if source.path.is_file():
        return [require_file(source.path)]
    folder = require_folder(source.path)
    meta = sorted(folder.glob(_META_FILES))
    for pattern in _REVIEW_FILES:
        found = [path for path in sorted(folder.glob(pattern)) if path not in meta]
        if len(found) == 1 and len(meta) <= 1:
            return [require_file(path) for path in (*found, *meta)]
        if found:
            break
    raise SourceError(
        "Cannot read source",
        got=f"files={sorted(path.name for path in folder.iterdir())}",
        expected="one reviews_*.json(l), and at most one meta_*.json(l), gzip or not",
        where=str(folder),
        do="Name the reviews file itself as the source's path",
    )


def read(source: Amazon2014Source, writer: RawWriter) -> None:
    """Write a part for each file.

    Raises:
        SourceError: a file is missing, empty, truncated or not JSON lines.
    """
    reviews, *metas = locate(source)
    for meta in metas:
        with writer.open_part("items", object_type(_ITEM, has_others=False), {"items": _items()}) as part:
            write_json_lines(meta, part, _ITEM, python_literals=True)
    both = both_tables(source, reviews, _interactions(), _feedback())
    with writer.open_part("reviews", object_type(_REVIEW, has_others=False), both) as part:
        write_json_lines(reviews, part, _REVIEW)


def both_tables(
    source: Amazon2014Source | Amazon2023Source, reviews: Path, interactions: TableMapping, feedback: TableMapping
) -> dict[TableName, TableMapping]:
    """What a review gives: a rating, and where it has words a feedback row; both releases alike.

    Where the settings say so, reviews without a time are in the order of their file.
    """
    time = interactions.columns["timestamp"]
    if source.no_time == "file_order" and time not in map(field_sql, json_names(reviews)):
        interactions, feedback = in_file_order(interactions), in_file_order(feedback)
    return {"interactions": interactions, "feedback": with_words(feedback, source)}


def _items() -> TableMapping:
    plain = {"item_id": "asin", "price": "price"}
    words = {"title": "title", "description": "description", "brand": "brand"}
    return TableMapping(
        columns={
            **{name: field_sql(own) for name, own in plain.items()},
            **{name: list_text_sql(field_sql(own)) for name, own in words.items()},
            "category": category_sql(field_sql("categories"), pa.string()),
        },
        unreadable=True,
    )


def _interactions() -> TableMapping:
    columns = {**_WHO, "event": "'rating'", "value": field_sql("overall"), "position": SOURCE_NUMBER}
    return TableMapping(columns=columns, unreadable=True)


def _feedback() -> TableMapping:
    text = headed_text_sql(field_sql("summary"), field_sql("reviewText"))
    return TableMapping(columns={**_WHO, "rating": field_sql("overall"), "text": text})


_WHO = {
    "user_id": field_sql("reviewerID"),
    "item_id": field_sql("asin"),
    "timestamp": field_sql("unixReviewTime"),
}
