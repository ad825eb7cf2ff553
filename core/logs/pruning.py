"""Which segments of the prediction log go, and what is known of those that went.

Before segments go, a keeper takes from them what is needed for longer; then it is written down that they go; then they
go. Killed anywhere in between, they are still there: the next one does it again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from core.ids import moment_of_id
from core.storage import exclusively, is_disk_full, sync_folder, write_json
from core.timing.clock import CLOCK

logger = logging.getLogger(__name__)

SUFFIX = ".jsonl"
KEPT = "kept"  # the folder of what was taken from segments: files that are named as those, in one folder for each need
LOCK = ".lock"  # held together by who appends, exclusively by who rewrites or removes
PRUNING_LOCK = ".pruning.lock"  # held by who takes from segments before they go; taken before the other one
_LOST = "lost.json"
_DAY_S = 24 * 3600
_AHEAD_S = 3660.0  # by which a clock may have been set back, as in spring and autumn: what it dated before is in order


@dataclass(frozen=True)
class Lost:
    """What went with segments.

    Attributes:
        until: Up to when answers may be gone from the log; None where none is.
        kept: Of each name that a keeper keeps answers under, up to when they are not: it has all of later.
    """

    until: datetime | None = None
    kept: Mapping[str, datetime] = field(default_factory=dict)


class Keeper(Protocol):
    """Takes from segments what is needed of them for longer."""

    def keep(self, segments: Sequence[Path], lost: Lost) -> Mapping[str, datetime]:
        """Have on the disk what is needed of segments that are to go; done again after a kill.

        Args:
            segments: The oldest first; often none.
            lost: What was gone before.
        Returns:
            `Lost.kept`, as it is once they went and `tidy` was done.
        """
        ...

    def tidy(self, kept: Mapping[str, datetime]) -> None:
        """Remove whatever `kept` does not name, or has as gone."""
        ...


def segments_of(folder: Path) -> list[Path]:
    """The segments, the oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def prune_segments(
    folder: Path, max_bytes: int, days: float, writing: Path | None = None, keeper: Keeper | None = None
) -> list[Path]:
    """Remove segments that are too old, and the oldest where they have too many bytes together; see `read_lost`.

    Args:
        writing: The segment that the caller writes, which stays.
        keeper: Takes from them what is needed for longer.
    Returns:
        Those that were removed.
    Raises:
        OSError: it cannot be written down that they go; then they stay.
        What the keeper raises; they stay too.
    """
    if not folder.is_dir() or (keeper is None and not _superfluous(folder, max_bytes, days, writing)):
        return []
    with exclusively(folder / PRUNING_LOCK):
        found = _superfluous(folder, max_bytes, days, writing)
        is_missing = _is_missing(folder)
        lost = Lost(_before_all(folder)) if is_missing else _known(folder, found)
        if lost is None:
            return []
        kept = {} if keeper is None else keeper.keep(list(found)[::-1], lost)
        with exclusively(folder / LOCK):
            # One that was written since holds more than was taken from it.
            gone = [segment for segment, before in found.items() if _is_as(segment, before)]
            if gone or is_missing or kept != lost.kept:
                _lose(folder, _newest(found[segment] for segment in gone), kept, lost, gone[::-1])
            for segment in gone:
                segment.unlink(missing_ok=True)
        if is_missing:
            logger.error(
                "%s was missing, though something is kept of segments that went. It is written anew, and all answers "
                "up to %s count as gone. One from a backup belongs there before the service starts",
                folder / _LOST,
                lost.until,
            )
        if keeper is not None:
            keeper.tidy(kept)
    return gone


def _superfluous(folder: Path, max_bytes: int, days: float, writing: Path | None) -> dict[Path, os.stat_result]:
    """The segments that are to go, the newest first."""
    oldest, now = CLOCK.earliest().timestamp() - days * _DAY_S, CLOCK.latest().timestamp()
    found: dict[Path, os.stat_result] = {}
    for segment in segments_of(folder):
        with suppress(FileNotFoundError):  # another process removes them too
            found[segment] = segment.stat()
    # What is dated in the future was written while the clock was ahead, before whatever was written since.
    newest_first = sorted(
        found, key=lambda one: (found[one].st_mtime <= now + _AHEAD_S, found[one].st_mtime), reverse=True
    )
    room, gone = max_bytes, {}
    for segment in newest_first:
        room -= found[segment].st_size
        if segment != writing and (room < 0 or found[segment].st_mtime < oldest):
            gone[segment] = found[segment]
    return gone


def _is_as(segment: Path, before: os.stat_result) -> bool:
    try:
        now = segment.stat()
    except FileNotFoundError:
        return False
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


def _newest(found: Iterable[os.stat_result]) -> datetime | None:
    """Of some segments the last write; a segment holds no answer that is later, nor one that is later than now."""
    now = CLOCK.latest().timestamp()
    moments = [min(one.st_mtime, now) for one in found]
    return datetime.fromtimestamp(max(moments), UTC) if moments else None


def lost_until(folder: Path) -> datetime | None:
    """Up to when answers may be missing, as segments that held them were removed; None where none was.

    Raises:
        ValueError: what is written down of it cannot be read.
    """
    return read_lost(folder).until


def read_lost(folder: Path) -> Lost:
    """What went with segments that were removed.

    Raises:
        ValueError: what is written down of it cannot be read, or is not there although segments went.
    """
    file = folder / _LOST
    if _is_missing(folder):
        raise ValueError(f"{_LOST} is missing, and what is kept of segments that went is there")
    try:
        told = json.loads(file.read_bytes())
        until = _moment(told["until"])
        kept = {str(name): _moment(one) for name, one in told.get("kept", {}).items()}
    except FileNotFoundError:
        return Lost()
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{_LOST} has no moment: {error}") from error
    return Lost(until, kept)


def _is_missing(folder: Path) -> bool:
    """Whether nothing is written down of segments that went, though something is kept of them."""
    file = folder / _LOST
    return not file.exists() and bool(_kept_of_gone(folder)) and not file.exists()


def _kept_of_gone(folder: Path) -> list[Path]:
    """What is kept of segments that are not there."""
    there = {one.stem for one in segments_of(folder)}
    kept = (one for one in folder.glob(f"{KEPT}/*/*") if not one.name.startswith("."))
    return [one for one in kept if one.stem not in there]


def _before_all(folder: Path) -> datetime:
    """Up to when answers went, as far as what is there can tell; now, where no segment is there.

    No segment that is there begins before. Those that went may overlap the oldest, as workers write beside each other:
    what is kept of them has their age. None ended after the first that is there: it would have gone before.
    """
    now, segments = CLOCK.latest(), segments_of(folder)
    if not segments:
        return now
    oldest = min(moment_of_id(segment.stem) or _last_write(segment) for segment in segments)
    overlapping = max([oldest, *map(_last_write, _kept_of_gone(folder))])
    return min(overlapping, *map(_last_write, segments), now)


def _last_write(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{_LOST}: until={moment.isoformat()}, expected a moment with its zone")
    return moment


def _known(folder: Path, going: Mapping[Path, os.stat_result]) -> Lost | None:
    """What went before. If that cannot be read, it is no later than what goes now; None where nothing does."""
    try:
        return read_lost(folder)
    except ValueError:
        logger.exception("What was written down of removed segments cannot be read; it is written anew once some go")
        return Lost(_newest(going.values())) if going else None


def _lose(
    folder: Path,
    moment: datetime | None,
    kept: Mapping[str, datetime],
    before: Lost,
    segments: Sequence[Path],
) -> None:
    """Write down that segments go, and what is kept of them.

    Before they do: whoever reads the log in between finds too much of it, and never too little unsaid. A full disk has
    no room for that: then as many go before as it takes, the first of them first.
    """
    until = max((one for one in (moment, before.until) if one is not None), default=None)
    if until is None:
        return
    with suppress(ValueError):
        if read_lost(folder) == Lost(until, kept):
            return
    told = {"until": until.isoformat()}
    more = {name: one.isoformat() for name, one in kept.items()}
    for segment in (*segments, None):
        try:
            write_json(folder / _LOST, {**told, **({"kept": more} if more else {})})
            break
        except OSError as error:
            if segment is None or not is_disk_full(error):
                raise
            segment.unlink(missing_ok=True)
    sync_folder(folder)
