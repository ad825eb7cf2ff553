"""Reader of kind "recbole": atomic files, tab-separated with typed headers such as `user_id:token`.

Source: Zhao et al. 2021, "RecBole" (the files' form). A rating gives an interaction of event "rating"; rows without one
are purchases.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from core import schema
from core.schema import TableName
from core.settings.source import RecboleSource
from validation.errors import cannot_read, missing_time
from validation.formats.delimited import read_header, write_delimited
from validation.formats.files import require_file, require_folder
from validation.raw.parts import TableMapping
from validation.raw.writer import RawWriter, field_names
from validation.sources.mappings import Fields, attributes_sql, category_sql, in_file_order, map_columns, token_path_sql

_TABLES: dict[str, TableName] = {".inter": "interactions", ".user": "users", ".item": "items"}
_CATEGORIES = ("categories", "category", "class", "genre", "genres")
_ITEM_COLUMNS = ("item_id", "price", "brand", "description")


def locate(source: RecboleSource) -> list[Path]:
    """The .inter file, and the .user and .item files if there are any.

    Raises:
        SourceError: there is not exactly one .inter file.
    """
    folder = require_folder(source.path)
    found = [path for path in sorted(folder.iterdir()) if _ending(path) in _TABLES]
    endings = [_ending(path) for path in found]
    if endings.count(".inter") != 1 or len(endings) != len(set(endings)):
        raise cannot_read(
            got=f"files={[path.name for path in found]}",
            expected="one .inter file, at most one .user and one .item file, gzip or not",
            where=str(folder),
            do="Name the folder of one data set as the source's path",
        )
    return [require_file(path) for path in found]


def read(source: RecboleSource, writer: RawWriter) -> None:
    """Write a part for each file.

    Raises:
        SourceError: a file is missing, empty, truncated, or has no typed header.
    """
    for path in locate(source):
        table = _TABLES[_ending(path)]
        types = _types(source, path)
        kind = pa.struct([pa.field(name, pa.string()) for name in field_names(list(types))])
        with writer.open_part(table, kind, {table: _mapping(source, table, types)}) as part:
            write_delimited(path, "\t", part)


def check(source: RecboleSource) -> None:
    """Look at the headers alone.

    Raises:
        SourceError: as `read`, as far as that shows without the rows.
    """
    for path in locate(source):
        _types(source, path)


def _mapping(source: RecboleSource, table: TableName, types: dict[str, str]) -> TableMapping:
    fields = Fields.of_texts(list(types))
    if table == "items":
        return _item_mapping(source, fields, types)
    names = {"value": "rating"} if table == "interactions" else {}
    mapping = map_columns(table, fields, names, source, default_event="purchase", unreadable=True)
    return in_file_order(mapping) if table == "interactions" and schema.TIMESTAMP not in types else mapping


def _item_mapping(source: RecboleSource, fields: Fields, types: dict[str, str]) -> TableMapping:
    """Title from the first column of that name, category from the usual names, the rest as attributes."""
    title = next((name for name in types if "title" in name or name == "name"), None)
    category = next((name for name in _CATEGORIES if name in types), None)
    columns = {name: fields.expressions[name] for name in _ITEM_COLUMNS if name in types}
    if title:
        columns[schema.TITLE] = fields.expressions[title]
    if category:
        own = fields.expressions[category]
        is_words = types[category] == "token_seq"
        columns[schema.CATEGORY] = token_path_sql(own) if is_words else category_sql(own, pa.string())
    others = {name: name for name in types if name not in {title, category, *_ITEM_COLUMNS}}
    return TableMapping(columns=columns, attributes=attributes_sql(fields, others, source), unreadable=True)


def _types(source: RecboleSource, path: Path) -> dict[str, str]:
    """Column to its type, from the header."""
    header = read_header(path, "\t")
    needed = {"interactions": ("user_id", "item_id", "timestamp"), "users": ("user_id",), "items": ("item_id",)}
    types = dict(name.split(":", 1) for name in header if ":" in name)
    missing = [name for name in needed[_TABLES[_ending(path)]] if name not in types]
    if missing == [schema.TIMESTAMP]:
        if source.no_time == "refuse":
            raise missing_time("interactions", f"{path}:1", header, "Name it timestamp:float in the header")
        missing = []
    if missing or len(types) != len(header):
        raise cannot_read(
            got=f"header={header}",
            expected=f"typed names such as user_id:token, among them {', '.join(missing) or 'no untyped one'}",
            where=f"{path}:1",
            do="Check that the file is a RecBole atomic file",
        )
    return types


def _ending(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix
