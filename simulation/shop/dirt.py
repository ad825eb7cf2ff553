"""Rows broken on purpose, as real logs break: each kind of dirt that validation has to find."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from core.schema import TableName

Values = dict[str, Any]

_DIRT: dict[TableName, tuple[str, ...]] = {
    "users": ("unparsable signup", "twice"),
    "items": ("negative price", "entities", "twice"),
    "interactions": (
        "no item", "no user", "unknown item", "future date", "unparsable date", "wishlist", "worded rating",
        "huge rating", "twice",
    ),
    "feedback": ("empty review", "entities", "worded rating", "unknown item", "twice"),
}  # fmt: skip


def soil(table: TableName, values: Values, rng: np.random.Generator) -> list[Values]:
    """Break a row in one of its table's ways.

    Returns:
        The rows to write instead: one, or two where the dirt is that a row comes twice.
    """
    kinds = _DIRT[table]
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "twice":
        return [values, values]
    return [{**values, **_break(kind, table, values)}]


def _break(kind: str, table: TableName, values: Values) -> Values:
    match kind:
        case "no item":
            return {"item_id": None}
        case "no user":
            return {"user_id": ""}
        case "unknown item":
            return {"item_id": "i-gone"}
        case "future date":
            return {"timestamp": values["timestamp"].replace(year=2199)}
        case "unparsable date":
            return {"timestamp": "31/31/25"}
        case "unparsable signup":
            return {"signup_at": "last spring"}
        case "wishlist":
            return {"event": "wishlist"}
        case "worded rating":
            return {"rating": "Like"} if table == "feedback" else {"event": "rating", "value": "Like"}
        case "huge rating":
            return {"event": "rating", "value": 9}
        case "negative price":
            return {"price": -1.0}
        case "empty review":
            return {"text": "  "}
        case _:  # entities: a source that escapes its texts; validation undoes it, the row is good
            name = "description" if table == "items" else "text"
            return {name: html.escape(f'"{values[name]}" & more')}
