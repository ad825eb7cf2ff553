"""When a shop's rows were read as they came, and when they go: a small note beside them, in raw and in quarantine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.storage import sync_folder, write_json

ORIGINALS_FILE = "originals.json"


class Originals(BaseModel):
    """Rows as the source had them.

    Attributes:
        read_at: When they were read.
        removed_at: When they were removed; None: they are there.
        kept_days: How many days they were kept; None: they are there.
    """

    model_config = ConfigDict(frozen=True)

    read_at: datetime
    removed_at: datetime | None = None
    kept_days: float | None = None


def note_originals(folder: Path, read_at: datetime) -> None:
    """Note beside rows when they were read."""
    write_json(folder / ORIGINALS_FILE, Originals(read_at=read_at).model_dump(mode="json"))


def read_originals(folder: Path) -> Originals:
    """What is known of a folder's originals; where no note lies, they count as read when the folder was made."""
    note = folder / ORIGINALS_FILE
    if note.is_file():
        return Originals.model_validate_json(note.read_text(encoding="utf-8"))
    files = [path for path in folder.iterdir() if path.is_file()]
    oldest = min(path.stat().st_mtime for path in files or [folder])
    return Originals(read_at=datetime.fromtimestamp(oldest, UTC))


def remove_originals(folder: Path, kept_days: float, now: datetime) -> int:
    """Remove rows from a folder; the note that they are gone stays, and is there first.

    Returns:
        How many files were removed.
    """
    known = read_originals(folder)
    files = sorted(folder.glob("*.parquet"))
    if known.removed_at is None:
        gone = known.model_copy(update={"removed_at": now, "kept_days": kept_days})
        write_json(folder / ORIGINALS_FILE, gone.model_dump(mode="json"))
    for file in files:
        file.unlink()
    sync_folder(folder)
    return len(files)
