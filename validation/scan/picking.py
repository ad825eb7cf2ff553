"""Rows read again, whole: those in quarantine, and examples for the Data Docs."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from validation.masking.mask import PersonalDataMask
from validation.scan.scan import Scan
from validation.staging.parts import StagedPart

N_EXAMPLES = 20
_EXAMPLE_CHARS = 200


def pick_rows(connection: duckdb.DuckDBPyConnection, scan: Scan, name: str, wanted: str) -> None:
    """Read some rows of the parts again, whole, into the tables that `picked_name` names.

    Args:
        wanted: SQL of their row numbers and parts.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS {wanted}")
    for one in scan.parts:
        ((count,),) = connection.execute(f"SELECT count(*) FROM wanted WHERE part = {one.index}").fetchall()
        rows = f"file_row_number IN (SELECT row_number - {one.offset} FROM wanted WHERE part = {one.index})"
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE {picked_name(name, scan, one)} AS
            SELECT * FROM {one.file_sql()} WHERE {rows if count else "false"}"""
        )


def picked_name(name: str, scan: Scan, one: StagedPart) -> str:
    """The table of a part's picked rows."""
    return f"{name}_{scan.table}_{one.index}"


def pick_broken(connection: duckdb.DuckDBPyConnection, scan: Scan, mask: PersonalDataMask) -> None:
    """Read quarantined rows and examples again, and keep the examples' values.

    Args:
        mask: Takes personal data out of the examples, which pages and errors show.
    """
    broken = [rule for rule in scan.rules if scan.broken.get(rule.name)]
    if not broken:
        return
    lists = ", ".join(f"min(row_number, {N_EXAMPLES}) FILTER ({scan.breaks(rule)})" for rule in broken)
    (numbers,) = connection.execute(f"SELECT {lists} FROM staged_{scan.table}").fetchall()
    chosen = sorted({number for some in numbers for number in some or ()})
    connection.register("chosen", pa.table({"row_number": pa.array(chosen, pa.int64())}))
    pick_rows(
        connection,
        scan,
        "broken",
        f"""SELECT row_number, part FROM staged_{scan.table} WHERE ({scan.excluded} AND NOT {scan.copy})
        OR row_number IN (SELECT row_number FROM chosen)""",
    )
    shown = ", ".join(rule.shown or rule.column for rule in broken)
    rows = connection.execute(
        f"""SELECT row_number, {shown} FROM ({scan.derived(lambda one: picked_name("broken", scan, one))})
        WHERE row_number IN (SELECT row_number FROM chosen)"""
    ).fetchall()
    connection.unregister("chosen")
    values: Mapping[int, Sequence[Any]] = {number: some for number, *some in rows}
    for place, (rule, some) in enumerate(zip(broken, numbers, strict=True)):
        scan.examples[rule.name] = [_safe(values[number][place], mask) for number in some or ()]


def _safe(value: Any, mask: PersonalDataMask) -> Any:
    """A value for a page of the Data Docs, which do not escape what they show."""
    if isinstance(value, str):
        return html.escape(mask.apply(value)[0][:_EXAMPLE_CHARS])
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
