"""The rows of quarantine as files: how many break which rule, some of them, and what the rules say.

```
<shop>/clean/<key>/quarantine/interactions.parquet   one file per table, a row of the source in each row
<shop>/clean/<key>/quarantine/note.json              when they were read, and what the rules say that they break
```
The data gate writes them (`validation.quarantine`); whoever only looks needs nothing of the gate.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from core.errors import SommelierError
from core.layout import Layout
from core.schema import TABLE_NAMES, TableName
from core.storage import write_json

QUARANTINE = "quarantine"
_NOTE_FILE = "note.json"
_READ = ["rules", "source_file", "source_number", "source_row", "values", "attributes"]
_BATCH_ROWS = 1024


class QuarantineError(SommelierError):
    """There is no quarantine to look into, or a file of it cannot be read."""


@dataclass(frozen=True)
class QuarantinedRow:
    """One row of quarantine.

    Attributes:
        rules: Those that it breaks.
        source_file, source_number: Where it stood.
        values: Contract column to text, as it was mapped.
        attributes: Further columns of a user or an item.
        source_row: As it was read: the row's own text, or its columns as JSON; empty where nobody asked for it.
    """

    table: TableName
    rules: tuple[str, ...]
    source_file: str
    source_number: int
    values: Mapping[str, str | None]
    attributes: Mapping[str, str | None]
    source_row: str = ""


class RuleWords(BaseModel):
    """What a rule says.

    Attributes:
        column: Of the contract, that it is about; "" for the row as a whole.
        expectation: The Great Expectations class that the Data Docs name.
        why: One sentence of what holds for good rows.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    column: str
    expectation: str
    why: str


class Note(BaseModel):
    """What is written beside the rows.

    Attributes:
        read_at: When they were read from the source; None where an earlier release wrote them.
        rules: That send rows to quarantine, by table.
    """

    model_config = ConfigDict(frozen=True)

    read_at: datetime | None = None
    rules: dict[TableName, tuple[RuleWords, ...]] = {}

    def words_of(self, table: TableName, rule: str) -> RuleWords | None:
        """What a rule says; None where nobody wrote it down."""
        return next((one for one in self.rules.get(table, ()) if one.name == rule), None)


class _TableCounts(BaseModel):
    rows_in: int
    rows_quarantined: int


class Validated(BaseModel):
    """The newest validation, as far as its quarantine needs it.

    Attributes:
        folder: Of the clean tables.
        docs: First page of the Data Docs.
        tables: Rows of the source, and those of them in quarantine.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    docs: Path
    tables: dict[TableName, _TableCounts]

    @property
    def key(self) -> str:
        """Of the validation: the name of its folder."""
        return self.folder.name


@dataclass(frozen=True)
class Page:
    """Some rows, and where the next ones begin.

    Attributes:
        next: To be given as `after`; None behind the last row.
    """

    rows: tuple[QuarantinedRow, ...]
    next: str | None


def newest_validation(layout: Layout) -> Validated:
    """The newest validation of a shop, whose quarantine is there.

    Raises:
        QuarantineError: nothing was validated yet, or what was is gone, as after a person of it was forgotten.
    """
    try:
        found = Validated.model_validate_json(layout.last_validation.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        found = None
    # By its key: the work folder may lie elsewhere here than for the flow that wrote it.
    if found is None or not (layout.clean(found.key) / QUARANTINE).is_dir():
        raise QuarantineError(
            "Cannot look into the quarantine",
            got=f"shop={layout.shop}",
            expected="a shop whose data were validated, and not removed since",
            do="Run the pipeline: sommelier run pipeline",
        )
    return found


def write_note(folder: Path, note: Note) -> None:
    """Write a note into the folder of a quarantine."""
    write_json(folder / _NOTE_FILE, note.model_dump(mode="json"))


def read_note(folder: Path) -> Note:
    """The note of a quarantine; an empty one where an earlier release wrote it."""
    try:
        return Note.model_validate_json((folder / _NOTE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Note()


def count_rows(folder: Path) -> list[tuple[TableName, str, int]]:
    """Rows per table and rule, the most frequent first; a row that breaks several counts for each.

    Raises:
        QuarantineError: a file cannot be read, or its rows were removed.
    """
    counted: Counter[tuple[TableName, str]] = Counter()
    for table in TABLE_NAMES:
        for one in pc.value_counts(pc.list_flatten(_rules(folder, table))).to_pylist():
            counted[table, one["values"]] = one["counts"]
    return [(table, rule, rows) for (table, rule), rows in counted.most_common()]


def count_matching(folder: Path, table: TableName | None, rule: str | None) -> int:
    """How many rows are of a table and break a rule; None: of any.

    Raises:
        QuarantineError: as of `count_rows`.
    """
    return sum(len(_places(folder, one, rule)) for one in _tables(table))


def read_page(
    folder: Path,
    table: TableName | None,
    rule: str | None,
    after: str | None,
    limit: int,
    is_kept_back: Callable[[QuarantinedRow], bool],
) -> Page:
    """Some rows, in the order of the tables and of the source.

    Args:
        folder: Of the quarantine.
        table, rule: Only rows of this table, which break this rule.
        after: `next` of the page before; None for the first.
        limit: At most so many.
        is_kept_back: Whether a row may not be shown.
    Raises:
        QuarantineError: `after` is none, or as of `count_rows`.
    """
    at_table, at_row = _place(after)
    rows: list[QuarantinedRow] = []
    last = ""
    for one in _tables(table):
        if TABLE_NAMES.index(one) < at_table:
            continue
        beyond = at_row if TABLE_NAMES.index(one) == at_table else -1
        for place, row in _read(folder, one, [number for number in _places(folder, one, rule) if number > beyond]):
            if is_kept_back(row):
                continue
            if len(rows) == limit:
                return Page(tuple(rows), last or after)
            rows.append(row)
            last = f"{one}:{place}"
    return Page(tuple(rows), None)


def _place(after: str | None) -> tuple[int, int]:
    """The table and the row that a page was read up to."""
    if after is None:
        return 0, -1
    table, _, number = after.partition(":")
    if table not in TABLE_NAMES or not (number.isascii() and number.isdigit() and len(number) < 18):
        raise QuarantineError(
            "Cannot read on", got=f"after={after[:60]!r}", expected="next of the page before", do="Leave it out"
        )
    return TABLE_NAMES.index(table), int(number)


def _tables(table: TableName | None) -> Sequence[TableName]:
    return TABLE_NAMES if table is None else (table,)


def _places(folder: Path, table: TableName, rule: str | None) -> Sequence[int]:
    """Which rows of a table break a rule, ascending."""
    rules = _rules(folder, table)
    if rule is None:
        return range(len(rules))
    breaks = pc.equal(pc.list_flatten(rules), rule)
    found: list[int] = pc.list_parent_indices(rules).filter(breaks).unique().to_pylist()
    return found


def _rules(folder: Path, table: TableName) -> pa.Array:
    """The rules that each row of a table breaks, a list per row."""
    with _file(folder, table) as file:
        column = file.read(columns=["rules"]).column("rules").combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _read(folder: Path, table: TableName, places: Sequence[int]) -> Iterator[tuple[int, QuarantinedRow]]:
    """These rows, with their places; what lies between them is not made Python of, nor read after the last is taken."""
    if not places:
        return
    wanted, begin = iter(places), 0
    place = next(wanted)
    with _file(folder, table) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=_READ):
            while place < begin + len(batch):
                (values,) = batch.slice(place - begin, 1).to_pylist()
                yield place, _row(table, values)
                following = next(wanted, None)
                if following is None:
                    return
                place = following
            begin += len(batch)


def _row(table: TableName, values: Mapping[str, Any]) -> QuarantinedRow:
    return QuarantinedRow(
        table,
        tuple(values["rules"]),
        values["source_file"],
        values["source_number"],
        json.loads(values["values"]),
        json.loads(values["attributes"]) if values["attributes"] else {},
        values["source_row"] or "",
    )


def _file(folder: Path, table: TableName) -> pq.ParquetFile:
    path = folder / f"{table}.parquet"
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise QuarantineError(
            "The quarantined rows are gone",
            got=f"table={table}",
            expected="rows that are kept, see platform.originals_days",
            do="Read and validate the source anew: sommelier run pipeline refresh=true",
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise QuarantineError(
            "Cannot read quarantine",
            got=f"table={table}",
            expected=f"a quarantine file, but {str(error).splitlines()[0]}",
            where=str(path),
            do="Run the pipeline again",
        ) from error
