"""Columns that rules need beside the contract's, as SQL."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from core import schema
from core.events import RATING_EVENT
from core.schema import TABLES, TableName

NEARLY_EMPTY_FROM = 3  # columns given by the source; with fewer, no row counts as nearly empty
_LETTER = "[A-Za-z\\x{00aa}-\\x{024f}\\x{0370}-\\x{1fff}\\x{2c00}-\\x{d7ff}\\x{f900}-\\x{ffdc}]"


def own_columns(table: TableName, mapped: Collection[str]) -> list[str]:
    """The columns of an event or a review that say something of their own, if the source gives them."""
    if table not in ("interactions", "feedback"):
        return []
    names = (schema.USER_ID, schema.ITEM_ID, schema.VALUE, schema.RATING, schema.TEXT, schema.TIMESTAMP)
    return [name for name in names if name in mapped and name in TABLES[table].arrow().names]


def derived_columns(table: TableName, mapped: Collection[str]) -> dict[str, str]:
    """Columns that rules need beside the contract's: name to SQL over a repaired row."""
    columns = {
        f"{column.name}_read": f"CASE WHEN readable AND {column.name}_unread IS NULL THEN true END"
        for column in TABLES[table].columns
        if column.type != pa.string()
    }
    if table == "items":
        columns |= {f"{name}_folded": f"lower({name})" for name in (schema.TITLE, schema.BRAND, schema.CATEGORY)}
    own = own_columns(table, mapped)
    if len(own) >= NEARLY_EMPTY_FROM:
        unread = {column.name for column in TABLES[table].columns if column.type != pa.string()}
        given = (f"{name} IS NOT NULL" + (f" OR {name}_unread IS NOT NULL" if name in unread else "") for name in own)
        counted = " + ".join(f"CAST({one} AS TINYINT)" for one in given)
        columns["given_columns"] = f"CASE WHEN readable THEN {counted} END"
    if table in ("interactions", "feedback"):
        columns["timestamp_s"] = "epoch_us(timestamp) / 1e6"
    if table == "interactions":
        rating = f"event = '{RATING_EVENT}'"
        columns["is_rating_read"] = f"CASE WHEN {rating} AND value_unread IS NULL THEN true END"
        columns["value_of_rating"] = f"CASE WHEN {rating} THEN value END"
        columns["value_elsewhere"] = f"CASE WHEN event <> '{RATING_EVENT}' THEN value END"
    if table == "feedback":
        columns["text_chars"] = "length(text)"
        letters = f"length(regexp_replace(text, '[^{_LETTER[1:]}', '', 'g'))"
        columns["letters_share"] = f"{letters} / greatest(1, length(regexp_replace(text, '\\s', '', 'g')))"
    return columns
