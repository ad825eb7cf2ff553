"""The shop's own rules: every kind of check finds the rows it should, under each severity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.settings.source import TablesSource
from core.settings.validation import OwnRule, ValidationSettings
from tests.unit.validation.source_files import events, json_lines, read_rows, write
from validation.errors import RuleError, TableRejected
from validation.gate import validate
from validation.sources.ingest import ingest
from validation.staging.parts import lock_down, open_staging
from validation.summary import ValidationSummary

ITEMS = [
    {"item_id": "i0", "title": "Green tea", "brand": "Ace", "price": 4},
    {"item_id": "i1", "title": "Black tea", "brand": "Bolt", "price": 40},
    {"item_id": "i2", "title": "Black tea", "brand": "", "price": 7},
    {"item_id": "x3", "title": "Cup", "brand": "ace", "price": ""},
]


def _validate(tmp_path: Path, *rules: OwnRule) -> ValidationSummary:
    write(tmp_path / "in" / "items.jsonl", json_lines(*ITEMS))
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(9, items=1)))
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    settings = ValidationSettings(min_interactions=1, max_quarantined_share=1, rules=rules)
    return validate(tmp_path / "raw", tmp_path / "clean", settings, tmp_path / "docs")


def _rule(name: str = "own", **changes: Any) -> OwnRule:
    return OwnRule(**{"name": name, "table": "items", "column": "title", **changes})


CHECKS: list[tuple[dict[str, Any], list[str]]] = [
    ({"check": "not_null", "column": "brand"}, ["i2"]),
    ({"check": "not_null", "column": "price"}, ["x3"]),
    ({"check": "unique"}, ["i2"]),
    ({"check": "between", "column": "price", "minimum": 5, "maximum": 20}, ["i0", "i1"]),
    ({"check": "between", "column": "price", "maximum": 20}, ["i1"]),
    ({"check": "in_set", "column": "brand", "values": ("Ace", "Bolt")}, ["x3"]),
    ({"check": "in_set", "column": "price", "values": ("4", "7.0")}, ["i1"]),
    ({"check": "matches", "column": "item_id", "pattern": "i[0-9]"}, ["x3"]),
    ({"check": "matches", "column": "title", "pattern": "[A-Z][a-z]+"}, ["i0", "i1", "i2"]),
    ({"check": "length", "minimum": 4, "maximum": 9}, ["x3"]),
    ({"check": "sql", "column": "", "expression": "price < 10 OR starts_with(title, 'Black')"}, []),
    ({"check": "sql", "column": "", "expression": "price < 10 AND brand IS NOT NULL"}, ["i1", "i2"]),
    ({"check": "sql", "column": "", "expression": "price <= (SELECT 7)"}, ["i1"]),
    ({"check": "sql", "column": "", "expression": "price <= 7 -- cheap"}, ["i1"]),
    ({"check": "sql", "column": "", "expression": "(SELECT count(*) FROM staged_users) = 0"}, []),
]


def test_rules_that_differ_by_their_names_alone_are_all_judged(tmp_path: Path) -> None:
    twins = [_rule(name, severity="warn", check="not_null", column="brand") for name in ("one", "two")]
    warnings = _validate(tmp_path, *twins).tables["items"].warnings
    assert [warnings.get(rule.name) for rule in twins] == [1, 1]


def test_every_check_quarantines_the_rows_that_break_it(tmp_path: Path) -> None:
    rules = [_rule(f"own_{number}", **check) for number, (check, _) in enumerate(CHECKS)]
    summary = _validate(tmp_path, *rules)
    expected = {f"own_{number}": len(ids) for number, (_, ids) in enumerate(CHECKS) if ids}
    assert summary.tables["items"].rules == expected
    broken = {row["source_number"]: row["rules"] for row in read_rows(summary.quarantine / "items.parquet")}
    for line, item in enumerate(ITEMS, start=1):
        wanted = [f"own_{number}" for number, (_, ids) in enumerate(CHECKS) if item["item_id"] in ids]
        assert broken.get(line, []) == wanted, item


def test_more_rules_than_bits_of_a_number(tmp_path: Path) -> None:
    rules = [_rule(f"own_{n}", check="between", column="price", maximum=n) for n in range(70)]
    summary = _validate(tmp_path, *rules)
    counted = {f"own_{n}": sum(price > n for price in (4, 40, 7)) for n in range(70)}
    assert summary.tables["items"].rules == {name: count for name, count in counted.items() if count}
    rows = {row["source_number"]: row["rules"] for row in read_rows(summary.quarantine / "items.parquet")}
    assert rows[2] == [f"own_{n}" for n in range(40)]


def test_a_warning_counts_and_keeps_the_rows(tmp_path: Path) -> None:
    rule = {"check": "between", "column": "price", "maximum": 20, "severity": "warn", "why": "Nobody buys those."}
    summary = _validate(tmp_path, _rule(**rule), _rule("lenient", **rule, max_share=0.4))
    assert summary.tables["items"].rows_clean == 4
    assert summary.tables["items"].warnings == {"own": 1, "title_unique": 1}
    assert "items: own: 1 of 3 rows. Nobody buys those." in summary.warnings
    assert summary.gx_success
    assert "Nobody buys those." in summary.docs.read_text()


@pytest.mark.parametrize("check", [{"check": "unique"}, {"check": "length", "maximum": 8}])
def test_a_table_rule_stops_the_flow_where_too_many_rows_break_it(tmp_path: Path, check: dict[str, Any]) -> None:
    share = {"unique": 0.25, "length": 0.75}[check["check"]]
    assert _validate(tmp_path, _rule(**check, severity="table", max_share=share)).tables["items"].rows_clean == 4
    with pytest.raises(TableRejected, match=r"own: \d of 4 rows.*\(items\)"):
        _validate(tmp_path, _rule(**check, severity="table", max_share=share - 0.1))
    assert "stop the flow" in (tmp_path / "docs" / "index.html").read_text()


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ({"check": "not_null", "column": "colour"}, "column='colour', expected one of item_id, title, .*own"),
        ({"check": "between", "maximum": 1}, "column='title' of type string, expected a number"),
        ({"check": "between", "column": "price"}, "minimum and maximum empty"),
        ({"check": "between", "column": "created_at", "maximum": 3}, "column='created_at'"),
        ({"check": "length", "column": "price", "maximum": 3}, "column='price' of type double"),
        ({"check": "in_set"}, r"values=\(\), expected at least one"),
        ({"check": "in_set", "column": "price", "values": ("cheap",)}, "expected numbers"),
        ({"check": "matches"}, "a text column and a pattern"),
        ({"check": "matches", "pattern": "(["}, r"pattern='\(\['"),
        ({"check": "sql"}, "expression=''"),
        ({"check": "sql", "expression": "colour = 'red'"}, "expression=\"colour = 'red'\".*colour"),
        ({"check": "sql", "expression": "price <"}, "SQL that DuckDB understands"),
        ({"check": "sql", "expression": "(SELECT count(*) FROM read_text('/etc/hostname')) = 0"}, "reads no file"),
        ({"check": "sql", "expression": "price IN (FROM read_csv('{folder}/in/items.jsonl'))"}, "reads no file"),
        ({"check": "sql", "expression": "title IN (SELECT file FROM glob('/etc/*'))"}, "reads no file"),
        ({"check": "sql", "expression": "price IN (SELECT price FROM '/etc/prices.parquet')"}, "reads no file"),
        ({"check": "sql", "expression": "price > 1; SELECT 1"}, "SQL that DuckDB understands"),
        ({"check": "sql", "expression": "price > 1), (SELECT 1); SELECT (true"}, "not several statements"),
        ({"check": "unique", "name": "key_unique"}, "name='key_unique', expected a name that no other rule"),
    ],
)
def test_a_rule_that_does_not_fit_says_so(tmp_path: Path, rule: dict[str, Any], match: str) -> None:
    with pytest.raises(RuleError, match=match):
        _validate(tmp_path, _rule(**rule))


def test_a_locked_connection_reaches_the_given_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for name in ("own/a.csv", "secret.csv"):
        (tmp_path / name).write_text("x\n1\n")
    with open_staging(tmp_path / "own") as connection:
        lock_down(connection, [tmp_path / "own"])
        assert connection.execute(f"SELECT x FROM read_csv('{tmp_path}/own/a.csv')").fetchall() == [(1,)]
        for query in (f"FROM read_csv('{tmp_path}/secret.csv')", f"FROM '{tmp_path}/own/../secret.csv'"):
            with pytest.raises(duckdb.PermissionException):
                connection.execute(query)
        with pytest.raises(duckdb.Error, match="locked"):
            connection.execute("SET enable_external_access = true")
