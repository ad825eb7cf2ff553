"""A folder as it is at one moment, and the folder put back to that.

A process that is killed leaves what lies on the disk at that moment: a copy of the folder, taken between two writes,
is what a kill between them leaves.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from core.storage import UNFINISHED

# Written in place: half of them is what SQLite itself mends.
_IN_PLACE = re.compile(r"\.(db|sqlite)(-wal|-shm|-journal)?$")
_TEMPORARY = re.compile(rf"\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}")


@dataclass(frozen=True)
class Entry:
    """A file (its content's digest), a folder (None) or a link (its target)."""

    digest: str | None
    changed_ns: int
    link: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """A folder's names and contents."""

    entries: Mapping[str, Entry]

    @property
    def digest(self) -> str:
        """Of what a restart can make out: of temporary files and folders, that they are there."""
        seen = set()
        for name, entry in self.entries.items():
            plain = _TEMPORARY.sub(UNFINISHED, name)
            inside = plain != name
            head = plain[: plain.index(UNFINISHED)] if inside else plain
            seen.add((head, "") if inside else (head, entry.link or entry.digest or "/"))
        return sha256(repr(sorted(seen)).encode()).hexdigest()

    def digest_of(self, places: tuple[str, ...]) -> str:
        """Of all names that begin so, with their contents."""
        found = [(name, one.digest, one.link) for name, one in self.entries.items() if name.startswith(places)]
        return sha256(repr(found).encode()).hexdigest()


class Disk:
    """Snapshots of one folder; contents are kept once each.

    Args:
        folder: What is copied and put back.
        contents: Where the files' contents are kept.
    """

    def __init__(self, folder: Path, contents: Path) -> None:
        self.folder, self._contents = folder, contents
        contents.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)

    def take(self) -> Snapshot:
        """The folder as it is."""
        return Snapshot({name: self._entry(Path(place)) for name, place in self._walk()})

    def put(self, snapshot: Snapshot) -> None:
        """Make the folder what it was."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        for name, entry in snapshot.entries.items():
            place = self.folder / name
            if entry.link is not None:
                place.symlink_to(entry.link)
            elif entry.digest is None:
                place.mkdir()
            else:
                shutil.copyfile(self._contents / entry.digest, place)
                os.utime(place, ns=(entry.changed_ns, entry.changed_ns))
        for name, entry in reversed(list(snapshot.entries.items())):
            if entry.digest is None and entry.link is None:
                os.utime(self.folder / name, ns=(entry.changed_ns, entry.changed_ns))

    def torn(self, before: Snapshot, after: Snapshot) -> Snapshot | None:
        """The folder when files that were written between two moments were half there; None if none was."""
        cut = {
            name: Entry(self._half(entry.digest), entry.changed_ns)
            for name, entry in after.entries.items()
            if entry.digest is not None and entry != before.entries.get(name) and not _IN_PLACE.search(name)
            and entry.digest != getattr(before.entries.get(name), "digest", None)
            # A file that was renamed is not being written.
            and entry.digest not in {one.digest for one in before.entries.values()}
        }  # fmt: skip
        return Snapshot({**after.entries, **cut}) if cut else None

    def _walk(self) -> Iterator[tuple[str, str]]:
        """Every name below the folder, each folder before what is in it."""
        stack = [""]
        while stack:
            below = stack.pop()
            with os.scandir(self.folder / below) as found:
                names = sorted(found, key=lambda one: one.name)
            for one in names:
                name = f"{below}/{one.name}" if below else one.name
                yield name, one.path
                if one.is_dir(follow_symlinks=False):
                    stack.append(name)

    def _entry(self, place: Path) -> Entry:
        if place.is_symlink():
            return Entry(None, 0, str(place.readlink()))
        changed_ns = place.stat().st_mtime_ns
        return Entry(None if place.is_dir() else self._keep(place.read_bytes()), changed_ns)

    def _half(self, digest: str) -> str:
        content = (self._contents / digest).read_bytes()
        return self._keep(content[: len(content) // 2])

    def _keep(self, content: bytes) -> str:
        digest = sha256(content).hexdigest()
        kept = self._contents / digest
        if not kept.exists():
            kept.write_bytes(content)
        return digest
