"""Whether a table as a whole can be used; if not, what broke it, three of the values, and the setting that helps."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from core.schema import EVENTS, TABLES, TableName
from core.settings.validation import ValidationSettings
from validation.errors import TableRejected
from validation.expectations.suites import unmet_rules
from validation.rules.contract import RATED, RATING_ON_SCALE
from validation.rules.shares import TableRule
from validation.scan.scan import Scan
from validation.summary import TableSummary

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

_SHOWN_VALUES = 3
_SHOWN_CHARS = 40
_WORST_RULES = 4
# Scales that people rate on: lowest and highest value. The first that holds all ratings is the likely one.
_SCALES = ((0.0, 1.0), (0.5, 5.0), (0.0, 5.0), (1.0, 10.0), (0.0, 10.0), (0.0, 100.0))


@dataclass(frozen=True)
class TableVerdict:
    """One table with its rules applied; a table without rows has no result."""

    scan: Scan
    table_rules: list[TableRule]
    counts: TableSummary
    result: ExpectationSuiteValidationResult | None

    def unmet(self, severity: str) -> list[str]:
        """Rules of a severity that are not met, one sentence each."""
        names = unmet_rules(self.result, severity) if self.result is not None else []
        return [self._describe(name) for name in names]

    def _describe(self, name: str) -> str:
        for rule in self.table_rules:
            if rule.name == name:
                return f"{name}: {rule.measure}={getattr(self.scan, rule.measure)}. {rule.why}"
        (row_rule,) = (rule for rule in self.scan.rules if rule.name == name)
        return f"{name}: {self.scan.broken.get(name, 0)} of {self.scan.checked[name]} rows. {row_rule.why}"


def require_usable(
    connection: duckdb.DuckDBPyConnection, verdict: TableVerdict, settings: ValidationSettings, docs: Path
) -> None:
    """Make sure that a table as a whole can be used.

    Raises:
        TableRejected: it cannot; the message names the worst rules, three values of each, and the settings that help.
    """
    scan = verdict.scan
    found = _find_failure(connection, verdict, settings)
    if found is None:
        return
    got, rule, names = found
    hints = list(dict.fromkeys(hint for name in names if (hint := _hint(connection, scan, name))))
    see = f"See {docs / 'index.html'}"
    limits = "then correct the source, or the limits under recipe.validation"
    do = f"{'. '.join(hints[:2])}. {see}" if hints else f"{see}, {limits}"
    raise TableRejected("Table rejected", got=got, expected=rule, where=scan.table, do=do)


def _find_failure(
    connection: duckdb.DuckDBPyConnection, verdict: TableVerdict, settings: ValidationSettings
) -> tuple[str, str, list[str]] | None:
    """What was found, what was expected, and the rules that explain it; None for a table that can be used."""
    scan, counts = verdict.scan, verdict.counts
    copies = {rule.name for rule in scan.rules if rule.severity == "copy"}
    bad = {name: n for name, n in counts.rules.items() if name not in copies}
    names = sorted(bad, key=lambda name: -bad[name])[:_WORST_RULES]
    worst = ", ".join(f"{name} {bad[name]}{_values(scan, name)}" for name in names)
    reasons = f" ({worst})" if worst else ""
    unmet = verdict.unmet("table")
    if scan.broken.get(RATING_ON_SCALE):
        got = (
            f"{RATED[scan.table]} off the scale in {scan.broken[RATING_ON_SCALE]} rows{_values(scan, RATING_ON_SCALE)}"
        )
        return got, "ratings from 1 to 5, or the scale in the settings", [RATING_ON_SCALE]
    if blank := _blank_column(connection, scan):
        return f"{blank}=null in all {counts.rows_in} rows{reasons}", "a value, the contract requires it", names
    if counts.bad_share > settings.max_quarantined_share:
        return f"quarantined_share={counts.bad_share:.3f}{reasons}", f"at most {settings.max_quarantined_share}", names
    if counts.guest_share > settings.max_guest_share:
        got = f"share of rows without a user={counts.guest_share:.3f}"
        return got, f"at most {settings.max_guest_share}", ["user_id_required"]
    if scan.table == "interactions" and counts.rows_clean < settings.min_interactions:
        return f"clean interactions={counts.rows_clean}{reasons}", f"at least {settings.min_interactions}", names
    if unmet:
        return unmet[0].rstrip("."), "the rule to be met, since its severity is table", []
    return None


def _values(scan: Scan, rule: str) -> str:
    """Some of the values that break a rule, as the source has them."""
    texts = (str(value) for value in scan.examples.get(rule, []) if value is not None)
    shown = list(dict.fromkeys(html.unescape(text)[:_SHOWN_CHARS] for text in texts))[:_SHOWN_VALUES]
    return f": {', '.join(map(repr, shown))}" if shown else ""


def _hint(connection: duckdb.DuckDBPyConnection, scan: Scan, rule: str) -> str:
    """The setting that helps where many rows break a rule; "" where none does."""
    table = scan.table
    match rule:
        case "timestamp_required":
            return (
                f"Name the column that holds the times under recipe.source.columns.{table}.timestamp; where none "
                "does, take the empty one out of the file and set recipe.source.no_time=file_order"
            )
        case "timestamp_parses" | "timestamp_in_range":
            return (
                'Say how the times are written: recipe.source.date_formats=["%d/%m/%Y %H:%M"] (as strptime has it), '
                f"and recipe.source.columns.{table}.timestamp where another column holds them"
            )
        case "event_in_set":
            return (
                "Map the shop's names of events under recipe.source.values.interactions.event, such as addtocart = "
                f'"cart" (returned = "" leaves those rows out); the contract knows {", ".join(EVENTS)}'
            )
        case "value_parses" | "rating_parses" | "rating_has_value":
            return f'Map words to numbers under recipe.source.values.{table}.{RATED[table]}, such as "four stars" = "4"'
        case "value_in_range" | "rating_in_range":
            return (
                "Name the lowest and the highest rating: recipe.validation.cleaning.rating_scale=[0, 10]; a number "
                f'for no rating is emptied under recipe.source.values.{table}.{RATED[table]}, such as "-1" = ""'
            )
        case _ if rule == RATING_ON_SCALE:
            low, high = _likely_scale(connection, table)
            return f"Name the scale: recipe.validation.cleaning.rating_scale=[{low:g}, {high:g}] fits the values found"
        case "row_readable":
            return 'Check recipe.source.delimiter (";", "|") and recipe.source.encoding (cp1252, utf-16)'
        case "user_id_known" | "item_id_known":
            owner = "users" if rule.startswith("user") else "items"
            return (
                f"The ids are not those of the table of {owner}: map the same ids under recipe.source.columns, or "
                f"leave {owner} out of recipe.source.files"
            )
        case "user_id_required" | "item_id_required" | "key_unique" | "row_nearly_empty":
            return f"Check which columns are mapped under recipe.source.columns.{table}, and recipe.source.null_words"
    return ""


def _likely_scale(connection: duckdb.DuckDBPyConnection, table: TableName) -> tuple[float, float]:
    name = RATED[table]
    rated = " AND event = 'rating'" if table == "interactions" else ""
    ((low, high),) = connection.execute(
        f"SELECT min({name}), max({name}) FROM staged_{table} WHERE {name} IS NOT NULL{rated}"
    ).fetchall()
    own = (low, high) if low < high else (min(low, 0.0), max(high, 0.0))
    return next(((least, most) for least, most in _SCALES if least <= low and high <= most), own)


def _blank_column(connection: duckdb.DuckDBPyConnection, scan: Scan) -> str:
    """A required column without any value, if the table has rows; "" if all have some."""
    required = [column.name for column in TABLES[scan.table].columns if column.required]
    if not scan.rows_in:
        return ""
    counted = ", ".join(f"count({name})" for name in required)
    (counts,) = connection.execute(f"SELECT {counted} FROM staged_{scan.table}").fetchall()
    return next((name for name, count in zip(required, counts, strict=True) if not count), "")
