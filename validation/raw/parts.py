"""What a raw folder holds: the source's rows as they came, in parts, and how each part reads as tables of the contract.

A part is one Parquet file. Its columns: `source` (a STRUCT of the source's own columns, as the source typed them; null
where the row could not be read), `source_text` (the row's own text where `source` does not hold all of it: lines of
JSON, and rows of delimited text that could not be read; else null), `source_file`,
`source_number` (line or row in that file) and `source_error` (why the row could not be read, else null).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from core.schema import TableName
from core.settings.source import SourceForms

NOTE_FILE = "raw.json"
SOURCE = "source"
SOURCE_TEXT = "source_text"
SOURCE_FILE = "source_file"
SOURCE_NUMBER = "source_number"
SOURCE_ERROR = "source_error"
OVERRIDES = "overrides"  # the source file of what clients say of items and users
EVENT_LOG = "events"  # the source file of an event of the service's log, also when it comes back from quarantine

Origin = Literal["source", "events", "readmitted", "overrides"]


class TableMapping(BaseModel):
    """How the rows of a part read as rows of one table.

    Attributes:
        columns: Contract column to a DuckDB expression over `source` (and `source_number`), of whatever type; columns
            left out are null.
        attributes: An expression that gives the row's further columns, as the text of a flat JSON object; "" for none.
        condition: An expression, true for the rows that give a row of this table; "" for all.
        unreadable: Rows that could not be read count as rows of this table.
        default_event: The event of rows that name none; those with a value are ratings. "": as they are.
        lines: The rows are lines of orders or reviews, which repeat the same users or items.
        moment: The expression of a line's time; "" for the order of the lines.
    """

    model_config = ConfigDict(frozen=True)

    columns: dict[str, str]
    attributes: str = ""
    condition: str = ""
    unreadable: bool = False
    default_event: str = ""
    lines: bool = False
    moment: str = ""


class RawPart(BaseModel):
    """One file of a raw folder.

    Parts of origin `events` come from the service's log, `readmitted` from quarantine, and `overrides` are what clients
    say of items and users.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    origin: Origin
    tables: dict[TableName, TableMapping]


class RawTables(BaseModel):
    """What `ingest` wrote.

    Attributes:
        folder: Holds the parts.
        fingerprint: Digest of what was read.
        rows: Rows per table, unreadable ones included.
        provided: Tables that the source has of its own. Users and items of the others are known from the events alone.
        parts: In the order in which their rows count as rows of a table.
        forms: How the source writes its values.
        log_sequence: The number up to which the service's event log was read; None where there is no log.
        forgotten: Rows per table of people who are forgotten; they are in no part, and not among `rows`.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    fingerprint: str
    rows: dict[TableName, int]
    provided: tuple[TableName, ...]
    parts: tuple[RawPart, ...]
    forms: SourceForms = SourceForms()
    log_sequence: int | None = None
    forgotten: dict[TableName, int] = {}
