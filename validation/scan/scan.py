"""One pass over a table: every row typed, mended and held against every rule by DuckDB, then the rows compared.

Rules on single rows are marked in the same pass that types the rows (`staging`); rules that compare rows (copies, keys,
near duplicates, bots, the k-core) follow on the staged table and touch only the rows that they find.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from core.schema import TABLES, TIME, TableName
from core.settings.validation import FloodSettings, ValidationSettings
from validation.cleaning.floods import BOT, FLOOD, ONE_USER_DOMINATES, FloodFound, FloodSearch
from validation.cleaning.steps import BOT_BURST, BOT_RATE, K_CORE, NEAR_DUPLICATE, build_cleaning
from validation.lines import gather_lines
from validation.raw.parts import RawTables
from validation.reading.dialect import Dialect
from validation.rules.contract import (
    EXACT_DUPLICATE,
    KEY_UNIQUE,
    RATING_ON_SCALE,
    REPEATED,
    TITLE_UNIQUE,
    Rule,
    build_rules,
    derived_columns,
)
from validation.rules.own import build_own_rules, check_expressions, own_columns_sql
from validation.rules.shares import build_share_rules
from validation.scan import comparisons
from validation.scan.k_core import find_outside_core
from validation.scan.similar_texts import find_similar_texts
from validation.staging import (
    BITS,
    FROM_LOG,
    StagedPart,
    any_mark,
    derived_sql,
    find_parts,
    mapped_columns,
    marks_sql,
    mended_sql,
    read_sql,
)

N_EXAMPLES = 20
_EXAMPLE_CHARS = 200
# What breaks these alone is no bad row: an event of nobody, and a rating in a file of reviews.
GUEST, WORDLESS = "user_id_required", "text_required"
SQL_TYPES = {pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.int64(): "BIGINT", TIME: "TIMESTAMPTZ"}


@dataclass
class Scan:
    """What was found of one table; `staged_<table>` holds its rows.

    Attributes:
        parts: Where the rows come from.
        rules: In the order of their bits.
        kinds: Kinds of mending, in the order of theirs.
        derived: Part to SQL, to SQL of the rows up to layer 3.
        dialect: How the source writes the table's values.
        rows: Rows of the table, clean, quarantined and exact copies.
        rows_of_guests: Of the quarantined rows, those that lack a user and nothing else.
        rows_without_words: Of the quarantined rows, reviews that lack their text and nothing else.
        broken: Rule to the rows that break it, copies among them.
        looked: Rule to the rows that it has something to look at.
        cleaned: Kind of mending to rows.
        newest: Time of the newest clean event, seconds since 1970.
        examples: Broken rule to some values that break it, safe to be shown in a page.
        floods: Floods and bots, the greatest first.
        rows_flooded: Of the quarantined rows, those of a flood or a bot.
    """

    table: TableName
    parts: list[StagedPart]
    rules: list[Rule]
    kinds: list[str]
    derived: Callable[[Callable[[StagedPart], str]], str]
    dialect: Dialect = field(default_factory=Dialect)
    rows_in: int = 0
    rows_clean: int = 0
    rows_quarantined: int = 0
    duplicates: int = 0
    rows_of_guests: int = 0
    rows_without_words: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    cleaned: dict[str, int] = field(default_factory=dict)
    newest: float | None = None
    examples: dict[str, list[Any]] = field(default_factory=dict)
    floods: list[FloodFound] = field(default_factory=list)
    rows_flooded: int = 0

    @property
    def unfit(self) -> str:
        """SQL over a staged row: it is missing from the clean table."""
        return any_mark(self.rules, lambda rule: rule.removes)

    @property
    def copy(self) -> str:
        """SQL over a staged row: it tells again what another row tells."""
        return any_mark(self.rules, lambda rule: rule.severity == "copy")

    def breaks(self, rule: Rule) -> str:
        """SQL over a staged row: it breaks the rule."""
        if rule.mask or rule.removes:
            return any_mark(self.rules, lambda one: one.name == rule.name)
        return f"row_number IN (SELECT row_number FROM late_{self.table}_{rule.name})"


def scan_table(
    connection: duckdb.DuckDBPyConnection,
    raw: Path,
    note: RawTables,
    table: TableName,
    settings: ValidationSettings,
    now: datetime,
) -> Scan:
    """Make `staged_<table>` and count what its rows break. Users and items come before the tables that refer to them.

    Raises:
        RuleError: the settings' own rules or cleaning do not fit the table.
    """
    scan = _plan(connection, raw, note, table, settings, now)
    _stage(connection, scan)
    _keep_order(connection, table)
    _mark_late(connection, scan, settings)
    _count(connection, scan)
    if scan.rows_in != note.rows[table]:
        raise AssertionError(f"rows of {table}: {scan.rows_in} of {note.rows[table]} were read")
    return scan


def _plan(
    connection: duckdb.DuckDBPyConnection,
    raw: Path,
    note: RawTables,
    table: TableName,
    settings: ValidationSettings,
    now: datetime,
) -> Scan:
    parts = find_parts(connection, raw, note, table)
    mapped = mapped_columns(parts)
    dialect = Dialect.of(note.forms, table, settings.cleaning)
    lines = any(one.mapping.lines for one in parts)
    rules = build_rules(table, settings, note.provided, mapped, now, lines)
    if not parts:
        return Scan(table, parts, rules, [], lambda relation: "")
    steps, cleaning = build_cleaning(
        connection, table, settings.cleaning, parts, read_sql(table, parts, dialect), dialect
    )
    rules += cleaning
    rules += build_share_rules(table, settings.shares, rules)
    rules += build_own_rules(table, settings.rules, rules)
    columns = derived_columns(table, mapped)
    check_expressions(connection, settings.rules, table, mended_sql(table, read_sql(table, parts, dialect), steps)[0])
    columns |= own_columns_sql(settings.rules, table)
    kinds = mended_sql(table, "SELECT 1", steps)[1]

    def derived(relation: Callable[[StagedPart], str]) -> str:
        return derived_sql(mended_sql(table, read_sql(table, parts, dialect, relation), steps)[0], columns)

    return Scan(table, parts, rules, kinds, derived, dialect)


def _stage(connection: duckdb.DuckDBPyConnection, scan: Scan) -> None:
    table = scan.table
    columns = TABLES[table].columns
    if not scan.parts:
        typed = ", ".join(f"{column.name} {SQL_TYPES[column.type]}" for column in columns)
        marks = ", ".join(f"broken_{word} BIGINT" for word in range((len(scan.rules) - 1) // BITS + 1))
        connection.execute(
            f"""CREATE TABLE staged_{table} (
            row_number BIGINT, part INTEGER, readable BOOLEAN, row_hash UBIGINT, placed BOOLEAN, visited BOOLEAN,
            {typed}, attributes VARCHAR, moment TIMESTAMPTZ, {marks}, mended BIGINT)"""
        )
        return
    names = ", ".join(column.name for column in columns)
    placed = "position IS DISTINCT FROM source_number" if table == "interactions" else "false"
    attributes = "attributes" if TABLES[table].open else "CAST(NULL AS VARCHAR) AS attributes"
    moment = "moment" if TABLES[table].open else "CAST(NULL AS TIMESTAMPTZ) AS moment"
    connection.execute(
        f"""CREATE TABLE staged_{table} AS
        SELECT row_number, part, readable, row_hash, {placed} AS placed, {FROM_LOG} AS visited, {names},
            {attributes}, {moment}, {", ".join(marks_sql(scan.rules))}, mended
        FROM ({scan.derived(StagedPart.file_sql)})"""
    )


def _keep_order(connection: duckdb.DuckDBPyConnection, table: TableName) -> None:
    """Put the staged rows back into the source's order, if a rule or a cleaning that DuckDB makes a join of lost it."""
    steps = f"SELECT row_number > lag(row_number, 1, -1) OVER () AS later FROM staged_{table}"
    ((kept,),) = connection.execute(f"SELECT bool_and(later) FROM ({steps})").fetchall()
    if kept is False:
        connection.execute(f"CREATE TABLE sorted_{table} AS SELECT * FROM staged_{table} ORDER BY row_number")
        connection.execute(f"DROP TABLE staged_{table}")
        connection.execute(f"ALTER TABLE sorted_{table} RENAME TO staged_{table}")


def _mark_late(connection: duckdb.DuckDBPyConnection, scan: Scan, settings: ValidationSettings) -> None:
    """Find the rows that break the rules on several rows, in an order in which each can rely on those before."""
    if not scan.parts:
        return
    table, cleaning = scan.table, settings.cleaning
    late = {rule.name: rule for rule in scan.rules if not rule.mask}
    _mark(connection, scan, late.pop(EXACT_DUPLICATE), _copies(connection, scan))
    if FLOOD in late:  # before a readmitted row is held against the source's own, which may be of a flood
        flooding = {name: late.pop(name) for name in (FLOOD, BOT, ONE_USER_DOMINATES)}
        _mark_floods(connection, scan, flooding, cleaning.floods)
    if any(one.part.origin == "readmitted" for one in scan.parts):
        returned = comparisons.returned_sql(table, scan.parts, scan.unfit)
        _mark(connection, scan, next(rule for rule in scan.rules if rule.name == EXACT_DUPLICATE), returned)
    if REPEATED in late:
        gather_lines(connection, table, scan.unfit)
        _mark(connection, scan, late.pop(REPEATED), comparisons.repeated_lines_sql(table, scan.unfit))
    unique, core = late.pop(KEY_UNIQUE), late.pop(K_CORE, None)
    own = {rule.name: rule.column for rule in settings.rules if rule.table == table and rule.check == "unique"}
    for name, rule in late.items():
        match name:
            case "user_id_known":
                query = comparisons.unknown_ids_sql(table, "user_id", "users")
            case "item_id_known":
                query = comparisons.unknown_ids_sql(table, "item_id", "items")
            case "few_unknown_users" | "few_unknown_items":
                (id_,) = TABLES["users" if name == "few_unknown_users" else "items"].key
                query = f"SELECT row_number FROM late_{table}_{id_}_known"
            case "time_in_order":
                query = comparisons.out_of_order_sql(table, scan.parts, scan.copy)
            case _ if name == RATING_ON_SCALE:
                query = comparisons.other_scale_sql(table, scan.copy)
            case _ if name == TITLE_UNIQUE:
                query = comparisons.shared_keys_sql(table, ["title"], scan.copy, scan.unfit)
            case _ if name in own:
                query = comparisons.shared_keys_sql(table, [own[name]], scan.copy, scan.unfit)
            case _ if name == NEAR_DUPLICATE and table == "feedback":
                query = find_similar_texts(connection, cleaning.similar_texts, scan.copy)
            case _ if name == NEAR_DUPLICATE:
                query = comparisons.repeated_events_sql(cleaning.repeated_within_s, scan.copy)
            case _ if name == BOT_RATE:
                query = comparisons.bots_by_day_sql(cleaning.max_events_per_day, scan.copy)
            case _ if name == BOT_BURST:
                query = comparisons.bots_by_burst_sql(cleaning.burst_events, cleaning.burst_s, scan.copy)
            case _:
                raise AssertionError(f"nobody finds the rows of {name}")
        _mark(connection, scan, rule, query)
    _mark(connection, scan, unique, comparisons.shared_keys_sql(table, TABLES[table].key, scan.copy, scan.unfit))
    if core is not None:
        least = cleaning.min_user_events, cleaning.min_item_events
        _mark(connection, scan, core, find_outside_core(connection, *least, scan.unfit))


def _mark_floods(
    connection: duckdb.DuckDBPyConnection, scan: Scan, rules: Mapping[str, Rule], settings: FloodSettings
) -> None:
    search = FloodSearch(connection, settings, scan.parts, scan.unfit)
    for name, find in ((FLOOD, search.find_floods), (BOT, search.find_bots)):
        query, found = find()
        _mark(connection, scan, rules[name], query)
        scan.floods += found
    _mark(connection, scan, rules[ONE_USER_DOMINATES], search.dominating_sql())


def _copies(connection: duckdb.DuckDBPyConnection, scan: Scan) -> str:
    pick_rows(connection, scan, "candidate", comparisons.same_hash_sql(scan.table))
    return comparisons.copies_sql(lambda one: picked_name("candidate", scan, one), scan.parts)


def _mark(connection: duckdb.DuckDBPyConnection, scan: Scan, rule: Rule, query: str) -> None:
    """Keep the row numbers that a query finds, and mark the rows if the rule takes them out of the clean table."""
    found = f"late_{scan.table}_{rule.name}"
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {found} (row_number BIGINT)")
    ((count,),) = connection.execute(f"INSERT INTO {found} {query}").fetchall()
    if count and rule.removes:
        word, bit = divmod(scan.rules.index(rule), BITS)
        connection.execute(
            f"""UPDATE staged_{scan.table} SET broken_{word} = broken_{word} | {1 << bit}
            WHERE row_number IN (SELECT row_number FROM {found})"""
        )
    scan.broken[rule.name] = scan.broken.get(rule.name, 0) + int(count)


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


def _count(connection: duckdb.DuckDBPyConnection, scan: Scan) -> None:
    words = [f"broken_{word}" for word in range((len(scan.rules) - 1) // BITS + 1)]
    groups = connection.execute(
        f"SELECT mended, {', '.join(words)}, count(*) FROM staged_{scan.table} GROUP BY ALL"
    ).fetchall()
    for mended, *marks, count in groups:
        hit = [rule for bit, rule in enumerate(scan.rules) if marks[bit // BITS] >> (bit % BITS) & 1]
        for rule in hit:
            if rule.mask:
                scan.broken[rule.name] = scan.broken.get(rule.name, 0) + count
        for bit, kind in enumerate(scan.kinds):
            if mended >> bit & 1:
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
    _count_looked(connection, scan)


def _count_looked(connection: duckdb.DuckDBPyConnection, scan: Scan) -> None:
    """How many rows each rule has something to look at; of a column that only some rows fill, those that break it."""
    known = {column.name for column in TABLES[scan.table].columns}
    looked = {rule.name: rule.looked or (rule.column if rule.column in known else "") for rule in scan.rules}
    conditions = {
        name: f"{sql} IS NOT NULL" if sql in known else sql or scan.breaks(rule)
        for (name, sql), rule in zip(looked.items(), scan.rules, strict=True)
    }
    newest = f"max(epoch_us(timestamp)) FILTER (NOT {scan.unfit}) / 1e6" if "timestamp" in known else "NULL"
    counted = ", ".join(f"count(*) FILTER ({sql})" for sql in conditions.values())
    ((last, *counts),) = connection.execute(f"SELECT {newest}, {counted} FROM staged_{scan.table}").fetchall()
    scan.newest = last
    scan.looked = dict(zip(conditions, map(int, counts), strict=True))


def pick_broken(connection: duckdb.DuckDBPyConnection, scan: Scan) -> None:
    """Read the rows again that stand in quarantine or serve as examples, and keep the examples' values."""
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
        f"""SELECT row_number, part FROM staged_{scan.table} WHERE ({scan.unfit} AND NOT {scan.copy})
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
        scan.examples[rule.name] = [_safe(values[number][place]) for number in some or ()]


def _safe(value: Any) -> Any:
    """A value for a page of the Data Docs, which do not escape what they show."""
    if isinstance(value, str):
        return html.escape(value[:_EXAMPLE_CHARS])
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
