"""Rows that break rules which compare rows, found after the pass, and marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import duckdb

from core.schema import TABLES
from core.settings.validation import FloodSettings, ValidationSettings
from validation.cleaning.floods import BOT, FLOOD, ONE_USER_DOMINATES, FloodSearch
from validation.cleaning.steps import BOT_BURST, BOT_RATE, K_CORE, NEAR_DUPLICATE
from validation.rules.contract import EXACT_DUPLICATE, KEY_UNIQUE, RATING_ON_SCALE, REPEATED, TITLE_UNIQUE
from validation.rules.rule import Rule
from validation.scan import queries
from validation.scan.k_core import find_outside_core
from validation.scan.order_lines import gather_lines
from validation.scan.picking import pick_rows, picked_name
from validation.scan.scan import Scan, found_table
from validation.scan.similar_texts import find_similar_texts
from validation.staging.marks import BITS

_FLOOD_RULES = (FLOOD, BOT, ONE_USER_DOMINATES)


def mark_compared(connection: duckdb.DuckDBPyConnection, scan: Scan, settings: ValidationSettings) -> None:
    """Find the rows that break the rules on several rows, in an order in which each can rely on those before."""
    if not scan.parts:
        return
    table, cleaning = scan.table, settings.cleaning
    rules = {rule.name: rule for rule in scan.rules if not rule.mask}
    exact = rules.pop(EXACT_DUPLICATE)
    _mark(connection, scan, exact, _copies(connection, scan))
    if FLOOD in rules:  # before readmitted rows are compared with the source's own, which may be of a flood
        _mark_floods(connection, scan, {name: rules.pop(name) for name in _FLOOD_RULES}, cleaning.floods)
    for name in ("user_id_known", "item_id_known"):  # so that no row counts as a copy of one that they take out
        if name in rules:
            _mark(connection, scan, rules.pop(name), _find(connection, scan, name, settings))
    origins = {one.part.origin for one in scan.parts}
    if origins >= {"events", "source"}:
        _mark(connection, scan, exact, _unmarked(scan, exact, queries.exported_sql(scan.parts, scan.excluded)))
    if "readmitted" in origins:
        _mark(connection, scan, exact, queries.returned_sql(table, scan.parts, scan.excluded))
    lines = any(one.mapping.lines for one in scan.parts)
    if origins >= {"readmitted", "source"} and not lines:  # of lines, what a person corrected is newest
        query = queries.superseded_sql(table, scan.parts, scan.excluded)
        _mark(connection, scan, exact, _unmarked(scan, exact, query))
    if REPEATED in rules:
        repeats = "true" if lines else queries.overridden_sql(table, scan.parts)
        gather_lines(connection, table, scan.excluded, repeats)
        _mark(connection, scan, rules.pop(REPEATED), queries.repeated_lines_sql(table, scan.excluded, repeats))
    unique, core = rules.pop(KEY_UNIQUE), rules.pop(K_CORE, None)
    for rule in rules.values():
        _mark(connection, scan, rule, _find(connection, scan, rule.name, settings))
    _mark(connection, scan, unique, queries.shared_keys_sql(table, TABLES[table].key, scan.copy, scan.excluded))
    if core is not None:
        least = cleaning.min_user_events, cleaning.min_item_events
        _mark(connection, scan, core, find_outside_core(connection, *least, scan.excluded))


def _find(connection: duckdb.DuckDBPyConnection, scan: Scan, name: str, settings: ValidationSettings) -> str:
    """SQL of the numbers of the rows that break a rule, where the order of the rules does not matter."""
    table, copy, cleaning = scan.table, scan.copy, settings.cleaning
    unique = {rule.name: rule.column for rule in settings.rules if rule.table == table and rule.check == "unique"}
    if name in unique:
        return queries.shared_keys_sql(table, [unique[name]], copy, scan.excluded)
    if name == NEAR_DUPLICATE and table == "feedback":
        return find_similar_texts(connection, cleaning.similar_texts, copy)
    found_by: Mapping[str, Callable[[], str]] = {
        "user_id_known": lambda: queries.unknown_ids_sql(table, "user_id", "users"),
        "item_id_known": lambda: queries.unknown_ids_sql(table, "item_id", "items"),
        "few_unknown_users": lambda: f"SELECT row_number FROM {found_table(table, 'user_id_known')}",
        "few_unknown_items": lambda: f"SELECT row_number FROM {found_table(table, 'item_id_known')}",
        "time_in_order": lambda: queries.out_of_order_sql(table, scan.parts, copy),
        RATING_ON_SCALE: lambda: queries.other_scale_sql(table, copy),
        TITLE_UNIQUE: lambda: queries.shared_keys_sql(table, ["title"], copy, scan.excluded),
        NEAR_DUPLICATE: lambda: queries.repeated_events_sql(cleaning.repeated_within_s, copy),
        BOT_RATE: lambda: queries.bots_by_day_sql(cleaning.max_events_per_day, copy),
        BOT_BURST: lambda: queries.bots_by_burst_sql(cleaning.burst_events, cleaning.burst_s, copy),
    }
    return found_by[name]()


def _mark_floods(
    connection: duckdb.DuckDBPyConnection, scan: Scan, rules: Mapping[str, Rule], settings: FloodSettings
) -> None:
    search = FloodSearch(connection, settings, scan.parts, scan.excluded)
    for name, find in ((FLOOD, search.find_floods), (BOT, search.find_bots)):
        query, found = find()
        _mark(connection, scan, rules[name], query)
        scan.floods += found
    _mark(connection, scan, rules[ONE_USER_DOMINATES], search.dominating_sql())


def _copies(connection: duckdb.DuckDBPyConnection, scan: Scan) -> str:
    pick_rows(connection, scan, "candidate", queries.same_hash_sql(scan.table))
    return queries.copies_sql(lambda one: picked_name("candidate", scan, one), scan.parts)


def _unmarked(scan: Scan, rule: Rule, query: str) -> str:
    """Of the row numbers that a query finds, those that do not carry the rule's mark yet: each counts once."""
    marked = f"SELECT row_number FROM staged_{scan.table} WHERE {scan.breaks(rule)}"
    return f"SELECT row_number FROM ({query}) WHERE row_number NOT IN ({marked})"


def _mark(connection: duckdb.DuckDBPyConnection, scan: Scan, rule: Rule, query: str) -> None:
    """Keep the row numbers that a query finds, and mark the rows if the rule takes them out of the clean table."""
    found = found_table(scan.table, rule.name)
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {found} (row_number BIGINT)")
    ((count,),) = connection.execute(f"INSERT INTO {found} {query}").fetchall()
    if count and rule.removes:
        word, bit = divmod(scan.rules.index(rule), BITS)
        connection.execute(
            f"""UPDATE staged_{scan.table} SET broken_{word} = broken_{word} | {1 << bit}
            WHERE row_number IN (SELECT row_number FROM {found})"""
        )
    scan.broken[rule.name] = scan.broken.get(rule.name, 0) + int(count)
