"""The data gate: raw tables in, clean tables, quarantine and Data Docs out."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from core.quarantine.rows import QUARANTINE, Note, write_note
from core.schema import TABLE_NAMES, TableName
from core.settings.validation import ValidationSettings
from core.storage import atomic_folder, scratch_folder, write_json
from validation.clean_tables import write_entities, write_events
from validation.cleaning.steps import build_masks, register_cleaning
from validation.expectations.clean_rules import build_clean_rules, build_clean_suite, count_clean
from validation.expectations.data_context import TableRun, keep_run
from validation.expectations.data_docs import write_data_docs
from validation.expectations.rejection import TableVerdict, require_usable
from validation.expectations.suites import (
    all_met,
    build_suite,
    load_great_expectations,
    open_context,
    run_name,
    run_suite,
    unmet_rules,
)
from validation.quarantine.files import words_of, write_quarantine
from validation.raw.originals import note_originals, read_originals
from validation.raw.parts import RawTables
from validation.rules.shares import build_table_rules
from validation.scan.picking import pick_broken
from validation.scan.scan import Scan
from validation.scan.scanning import scan_table
from validation.sources.ingest import read_note
from validation.staging.parts import STAGING_ORDER, lock_down, open_staging
from validation.summary import SUMMARY_FILE, TableSummary, ValidationSummary


def validate(
    raw: Path,
    target: Path,
    rules: ValidationSettings,
    docs: Path,
    previous: ValidationSummary | None = None,
    context_folder: Path | None = None,
) -> ValidationSummary:
    """Validate raw tables; write clean tables, quarantine, summary, Data Docs and the shop's context.

    Args:
        raw: Folder that `ingest` wrote.
        target: Folder to write: the four tables of the contract, `quarantine/`, `summary.json`. Not written when a
            table is rejected.
        rules: Limits, own rules and cleaning.
        docs: Folder of the Data Docs; written also when a table is rejected, since they show why.
        previous: What the last validation of the shop found, for the rules that compare with it.
        context_folder: The shop's Great Expectations context, which this run is added to; None: none is kept.
    Raises:
        TableRejected: too few interactions, too many bad rows, a required column without a value, or a rule of
            severity "table" is not met.
        RuleError: the settings' own rules or cleaning do not fit the tables.
        MaskError: a model that the settings name for names of persons is not installed.
    """
    note = read_note(raw)
    now = datetime.now(UTC)
    with (
        _great_expectations_ahead(),
        scratch_folder(target.with_name("validation")) as scratch,
        open_staging(scratch) as connection,
    ):
        scans = scan_tables(connection, raw, note, rules, now, [raw, target.parent, scratch])
        mask = build_masks(rules.cleaning)["reviews"]
        for scan in scans.values():
            pick_broken(connection, scan, mask)
        context = open_context(scratch)
        verdicts = {table: _check_table(context, scans[table], rules, note, previous, now) for table in TABLE_NAMES}
        page = write_data_docs(context, verdicts, note.fingerprint, docs)
        for verdict in verdicts.values():
            require_usable(connection, verdict, rules, docs)
        summary = _write(connection, verdicts, note, target, page, read_originals(raw).read_at)
        if context_folder is not None:
            tables = {table: _run_of(connection, verdicts[table], rules, summary, now) for table in TABLE_NAMES}
            keep_run(context_folder, target, run_name(f"{raw.name}-{target.name}"), now, tables)
        return summary


def scan_tables(
    connection: duckdb.DuckDBPyConnection,
    raw: Path,
    note: RawTables,
    rules: ValidationSettings,
    now: datetime,
    folders: Sequence[Path],
) -> dict[TableName, Scan]:
    """Scan all tables, each before those that refer to it.

    Args:
        folders: What the connection may read and write from here on.
    """
    register_cleaning(connection, rules.cleaning)
    lock_down(connection, folders)
    return {table: scan_table(connection, raw, note, table, rules, now) for table in STAGING_ORDER}


@contextmanager
def _great_expectations_ahead() -> Iterator[None]:
    """Load Great Expectations, which takes seconds, during DuckDB's scan, which hardly needs Python."""
    loading = threading.Thread(target=load_great_expectations, daemon=True)
    loading.start()
    try:
        yield
    finally:
        loading.join()


def _check_table(
    context: Any,
    scan: Scan,
    settings: ValidationSettings,
    note: RawTables,
    previous: ValidationSummary | None,
    now: datetime,
) -> TableVerdict:
    table_rules = build_table_rules(scan.table, settings, previous, now)
    result = None
    if scan.rows_in:
        suite = build_suite(scan.table, scan.rules, table_rules)
        result = run_suite(context, suite, scan, table_rules, run_name(note.fingerprint))
    unmet = {*unmet_rules(result, "warn"), *unmet_rules(result, "table")} if result is not None else set()
    return TableVerdict(scan, table_rules, summarise(scan, unmet), result)


def summarise(scan: Scan, unmet: Collection[str]) -> TableSummary:
    """What a scan counted.

    Args:
        unmet: Rules that send no row to quarantine, where more rows break them than may.
    """
    counts = TableSummary(
        rows_in=scan.rows_in,
        rows_clean=scan.rows_clean,
        rows_quarantined=scan.rows_quarantined,
        duplicates=scan.duplicates,
        rows_flooded=scan.rows_flooded,
        rows_of_guests=scan.rows_of_guests,
        rows_without_words=scan.rows_without_words,
        rules={rule.name: scan.broken[rule.name] for rule in scan.rules if rule.removes and scan.broken.get(rule.name)},
        warnings={rule.name: scan.broken[rule.name] for rule in scan.rules if rule.name in unmet},
        cleaned=dict(sorted(scan.cleaned.items())),
    )
    if counts.rows_in != counts.rows_clean + counts.rows_quarantined + counts.duplicates:
        raise AssertionError(f"rows of {scan.table} were lost: {counts}")
    return counts


def _write(
    connection: duckdb.DuckDBPyConnection,
    verdicts: dict[TableName, TableVerdict],
    note: RawTables,
    target: Path,
    page: Path,
    read_at: datetime,
) -> ValidationSummary:
    scans = {table: one.scan for table, one in verdicts.items()}
    referring = (scans["interactions"], scans["feedback"])
    with atomic_folder(target) as folder:
        for scan in referring:
            write_events(connection, scan, folder)
        derived: dict[TableName, int] = {
            scan.table: write_entities(connection, scan, referring, folder) for scan in (scans["users"], scans["items"])
        }
        for scan in scans.values():
            write_quarantine(connection, scan, note.fingerprint, folder)
        words = {table: words_of(scan) for table, scan in scans.items()}
        write_note(folder / QUARANTINE, Note(read_at=read_at, rules=words))
        note_originals(folder / QUARANTINE, read_at)
        summary = ValidationSummary(
            folder=target.absolute(),
            docs=page.absolute(),
            gx_success=all(all_met(one.result) for one in verdicts.values() if one.result is not None),
            tables={
                table: one.counts.model_copy(
                    update={"rows_derived": derived.get(table, 0), "rows_forgotten": note.forgotten.get(table, 0)}
                )
                for table, one in verdicts.items()
            },
            warnings=tuple(f"{table}: {sentence}" for table, one in verdicts.items() for sentence in one.unmet("warn")),
            newest=scans["interactions"].newest,
            due=min((scan.due for scan in referring if scan.due is not None), default=None),
            log_sequence=note.log_sequence,
        )
        _check_written(folder, summary)
        write_json(folder / SUMMARY_FILE, summary.model_dump(mode="json"))
    return summary


def _run_of(
    connection: duckdb.DuckDBPyConnection,
    verdict: TableVerdict,
    settings: ValidationSettings,
    summary: ValidationSummary,
    now: datetime,
) -> TableRun:
    """What is kept of a table in the shop's context."""
    scan = verdict.scan
    rules = build_clean_rules(scan.table, scan.rules, settings, now, summary.tables[scan.table].rows_derived)
    gate = [*(one.name for one in verdict.table_rules), *(one.name for one in scan.rules)]
    suite = build_clean_suite(scan.table, rules, gate)
    results = count_clean(connection, summary.folder / f"{scan.table}.parquet", rules)
    return TableRun(suite, results, verdict.result)


def _check_written(folder: Path, summary: ValidationSummary) -> None:
    """Check in the written files that rows in = clean + quarantined + duplicates."""
    import pyarrow.parquet as pq

    for table, counts in summary.tables.items():
        clean = pq.read_metadata(folder / f"{table}.parquet").num_rows - counts.rows_derived
        bad = pq.read_metadata(folder / "quarantine" / f"{table}.parquet").num_rows
        if clean + bad + counts.duplicates != counts.rows_in:
            raise AssertionError(f"rows of {table} were lost: {clean} clean and {bad} quarantined written, {counts}")
