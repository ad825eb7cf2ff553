"""Counts over the staged rows: what each rule found, and what became of the rows."""

from __future__ import annotations

import duckdb

from core.schema import TABLES
from validation.cleaning.floods import BOT, FLOOD
from validation.scan.scan import Scan
from validation.staging.marks import BITS

# A row that breaks one of these alone is not bad: an event without a user, a rating in a file of reviews.
GUEST, WORDLESS = "user_id_required", "text_required"


def count_rows(connection: duckdb.DuckDBPyConnection, scan: Scan) -> None:
    """Fill the scan's counts from the marks of the staged rows."""
    words = [f"broken_{word}" for word in range((len(scan.rules) - 1) // BITS + 1)]
    groups = connection.execute(
        f"SELECT repaired, {', '.join(words)}, count(*) FROM staged_{scan.table} GROUP BY ALL"
    ).fetchall()
    for repaired, *marks, count in groups:
        hit = [rule for bit, rule in enumerate(scan.rules) if marks[bit // BITS] >> (bit % BITS) & 1]
        for rule in hit:
            if rule.mask:
                scan.broken[rule.name] = scan.broken.get(rule.name, 0) + count
        for bit, kind in enumerate(scan.kinds):
            if repaired >> bit & 1:
                scan.cleaned[kind] = scan.cleaned.get(kind, 0) + count
        scan.rows_in += count
        severities = {rule.severity for rule in hit}
        if "copy" in severities:
            scan.duplicates += count
        elif "row" in severities:
            scan.rows_quarantined += count
            names = {rule.name for rule in hit if rule.severity == "row"}
            scan.rows_of_guests += count if names == {GUEST} else 0
            scan.rows_without_words += count if names == {WORDLESS} else 0
            scan.rows_flooded += count if names & {FLOOD, BOT} else 0
        else:
            scan.rows_clean += count
    _count_checked(connection, scan)


def _count_checked(connection: duckdb.DuckDBPyConnection, scan: Scan) -> None:
    """How many rows each rule applies to; for a column that only some rows fill, those that break it."""
    known = {column.name for column in TABLES[scan.table].columns}
    applies = {rule.name: rule.applies_where or (rule.column if rule.column in known else "") for rule in scan.rules}
    conditions = {
        name: f"{sql} IS NOT NULL" if sql in known else sql or scan.breaks(rule)
        for (name, sql), rule in zip(applies.items(), scan.rules, strict=True)
    }
    newest, due = "NULL", "NULL"
    if "timestamp" in known:
        newest = f"max(epoch_us(timestamp)) FILTER (NOT {scan.excluded}) / 1e6"
        (latest,) = (rule.arguments["max_value"] for rule in scan.rules if rule.name == "timestamp_in_range")
        due = f"min(epoch_us(timestamp) / 1e6) FILTER (epoch_us(timestamp) / 1e6 > {latest!r})"
    counted = ", ".join(f"count(*) FILTER ({sql})" for sql in conditions.values())
    ((scan.newest, scan.due, *counts),) = connection.execute(
        f"SELECT {newest}, {due}, {counted} FROM staged_{scan.table}"
    ).fetchall()
    scan.checked = dict(zip(conditions, map(int, counts), strict=True))
