"""Rows of the online store: two texts per entity and view, and what decides which of two rows is newer.

Feast stores one value per feature: thirty rows to write and thirty protobufs to parse for one user. Here a view's row
is one JSON text that Python parses in some ten microseconds, or one block of bytes where its lists may be long; and
what only merging needs is a second text beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, repeat
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from features.counting.columns import Columns, Lists
from features.counting.moments import as_moment
from features.counting.packing import pack, unpack
from features.counting.sketches import Row
from features.counting.streams import Array
from features.counting.views import COUNTS, FACTS, NEWEST, PACKED, SEQUENCE, SERVED, SKETCHES, USER_PROFILE

T = TypeVar("T")

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


@dataclass(frozen=True)
class StoredRow:
    """A row as the store keeps it.

    Attributes:
        entity: The id.
        served: JSON list of the facts that requests read, in the view's order; bytes of a packed view.
        sketch: JSON list of those that only merging needs.
        newest_us: When its newest event happened.
        n_events: Events it was made of, of every kind.
        sequence: The newest number in the event log among them.
    """

    entity: str
    served: str | bytes
    sketch: str
    newest_us: int
    n_events: int
    sequence: int

    @classmethod
    def of(cls, view: str, entity: str, row: Row) -> StoredRow:
        """From facts by name."""
        return cls(
            entity,
            _dump_served(view, [row[name] for name in SERVED[view]]),
            _dump([row[name] for name in SKETCHES[view]]),
            *_version(view, row),
        )

    def facts(self, view: str) -> Row:
        """Facts by name."""
        row = parse_row(view, self.served, self.sketch)
        if view in SEQUENCE:
            row[SEQUENCE[view]] = self.sequence
        return row


# Makes an entity's new row from its old one, None for an entity without; None leaves it as it is. The number is that
# up to which the event log is settled: an entity without a row then has none of its events.
Merge = Callable[[str, StoredRow | None, int], StoredRow | None]


def supersedes(new: StoredRow, stored: StoredRow, as_of_past: bool = False) -> bool:
    """Whether a row of the offline store may replace a stored one.

    It may if it holds all events that were pushed into the stored one. Where the event log's numbers do not show that,
    and of a row as of some past moment they do not, the row with the newer event is newer, and of two with the same
    newest event the one with more events.
    """
    if new.sequence >= stored.sequence and not as_of_past:
        return True
    return (new.newest_us, new.n_events) >= (stored.newest_us, stored.n_events)


def newer_of(new: StoredRow, old: StoredRow | None, as_of_past: bool = False) -> StoredRow | None:
    """What to write where `old` is stored, if anything; a row's number in the event log never goes back."""
    if old is None:
        return new
    return replace(new, sequence=max(new.sequence, old.sequence)) if supersedes(new, old, as_of_past) else None


def in_pages(things: Iterable[T], n: int) -> Iterator[list[T]]:
    """Lists of `n`, the last one shorter."""
    rest = iter(things)
    while page := list(islice(rest, n)):
        yield page


def parse_row(view: str, served: str | bytes, sketch: str | None = None) -> Row:
    """Facts by name; without `sketch` those alone that requests read."""
    if view in PACKED:
        assert isinstance(served, bytes), view
        return _unpack(view, served)
    row = dict(zip(SERVED[view], json.loads(served), strict=True))
    if sketch is not None:
        row |= zip(SKETCHES[view], json.loads(sketch), strict=True)
    return row


def packed_lists(view: str, served: bytes) -> Array:
    """The lists of a packed view's row, as they lie in its bytes. Shape (lists, length)."""
    numbers, lists = PACKED[view]
    return unpack(served, len(numbers), len(lists))[1]


def rows_of(view: str, entities: Sequence[str], columns: Columns) -> Iterator[StoredRow]:
    """Rows from columns of all facts of the view, one after the other.

    No more than a row's lists exist at once: a million of them keep Python's garbage collector busy for longer than
    all the rest takes.
    """
    served = zip(*(_cells(columns[name]) for name in SERVED[view]), strict=True)
    sketches: Iterable[tuple[Any, ...]] = zip(*(_cells(columns[name]) for name in SKETCHES[view]), strict=True)
    if not SKETCHES[view]:
        sketches = repeat((), len(entities))
    versions = _versions(view, columns, len(entities))
    for entity, cells, sketch, version in zip(entities, served, sketches, versions, strict=True):
        yield StoredRow(entity, _dump_served(view, cells), _dump(sketch), *version)


def rows_from_feast(view: str, data: Sequence[tuple[Any, Mapping[str, Any], datetime, Any]]) -> list[StoredRow]:
    """Rows from what Feast gives its online stores to write."""
    return [
        StoredRow.of(
            view,
            entity_of(key),
            {name: _from_proto(values.get(name), type_) for name, type_ in FACTS[view].items()},
        )
        for key, values, _, _ in data
    ]


def row_for_feast(
    view: str, row: StoredRow | None, wanted: Sequence[str] | None
) -> tuple[datetime | None, dict[str, Any] | None]:
    """What Feast wants to read of a row."""
    if row is None:
        return None, None
    facts = row.facts(view)
    names = wanted or list(FACTS[view])
    return (
        as_moment(row.newest_us),
        {name: _to_proto(facts[name], FACTS[view][name]) for name in names},
    )


def entity_of(key: Any) -> str:
    """The id in one of Feast's entity keys."""
    return str(key.entity_values[0].string_val)


def _dump(cells: Sequence[Any]) -> str:
    return _ENCODER.encode(cells)


def _dump_served(view: str, cells: Sequence[Any]) -> str | bytes:
    if view not in PACKED:
        return _dump(cells)
    n_numbers = len(PACKED[view][0])
    return pack(cells[:n_numbers], cells[n_numbers:])


def _unpack(view: str, served: bytes) -> Row:
    numbers, lists = PACKED[view]
    found_numbers, found_lists = unpack(served, len(numbers), len(lists))
    return {
        **dict(zip(numbers, found_numbers.tolist(), strict=True)),
        **dict(zip(lists, found_lists.tolist(), strict=True)),
    }


def _cells(column: Any) -> Iterable[Any]:
    """A column as plain Python values, one per row."""
    if isinstance(column, Lists):
        flat: list[Any] = column.values.tolist()
        if column.names is not None:
            flat = column.names.take(pa.array(column.values)).to_pylist()
        starts = column.starts.tolist()
        return (flat[start : start + n] for start, n in zip(starts, column.lengths.tolist(), strict=True))
    values: list[Any] = column.to_pylist() if isinstance(column, pa.Array) else column.tolist()
    return values


def _versions(view: str, columns: Columns, n: int) -> Iterator[tuple[int, int, int]]:
    if view == USER_PROFILE:
        return iter([(0, 0, 0)] * n)
    counts = np.sum([np.asarray(columns[name]) for name in COUNTS[view]], axis=0).tolist()
    newest, sequence = np.asarray(columns[NEWEST[view]]).tolist(), np.asarray(columns[SEQUENCE[view]]).tolist()
    return zip(newest, counts, sequence, strict=True)


def _version(view: str, row: Row) -> tuple[int, int, int]:
    if view == USER_PROFILE:
        return 0, 0, 0
    n_events = sum(row[name] or 0 for name in COUNTS[view])
    return row[NEWEST[view]] or 0, n_events, row[SEQUENCE[view]] or 0


_SCALARS = {pa.int64(): "int64_val", pa.float64(): "double_val", pa.string(): "string_val"}
_LISTS = {
    pa.list_(pa.int64()): "int64_list_val",
    pa.list_(pa.float64()): "double_list_val",
    pa.list_(pa.string()): "string_list_val",
}


def _from_proto(value: Any, type_: pa.DataType) -> Any:
    if type_ in _LISTS:
        field = _LISTS[type_]
        return list(getattr(value, field).val) if value is not None and value.HasField(field) else []
    field = _SCALARS[type_]
    if value is None or not value.HasField(field):
        return 0 if type_ == pa.int64() else None
    return getattr(value, field)


def _to_proto(value: Any, type_: pa.DataType) -> Any:
    from feast.protos.feast.types import Value_pb2

    if value is None:
        return Value_pb2.Value()
    if type_ in _LISTS:
        found = Value_pb2.Value()
        # An empty list is a value too: the field has to be there.
        getattr(found, _LISTS[type_]).SetInParent()
        getattr(found, _LISTS[type_]).val.extend(value)
        return found
    return Value_pb2.Value(**{_SCALARS[type_]: value})
