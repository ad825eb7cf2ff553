"""Sources scanned as the data gate scans them, for tests of rules, cleaning and reading.

The whole gate (`validate`) also judges with Great Expectations and draws the Data Docs: that is most of its time, and
says nothing of a rule. A test of what a rule, a cleaning step or a reader does to rows takes `scan_rows` or
`scan_source`; one of documents, verdicts, severities or `TableRejected` takes `validate`.

    found = scan_rows(tmp_path, interactions=[*events(9), {"user_id": ""}])
    assert found.broken("interactions") == [["user_id_required"]]
    assert found.tables["interactions"].rows_clean == 9
    assert found.clean("interactions", "user_id")[:2] == ["u0", "u1"]
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from core.quarantine.rows import QUARANTINE, Note, write_note
from core.schema import TABLES, TableName
from core.settings.source import Source, TablesSource
from core.settings.validation import ValidationSettings
from tests.unit.validation.source_files import json_lines, read_rows, write
from validation.clean_tables import write_entities, write_events
from validation.cleaning.steps import build_masks
from validation.gate import scan_tables, summarise
from validation.quarantine.files import rule_names_sql, words_of, write_quarantine
from validation.scan.picking import pick_broken
from validation.scan.scan import Scan
from validation.sources.ingest import ingest, read_note
from validation.staging.parts import open_staging
from validation.summary import TableSummary

LENIENT = ValidationSettings(min_interactions=1, max_quarantined_share=1.0)
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Scanned:
    """What became of the rows of a source.

    Attributes:
        tables: Counts, as the gate's summary has them.
        clean_rows: Of each table, in the source's order.
        broken_rules: Of each quarantined row, in the source's order, the rules that it breaks.
        quarantine: Folder of the quarantined rows, where it was asked for.
    """

    tables: dict[TableName, TableSummary]
    clean_rows: dict[TableName, Rows]
    broken_rules: dict[TableName, list[list[str]]]
    quarantine: Path

    def clean(self, table: TableName, *columns: str) -> list[Any]:
        """The clean rows of a table: of one column its values, of several tuples; None where there is no column."""
        rows = self.clean_rows[table]
        return [row.get(columns[0]) if len(columns) == 1 else tuple(row.get(name) for name in columns) for row in rows]

    def broken(self, table: TableName = "interactions") -> list[list[str]]:
        """Of each quarantined row of a table the rules that it breaks."""
        return self.broken_rules[table]


def scan_rows(
    folder: Path, settings: ValidationSettings = LENIENT, source: dict[str, Any] | None = None, /, **tables: Any
) -> Scanned:
    """Scan tables given as rows.

    Args:
        folder: The test's own; the rows lie in `in/<table>.jsonl`.
        source: Further settings of the source.
    """
    for name, rows in tables.items():
        write(folder / "in" / f"{name}.jsonl", json_lines(*rows))
    return scan_source(folder, TablesSource(path=folder / "in", **(source or {})), settings)


def scan_source(
    folder: Path,
    source: Source,
    settings: ValidationSettings = LENIENT,
    *,
    event_log: Path | None = None,
    readmitted: Path | None = None,
    quarantine: bool = False,
) -> Scanned:
    """Ingest a source into `raw` of a test's folder, and scan it.

    Args:
        quarantine: Write the quarantined rows too, into `clean/quarantine` of the folder.
    """
    ingest(source, folder / "raw", event_log, readmitted)
    return scan_raw(folder / "raw", settings, quarantine=quarantine)


def scan_raw(raw: Path, settings: ValidationSettings = LENIENT, *, quarantine: bool = False) -> Scanned:
    """Scan what was ingested."""
    target = raw.parent / "clean"
    note = read_note(raw)
    with tempfile.TemporaryDirectory() as scratch, open_staging(Path(scratch)) as connection:
        written = Path(scratch)
        scans = scan_tables(connection, raw, note, settings, datetime.now(UTC), [raw, target, written])
        referring = (scans["interactions"], scans["feedback"])
        for scan in referring:
            write_events(connection, scan, written)
        derived = {
            scan.table: write_entities(connection, scan, referring, written)
            for scan in (scans["users"], scans["items"])
        }
        if quarantine:
            for scan in scans.values():
                pick_broken(connection, scan, build_masks(settings.cleaning)["reviews"])
                write_quarantine(connection, scan, note.fingerprint, target)
            words = {table: words_of(scan) for table, scan in scans.items()}
            write_note(target / QUARANTINE, Note(read_at=datetime.now(UTC), rules=words))
        return Scanned(
            tables={
                table: summarise(scan, _unmet(scan)).model_copy(update={"rows_derived": derived.get(table, 0)})
                for table, scan in scans.items()
            },
            clean_rows={table: read_rows(written / f"{table}.parquet") for table in TABLES},
            broken_rules={table: _broken(connection, scan) for table, scan in scans.items()},
            quarantine=target / QUARANTINE,
        )


def _unmet(scan: Scan) -> set[str]:
    """The rules that more rows break than may; the gate has this from Great Expectations."""
    return {
        rule.name
        for rule in scan.rules
        if not rule.removes and scan.broken.get(rule.name, 0) > rule.max_share * scan.checked[rule.name]
    }


def _broken(connection: duckdb.DuckDBPyConnection, scan: Scan) -> list[list[str]]:
    rows = connection.execute(
        f"""SELECT {rule_names_sql(scan.rules)} FROM staged_{scan.table}
        WHERE {scan.excluded} AND NOT {scan.copy} ORDER BY row_number"""
    ).fetchall()
    return [names for (names,) in rows]
