"""Who belongs to an audience: users who are named, those of a segment, or everybody with events."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from core.events import canonical_id
from core.sql import identifier, literal
from features.clean_tables import attribute_columns, table_path
from flows.errors import NoAudience


def named_users(users: Iterable[str], file: Path | None) -> list[str]:
    """The users of a list and of a file, one id a line, each once and as the clean tables write ids.

    Raises:
        NoAudience: the file cannot be read.
    """
    lines: list[str] = []
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise NoAudience(
                "Cannot read the audience",
                got=f"users_file={file}",
                expected=f"a text file with one user id a line, but {type(error).__name__}",
                do="Correct the path: the flow reads it on the machine that it runs on",
            ) from error
    ids = (canonical_id(one) for one in (*users, *lines))
    return list(dict.fromkeys(one for one in ids if one))


def active_users(clean: Path, n_users: int, segment: str = "") -> list[str]:
    """Users with events, those first whose newest event is newest.

    Args:
        clean: The clean tables.
        n_users: How many at most.
        segment: `attribute=value` of the users table; empty for any user.
    Raises:
        NoAudience: the users have no such attribute.
    """
    only = f"WHERE user_id IN (SELECT user_id FROM {_read(clean, 'users')} WHERE {_holds(clean, segment)})"
    found = duckdb.sql(
        f"SELECT user_id FROM {_read(clean, 'interactions')} {only if segment else ''} "
        f"GROUP BY user_id ORDER BY max(timestamp) DESC, user_id LIMIT {int(n_users)}"
    )
    return [str(user) for (user,) in found.fetchall()]


def _holds(clean: Path, segment: str) -> str:
    """SQL that is true of users of a segment."""
    attribute, _, value = segment.partition("=")
    known = attribute_columns(clean) if segment else [attribute]
    if attribute not in known:
        raise NoAudience(
            "Cannot choose the audience",
            got=f"segment={segment}",
            expected=f"attribute=value, the attribute one of {known}",
            where=str(table_path(clean, "users")),
            do="Name an attribute of the users table, or leave the segment out",
        )
    return f"CAST({identifier(attribute)} AS VARCHAR) = {literal(value)}"


def _read(clean: Path, table: str) -> str:
    return f"read_parquet({literal(str(table_path(clean, table)))})"  # type: ignore[arg-type]
