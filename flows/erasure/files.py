"""Files that name a person: derived ones are removed, to be made again, the others go on without the id."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from core.layout import Layout
from core.logs.wal import scrub
from core.sql import identifier, literal
from core.storage import UNFINISHED, atomic_file, sync_folder, whole_folders
from core.tombstones import Tombstones
from flows.erasure.contents import (
    PIECE_BYTES,
    kind_of,
    mentions_sql,
    names,
    open_sqlite,
    parse_json,
    pieces,
    tables_of,
)
from flows.erasure.person import FORGOTTEN, Person
from validation.raw.forgotten import holds_forgotten
from validation.sources.ingest import read_note

_BUSY_TIMEOUT_S = 60.0


def holds_person(raw: Path, person: Person, tombstones: Tombstones) -> bool:
    """Whether a raw folder has rows of the person, as its tables read them, or text that names them."""
    note = read_note(raw)
    return any(
        holds_forgotten(str(raw / part.file), part.tables, note.forms, tombstones) or names(raw / part.file, person)
        for part in note.parts
    )


def stage_folders(layout: Layout, stage: str) -> list[Path]:
    """Whole results of a stage."""
    return whole_folders(layout.root / stage)


def remove_unfinished(*roots: Path) -> None:
    """Remove what killed processes left half written anywhere below folders; nobody may write there meanwhile."""
    for path in [path for root in roots for path in root.rglob(f".*{UNFINISHED}")]:
        remove(path)


def is_sidecar(path: Path) -> bool:
    """Whether a file belongs to a SQLite file beside it: only SQLite may write it."""
    return path.name.endswith(("-wal", "-shm", "-journal"))


def remove(path: Path) -> None:
    """Remove a file or a folder; that it is gone lasts. A folder that is removed in part has another name."""
    if path.is_dir() and not path.is_symlink():
        if not path.name.endswith(UNFINISHED):
            path = path.rename(path.with_name(f".{path.name}.{uuid4().hex[:8]}{UNFINISHED}"))
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    sync_folder(path.parent)


def files_below(*roots: Path) -> Iterator[Path]:
    """Every file below folders, each once; also single files."""
    for root in roots:
        if root.is_file():
            yield root
        elif root.is_dir():
            yield from sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def remove_naming(folders: list[Path], person: Person) -> int:
    """Remove the folders or files in which the person is named; how many went."""
    gone = [one for one in folders if any(names(file, person) for file in files_below(one))]
    for one in gone:
        remove(one)
    return len(gone)


def redact(path: Path, person: Person) -> int:
    """Take the id out of one file that is kept, whatever kind it is; how many rows, or 1 for a file of text.

    Returns:
        0 where it is not named, or the file is of a kind that cannot be written without it: a search finds it then.
    """
    kind = kind_of(path)
    if kind == "sqlite":
        return redact_sqlite(path, person)
    if kind not in ("json", "other") or not names(path, person):
        return 0
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return 0
    parsed = parse_json(text) if kind == "json" else None
    new = person.redact(text) if parsed is None else _as_json(person.redact_json(parsed), indent=2) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return 1


def redact_sqlite(path: Path, person: Person) -> int:
    """Take the id out of every row of a SQLite file, which others may have open, and out of its free pages."""
    changed = 0
    with open_sqlite(path, person) as connection:
        connection.create_function("redacted", 2, lambda value, column: _redacted(value, str(column), person))
        for table, columns in tables_of(connection):
            for column in columns:
                name, label = identifier(column), literal(column)
                where = f"WHERE {mentions_sql(column, person)}"
                update = f"UPDATE {identifier(table)} SET {name} = redacted({name}, {label}) {where}"
                try:
                    changed += connection.execute(update).rowcount
                except sqlite3.IntegrityError:  # the word that replaces the id may not stand there twice
                    changed += connection.execute(f"DELETE FROM {identifier(table)} {where}").rowcount
        # Also where no row was found: what was deleted before is still in free pages.
        scrub(connection, _BUSY_TIMEOUT_S)
    return changed


def blot_log(path: Path, person: Person, piece_bytes: int = PIECE_BYTES) -> int:
    """Blot the id out of a log that a process may be appending to: nothing moves, and nothing is cut off.

    Args:
        piece_bytes: How much of it is held at a time.
    Returns:
        1 where the log named the person, else 0.
    """
    changed = 0
    with path.open("r+b") as file:
        for start, piece, is_first, is_last in pieces(file, person, piece_bytes):
            if (new := person.blot(piece, is_first=is_first, is_last=is_last)) != piece:
                file.seek(start)
                file.write(new)
                changed = 1
    return changed


def _as_json(value: Any, indent: int | None = None) -> str:
    """JSON with every letter as it is; half a character, which UTF-8 cannot hold, stays escaped."""
    return json.dumps(value, indent=indent, ensure_ascii=False).encode(errors="backslashreplace").decode()


def _redacted(value: Any, column: str, person: Person) -> Any:
    if isinstance(value, bytes):
        return person.blot(value)
    if not isinstance(value, str):
        return value
    parsed = parse_json(value)
    if parsed is not None:
        return _as_json(person.redact_json(parsed, column))
    return FORGOTTEN if person.is_value(value) else person.redact(value)
