"""From a source of any kind to a raw folder: one reader per kind, all writing parts of one form.

A new reader is called from `_locate` and `_read`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_never

import pyarrow as pa
import pyarrow.compute as pc

from core.logs.events import EventLog
from core.overrides import KINDS, Kind, Override, Overrides
from core.schema import TABLES
from core.settings.source import (
    Amazon2014Source,
    Amazon2023Source,
    RecboleSource,
    SimulatedSource,
    Source,
    SourceForms,
    SqlSource,
    TablesSource,
)
from core.storage import atomic_folder, digest_of, file_digest, write_json
from core.tombstones import read_tombstones
from validation.errors import RawFolderError
from validation.raw.originals import note_originals
from validation.raw.parts import EVENT_LOG, NOTE_FILE, OVERRIDES, RawTables
from validation.raw.writer import RawWriter, RowParts, as_text
from validation.sources import amazon_2014, amazon_2023, recbole, simulated, tables
from validation.sources import database as sql_source
from validation.sources import readmitted as readmitted_rows

READERS_VERSION = 5  # raise it when a reader gives other rows for the same source
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def source_fingerprint(
    source: Source,
    event_log: Path | None = None,
    readmitted: Path | None = None,
    forgotten: Path | None = None,
    overrides: Path | None = None,
) -> str:
    """Digest of the source's contents, its settings (where files lie does not matter), events and re-admitted rows.

    Files count by their bytes, a database by the rows that its queries give (they are run for this), the event log by
    its length and newest number, files of re-admitted rows by their names, which follow from their contents. Who is
    forgotten counts too, and what clients say of items and users.

    Raises:
        SourceError: a file is missing or empty, or a query fails.
    """
    if isinstance(source, SqlSource):
        contents: Mapping[Any, str] = sql_source.digest_rows(source)
        settings = sql_source.plain_settings(source)
    else:
        contents = {path.name: file_digest(path) for path in _locate(source)}
        settings = source.model_dump(mode="json", exclude={"path"})
    let_in = [path.name for path in readmitted_rows.locate(readmitted)]
    left_out = filter(None, [read_tombstones(forgotten).key, _said_in(overrides)])
    return digest_of(READERS_VERSION, settings, contents, _extent_of(event_log), let_in, *left_out)


def ingest(
    source: Source,
    target: Path,
    event_log: Path | None = None,
    readmitted: Path | None = None,
    forgotten: Path | None = None,
    overrides: Path | None = None,
) -> RawTables:
    """Read a source into a raw folder, and append what clients reported since and what was let in again.

    Rows of people who are forgotten come from nowhere into it.

    Args:
        target: Folder to write, atomically.
        event_log: The service's log; one that does not exist holds no events.
        readmitted: Folder of rows that came out of quarantine; one that does not exist holds none.
        forgotten: The record of who is forgotten; one that does not exist holds nobody.
        overrides: What clients say of items and users; a file that does not exist says nothing.
    Raises:
        SourceError: a file is missing, empty, truncated or unreadable. A bad row is no error: it comes along, marked.
        RawFolderError: the disk is full.
    """
    read_at = datetime.now(UTC)
    fingerprint = source_fingerprint(source, event_log, readmitted, forgotten, overrides)
    forms = plain_forms(source)
    with _disk_errors(target), atomic_folder(target) as folder:
        writer = RawWriter(folder, read_tombstones(forgotten), forms)
        _read(source, writer)
        log_sequence = _read_events(event_log, writer)
        readmitted_rows.read(readmitted, writer)
        _read_overrides(overrides, writer)
        written = RawTables(
            folder=target.absolute(),
            fingerprint=fingerprint,
            rows=writer.count_rows(),
            provided=tuple(sorted(writer.provided)),
            parts=tuple(writer.parts),
            forms=forms,
            log_sequence=log_sequence,
            forgotten=dict(sorted(writer.forgotten.items())),
        )
        note_originals(folder, read_at)
        write_json(folder / NOTE_FILE, written.model_dump(mode="json"))
    return written


def check_source(source: Source) -> None:
    """Make sure, without reading the rows, that a source is there and has the columns that its settings map.

    Raises:
        SourceError: a file is missing, empty or of no known format, lacks a column, or the database refuses.
    """
    match source:
        case TablesSource():
            tables.check(source)
        case SqlSource():
            sql_source.check(source)
        case RecboleSource():
            recbole.check(source)
        case _:
            _locate(source)


def plain_forms(source: Source) -> SourceForms:
    """How a source writes its values, without where it lies; the project's own shop writes the contract's."""
    if not isinstance(source, SourceForms):
        return SourceForms()
    return SourceForms(**{name: getattr(source, name) for name in SourceForms.model_fields})


def read_note(folder: Path) -> RawTables:
    """What `ingest` noted of a raw folder."""
    return RawTables.model_validate_json((folder / NOTE_FILE).read_text(encoding="utf-8"))


def _locate(source: Source) -> list[Path]:
    match source:
        case SimulatedSource() | SqlSource():
            return []
        case Amazon2014Source():
            return amazon_2014.locate(source)
        case Amazon2023Source():
            return amazon_2023.locate(source)
        case RecboleSource():
            return recbole.locate(source)
        case TablesSource():
            return sorted(set(tables.locate(source).values()))
        case _:
            assert_never(source)


def _read(source: Source, writer: RawWriter) -> None:
    match source:
        case SimulatedSource():
            simulated.read(source, writer)
        case Amazon2014Source():
            amazon_2014.read(source, writer)
        case Amazon2023Source():
            amazon_2023.read(source, writer)
        case RecboleSource():
            recbole.read(source, writer)
        case TablesSource():
            tables.read(source, writer)
        case SqlSource():
            sql_source.read(source, writer)
        case _:
            assert_never(source)


def _read_events(event_log: Path | None, writer: RawWriter) -> int | None:
    """Write the log's events; the number that all of them and all that are gone lie within, None without a log."""
    log = None if event_log is None else EventLog(event_log)
    if log is None or not log.exists():
        return None
    sequence = newest = log.newest()
    with RowParts(writer, EVENT_LOG, origin="events") as parts:
        for batch in (batch for page in log.tables() for batch in page.to_batches() if batch.num_rows):
            numbers = batch["sequence"]
            parts.add_columns("interactions", _as_interactions(batch), source_file=EVENT_LOG, source_numbers=numbers)
            sequence = numbers[-1].as_py()
    return max(newest, sequence)


def _as_interactions(events: pa.RecordBatch) -> dict[str, pa.Array]:
    """Logged events as texts; which answer showed the item is for experiments, and no column of the four tables."""
    moments = pc.replace_substring(events["timestamp"].cast(pa.timestamp("us")).cast(pa.string()), " ", "T")
    whole = pc.ends_with(moments, ".000000")
    moments = pc.if_else(whole, pc.utf8_slice_codeunits(moments, 0, len("2026-01-01T00:00:00")), moments)
    values = events["value"].dictionary_encode()
    texts = pa.array([as_text(value) for value in values.dictionary.to_pylist()], pa.string())
    return {
        **{name: events[name] for name in ("event_id", "user_id", "item_id", "event")},
        "value": texts.take(values.indices),
        "timestamp": pc.binary_join_element_wise(moments, "+00:00", ""),
        "position": events["sequence"].cast(pa.string()),
    }


def _read_overrides(file: Path | None, writer: RawWriter) -> None:
    """Write a row for each item and user that clients say something of, with what they say alone."""
    if file is None:
        return
    with RowParts(writer, OVERRIDES, origin="overrides") as parts:
        for kind in KINDS:
            for number, said in enumerate(_sayings(file, kind), start=1):
                values = {TABLES[kind].key[0]: said.id, **said.fields}
                parts.add(kind, values, source_file=OVERRIDES, source_number=number, attributes=said.attributes)


def _said_in(file: Path | None) -> str:
    """Stands for all that clients say; empty where they say nothing."""
    said = [] if file is None else [(kind, asdict(one)) for kind in KINDS for one in _sayings(file, kind)]
    return digest_of(said) if said else ""


def _sayings(file: Path, kind: Kind) -> list[Override]:
    """What is said, by id. When it was said, and whether the item may be shown, makes no other row."""
    found = [one for one in Overrides(file).since(kind) if one.says_something]
    return sorted((Override(one.id, one.fields, one.attributes) for one in found), key=lambda one: one.id)


def _extent_of(event_log: Path | None) -> int | tuple[int, int]:
    log = None if event_log is None else EventLog(event_log)
    return 0 if log is None or not log.count() else (log.count(), log.last())


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    """A full disk as an error that says what to do; the target keeps its former content."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise RawFolderError(
            "Cannot write the raw folder",
            got=f"{errno.errorcode[error.errno]}: {error.strerror or error}",
            expected="space for the source's rows",
            where=str(target),
            do="Free space on the disk, or put work_dir on another one; the result of the previous run is unchanged",
        ) from error
