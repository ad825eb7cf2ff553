"""From files to the contract's tables: which file is the log, which describe items and users, and by which columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.schema import TABLE_NAMES, TableName
from validation.profile.extracts.counts import overlap
from validation.profile.extracts.files import Workspace
from validation.profile.roles.entities import read_flat_items, read_flat_users, read_items, read_users
from validation.profile.roles.log import read_log
from validation.profile.roles.sheet import Sheet
from validation.profile.values.column import Column, is_index
from validation.profile.values.words import Role, attribute_name, name_rank

_LEAST_OVERLAP = 0.3
_LOG_ROLES: tuple[tuple[Role, str], ...] = (
    ("event_id", "event_id"), ("user", "user_id"), ("item", "item_id"), ("event", "event"), ("value", "value"),
    ("time", "timestamp"), ("position", "position"),
)  # fmt: skip


@dataclass
class Table:
    """One of the contract's tables as it was found.

    Attributes:
        columns: Contract column, or attribute, to the file's column.
        why: The evidence for the file.
    """

    name: TableName
    sheet: Sheet
    columns: dict[str, str]
    why: str = ""


@dataclass
class Assignment:
    """The tables of a source, and the files that none of them uses.

    Attributes:
        rivals: Files that could be the log as well, where only one can be.
        others: The sheets beside the log.
    """

    tables: dict[TableName, Table] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    rivals: list[str] = field(default_factory=list)
    others: list[Sheet] = field(default_factory=list)

    @property
    def log(self) -> Sheet:
        return self.tables["interactions"].sheet


def assign(workspace: Workspace, now: datetime) -> Assignment:
    """Give each of the contract's tables a file and columns.

    Returns:
        At least interactions, though some of their columns may be missing, which raises a question.
    """
    sheets = [Sheet.of(workspace, extract, now) for extract in workspace.extracts if extract.n_rows]
    named = {table: sheet for table in TABLE_NAMES for sheet in sheets if _stem(sheet) == table}
    logs = [sheet for sheet in sheets if sheet not in [named.get(t) for t in ("users", "items", "feedback")]]
    for sheet in logs:
        read_log(sheet)
    log = named.get("interactions") or max(logs or sheets, key=lambda sheet: _log_rank(sheet, len(sheets)))
    if not log.picks:
        read_log(log)
    found = Assignment()
    found.tables["interactions"] = Table("interactions", log, _log_columns(log), _describe_log(log))
    others = found.others = [sheet for sheet in sheets if sheet is not log]
    found.rivals = [other.extract.name for other in others if other.extract.columns == log.extract.columns]
    rest = [sheet for sheet in others if sheet.extract.name not in found.rivals]
    _find_feedback(found, rest, named.get("feedback"))
    _find_entities(found, "items", rest, named.get("items"))
    _find_entities(found, "users", rest, named.get("users"))
    used = [id(table.sheet) for table in found.tables.values()]
    for sheet in rest:
        if id(sheet) not in used:
            found.unused[sheet.extract.name] = "neither its ids nor its columns show which table it is"
    return found


def _stem(sheet: Sheet) -> str:
    return sheet.extract.name.split(".")[0].lower()


def _log_rank(sheet: Sheet, n_sheets: int) -> float:
    """How surely a file is the log: it has users, items and times, and items repeat."""
    ranks = {"user": 4.0, "item": 4.0, "time": 2.0, "event": 1.0, "value": 1.0}
    rank = sum(worth for role, worth in ranks.items() if role in sheet.picks)
    user, item = sheet.picks.get("user"), sheet.picks.get("item")
    if n_sheets > 1 and sheet.extract.n_rows > 1:
        rank -= 5.0 * sum(column is not None and column.is_unique for column in (user, item))
    return rank + min(0.9, sheet.extract.n_total / 1e9)


def _log_columns(sheet: Sheet) -> dict[str, str]:
    return {column: sheet.name(role) for role, column in _LOG_ROLES if role in sheet.picks}


def _describe_log(sheet: Sheet) -> str:
    n = f"{'' if sheet.extract.is_whole else 'about '}{sheet.extract.n_total:,} rows"
    has = [word for role, word in (("user", "users"), ("item", "items"), ("time", "times")) if role in sheet.picks]
    return f"{n} with {', '.join(has)}" if has else n


def _find_feedback(found: Assignment, rest: Sequence[Sheet], named: Sheet | None) -> None:
    """Reviews: a file of that name, the log itself where it has texts, or another file with users, items and texts."""
    for sheet in [named] if named else [found.log, *rest]:
        if sheet is None:
            continue
        if not sheet.picks:
            read_log(sheet)
        if not {"user", "item", "text"} <= set(sheet.picks):
            continue
        roles: tuple[tuple[Role, str], ...] = (
            ("user", "user_id"), ("item", "item_id"), ("value", "rating"), ("text", "text"), ("time", "timestamp"),
        )  # fmt: skip
        columns = {column: sheet.name(role) for role, column in roles if role in sheet.picks}
        given = sheet.picks["text"].share_given
        found.tables["feedback"] = Table("feedback", sheet, columns, f"{given:.0%} of the rows have a text")
        return


def _find_entities(found: Assignment, table: TableName, rest: Sequence[Sheet], named: Sheet | None) -> None:
    """Items or users: a file whose ids are those of the log, or else the log itself where it describes them."""
    role: Role = "item" if table == "items" else "user"
    key = found.log.picks.get(role)
    if key is None:
        return
    read = read_items if table == "items" else read_users
    taken = [id(one.sheet) for one in found.tables.values()]
    free = [sheet for sheet in rest if id(sheet) not in taken]
    match = _best_match(found.log, key, [named] if named else free, role, is_named=named is not None)
    if match:
        sheet, own, why = match
        sheet.picks, sheet.ties = {}, {}
        found.tables[table] = Table(table, sheet, read(sheet, own.name), why)
        return
    flat = Sheet(found.log.workspace, found.log.extract, found.log.columns, found.log.now, dict(found.log.picks))
    columns = read_flat_items(flat) if table == "items" else read_flat_users(flat)
    if columns:
        found.log.picks |= {one: column for one, column in flat.picks.items() if one not in found.log.picks}
        n = f"{key.n_distinct:,} {table}"
        found.tables[table] = Table(table, found.log, columns, f"the same file describes its {n}")


def _best_match(
    log: Sheet, key: Column, sheets: Sequence[Sheet], role: Role, *, is_named: bool
) -> tuple[Sheet, Column, str] | None:
    """The file and its column that hold the log's ids."""
    best, found = (-2.0, 0.0, 0.0, 0.0), None
    for sheet in sheets:
        for column in sheet.columns:
            if column.n_given == 0 or column.n_distinct < 0.5 * column.n_given or column.mean_chars > 200:
                continue
            common, n_log, n_own = overlap(log.workspace, (log.extract, key.name), (sheet.extract, column.name))
            share = common / max(1, min(n_log, n_own))
            same_name = float(attribute_name(column.name) == attribute_name(key.name))
            rank = (
                _file_hint(sheet, role),
                round(common / max(1, n_log), 1),
                same_name,
                name_rank(role, column.name) + column.is_unique,
            )
            if common and share >= _LEAST_OVERLAP and rank > best and not (_is_counter(column) and not is_named):
                best = rank
                found = (sheet, column, f"{common:,} of the {n_log:,} ids of the log are in {column.name}")
    if found or not is_named:
        return found
    (sheet,) = sheets
    sheet.picks, sheet.ties = {}, {}
    own = sheet.pick(role) or next(iter(sheet.columns), None)
    return (sheet, own, "by the file's name") if own else None


def _file_hint(sheet: Sheet, role: Role) -> float:
    """1 where the file's name is that of the role, -1 where it is that of the other one."""
    stem = sheet.extract.name.split(".")[0].lower()
    words = {stem, *re.split(r"[\W_]+", stem)}
    words |= {word.removesuffix("s") for word in words} | {word.removesuffix("ies") + "y" for word in words}
    ranks: dict[Role, float] = {one: max(name_rank(one, word) for word in words) for one in ("user", "item")}
    own, other = ranks[role], ranks["user" if role == "item" else "item"]
    return float(own > other) - float(other > own)


def _is_counter(column: Column) -> bool:
    """Row numbers overlap with any other numbers."""
    return is_index(column)
