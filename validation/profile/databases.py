"""A SQLite database: its tables as extracts, a table of order lines joined to its orders, and the queries for it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from core.schema import TABLES
from core.sql import identifier
from validation.errors import SourceError
from validation.profile.draft import Draft
from validation.profile.extracts.files import Workspace, load_arrow
from validation.profile.roles.tables import Assignment, Table
from validation.profile.values.column import id_like
from validation.profile.values.words import name_rank

_MAX_ROWS = 200_000
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = (
    "ADD ALL AND AS ASC BY CASE CAST CHECK COLUMN COMMIT CREATE CROSS CURRENT DATE DAY DEFAULT DELETE DESC "
    "DISTINCT DO DROP ELSE END EXISTS FOR FOREIGN FROM FULL GROUP HAVING IN INDEX INNER INSERT INTO IS JOIN "
    "KEY LEFT LIKE LIMIT MONTH NATURAL NO NOT NULL OF OFFSET ON OR ORDER OUTER OVER PRIMARY RANGE REFERENCES "
    "RIGHT ROW ROWS SELECT SET TABLE THEN TIME TIMESTAMP TO TRANSACTION TRIGGER UNION UNIQUE UPDATE USER USING "
    "VALUES VIEW WHEN WHERE WITH YEAR"
)
_KEYWORDS = frozenset(_RESERVED.split())
QUERIES = "recipe.source.queries"


@dataclass
class Database:
    """What the extracts of a database come from: what stands after FROM, and the expression of each column."""

    froms: dict[str, str] = field(default_factory=dict)
    expressions: dict[str, dict[str, str]] = field(default_factory=dict)


def source_url(path: Path) -> str:
    """The URL of a SQLite file, as the settings have it."""
    return f"sqlite:///{quote(str(path))}"


def load_database(workspace: Workspace, path: Path) -> Database:
    """Load the first rows of every table and view, and of those that have to be joined to know who did what when.

    Raises:
        SourceError: the file cannot be read as a database, or has no tables.
    """
    database = Database()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.text_factory = lambda data: data.decode("utf-8", errors="replace")
            names = [
                str(name)
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master "
                    "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY 1"
                )
            ]
            columns = {name: _columns(connection, name) for name in names}
            for name in names:
                own = {column: _plain(column) for column in columns[name]}
                _load(workspace, database, connection, name, _plain(name), own)
            for name in names:
                for parent, (own_key, parent_key) in _parents(connection, name, columns).items():
                    if _needs(columns[name], columns[parent]):
                        _load_joined(workspace, database, connection, (name, own_key), (parent, parent_key), columns)
    except sqlite3.Error as error:
        raise SourceError(
            "Cannot profile database",
            got=str(error),
            expected="a SQLite database",
            where=str(path),
            do="Check the file",
        ) from error
    if not workspace.extracts:
        raise SourceError(
            "Cannot profile database", got="tables=0", expected="tables with rows", where=str(path), do="Check the file"
        )
    return database


def draft_queries(draft: Draft, found: Assignment, database: Database) -> None:
    """A query per table, and a question where no column is known to name the users or the items."""
    read = " ".join(database.froms[table.sheet.extract.name] for table in found.tables.values())
    found.unused = {name: why for name, why in found.unused.items() if _plain(name) not in read.split()}
    for table in found.tables.values():
        missing = [role for role in ("user", "item") if role not in table.sheet.picks and table.name == "interactions"]
        if not missing:
            draft.set(QUERIES, table.name, query(table, database), table.why)
            continue
        role = missing[0]
        text = f"No column of {table.sheet.extract.name} is known to name the {role}s: which one does?"
        choices = [column.name for column in id_like(table.sheet.columns) if column.name not in table.sheet.used]
        with_choice = [{**table.columns, f"{role}_id": choice} for choice in choices]
        asked = [Table(table.name, table.sheet, columns) for columns in with_choice]
        draft.ask(QUERIES, text, [(table.name, query(one, database)) for one in asked])


def query(table: Table, database: Database) -> str:
    """The query that gives a table; of items or users that stand in the log, one row each."""
    name = table.sheet.extract.name
    expressions = database.expressions[name]
    key = next(iter(TABLES[table.name].key))
    repeats = table.name in ("users", "items") and not _is_key(table, key)
    picked = []
    for column, own in table.columns.items():
        expression = expressions[own]
        value = f"max({expression})" if repeats and column != key else expression
        picked.append(value if value == column else f"{value} AS {_alias(column)}")
    where = f" WHERE {expressions[table.columns[key]]} IS NOT NULL" if repeats else ""
    group = f" GROUP BY {expressions[table.columns[key]]}" if repeats else ""
    return f"SELECT {', '.join(picked)} FROM {database.froms[name]}{where}{group}"


def _is_key(table: Table, key: str) -> bool:
    return any(column.name == table.columns[key] and column.is_unique for column in table.sheet.columns)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({identifier(table)})")]


def _parents(
    connection: sqlite3.Connection, table: str, columns: Mapping[str, list[str]]
) -> dict[str, tuple[str, str]]:
    """Tables that a table refers to: by its foreign keys, or by a column named after the other's id."""
    parents = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({identifier(table)})"):
        parent, own, key = str(row[2]), str(row[3]), row[4]
        if parent in columns and parent != table:
            parents[parent] = (own, str(key) if key else columns[parent][0])
    for parent, names in columns.items():
        if parent == table or parent in parents:
            continue
        singular = parent.lower().removesuffix("s")
        for own in columns[table]:
            if own.lower() in (f"{singular}_id", f"{singular}id", f"{singular}_no"):
                key = next((name for name in names if name.lower() in ("id", own.lower())), "")
                if key:
                    parents[parent] = (own, key)
    return parents


def _needs(own: list[str], parent: list[str]) -> bool:
    """Whether a table has items and lacks the user or the time that its parent has."""

    def has(role: Any, names: list[str]) -> bool:
        return any(name_rank(role, name) >= 2 for name in names)

    return has("item", own) and any(not has(role, own) and has(role, parent) for role in ("user", "time"))


def _load_joined(
    workspace: Workspace,
    database: Database,
    connection: sqlite3.Connection,
    own: tuple[str, str],
    parent: tuple[str, str],
    columns: Mapping[str, list[str]],
) -> None:
    (table, own_key), (other, key) = own, parent
    source = f"{_plain(table)} AS a JOIN {_plain(other)} AS b ON a.{_plain(own_key)} = b.{_plain(key)}"
    expressions = {name: f"a.{_plain(name)}" for name in columns[table]}
    expressions |= {name: f"b.{_plain(name)}" for name in columns[other] if name not in expressions and name != key}
    _load(workspace, database, connection, f"{table} with {other}", source, expressions)


def _load(
    workspace: Workspace,
    database: Database,
    connection: sqlite3.Connection,
    name: str,
    source: str,
    expressions: dict[str, str],
) -> None:
    cursor = connection.execute(f"SELECT {', '.join(expressions.values())} FROM {source} LIMIT {_MAX_ROWS}")
    rows = cursor.fetchall()
    ((n_total,),) = connection.execute(f"SELECT count(*) FROM {source}").fetchall()
    texts = [[_text(row[n]) for row in rows] for n in range(len(expressions))]
    table = pa.table([pa.array(column, pa.string()) for column in texts], names=list(expressions))
    load_arrow(workspace, table, name, n_total=n_total, is_whole=n_total <= _MAX_ROWS)
    database.froms[name], database.expressions[name] = source, expressions


def _alias(column: str) -> str:
    """A column of the contract by its own name; an attribute in quotes where SQL needs them."""
    return column if any(column in table.arrow().names for table in TABLES.values()) else _plain(column)


def _plain(name: str) -> str:
    """A name as SQL writes it, in quotes where it needs them."""
    return name if _SIMPLE.fullmatch(name) and name.upper() not in _KEYWORDS else identifier(name)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)
