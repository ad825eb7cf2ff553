"""What the readers of the Amazon releases share: a file of reviews, and perhaps one of metadata, of one category.

A review gives two rows: an interaction (event "rating") and, with its headline put before it, a feedback row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.schema import TableName
from core.settings.source import Amazon2014Source, Amazon2023Source
from validation.errors import cannot_read
from validation.formats.files import require_file, require_folder
from validation.formats.json_lines import json_names, object_type, write_json_lines
from validation.raw.parts import SOURCE_NUMBER, TableMapping
from validation.raw.writer import RawWriter, field_sql
from validation.sources.mappings import headed_text_sql, in_file_order, with_words

_REVIEW_FILES = ("reviews_*.json*", "*reviews*.json*", "*.json*")
_META_FILES = "meta_*.json*"


@dataclass(frozen=True)
class Release:
    """How a release writes its reviews and items.

    Attributes:
        review, item: Keys that are read.
        user_id, item_id, timestamp, rating, headline, text: Keys of a review.
        items: How metadata read as items.
        python_literals: Metadata may be Python literals in place of JSON.
    """

    review: tuple[str, ...]
    item: tuple[str, ...]
    user_id: str
    item_id: str
    timestamp: str
    rating: str
    headline: str
    text: str
    items: TableMapping
    python_literals: bool = False


def locate(source: Amazon2014Source | Amazon2023Source) -> list[Path]:
    """The reviews file, and the metadata file if there is one; the releases name them alike.

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
    raise cannot_read(
        f"files={sorted(path.name for path in folder.iterdir())}",
        "one reviews_*.json(l), and at most one meta_*.json(l), gzip or not",
        where=str(folder),
        do="Name the reviews file itself as the source's path",
    )


def read_release(source: Amazon2014Source | Amazon2023Source, writer: RawWriter, release: Release) -> None:
    """Write a part for each file.

    Raises:
        SourceError: a file is missing, empty, truncated or not JSON lines.
    """
    reviews, *metas = locate(source)
    for meta in metas:
        with writer.open_part("items", object_type(release.item, has_others=False), {"items": release.items}) as part:
            write_json_lines(meta, part, release.item, python_literals=release.python_literals)
    tables = _review_tables(source, reviews, release)
    with writer.open_part("reviews", object_type(release.review, has_others=False), tables) as part:
        write_json_lines(reviews, part, release.review)


def _review_tables(
    source: Amazon2014Source | Amazon2023Source, reviews: Path, release: Release
) -> dict[TableName, TableMapping]:
    """A review as a rating and, where it has a text, as feedback; without times in file order, if settings say so."""
    who = {name: field_sql(getattr(release, name)) for name in ("user_id", "item_id", "timestamp")}
    rating = field_sql(release.rating)
    text = headed_text_sql(field_sql(release.headline), field_sql(release.text))
    interactions = TableMapping(
        columns={**who, "event": "'rating'", "value": rating, "position": SOURCE_NUMBER}, unreadable=True
    )
    feedback = TableMapping(columns={**who, "rating": rating, "text": text})
    if source.no_time == "file_order" and release.timestamp not in json_names(reviews):
        interactions, feedback = in_file_order(interactions), in_file_order(feedback)
    return {"interactions": interactions, "feedback": with_words(feedback, source)}
