"""Promotions and rollbacks on the time line, as the record of what is in service has them."""

from __future__ import annotations

from datetime import datetime

from core.layout import Layout
from core.logs.timeline import Entry, Kind, Timeline
from core.promotions import Change, read_standing
from flows.loop.notices import tell, untold

_GENERATION = "generation"
_KINDS: tuple[Kind, ...] = ("promotion", "rollback")
_MANY = 100_000


def record_changes(layout: Layout, cause: int | None = None) -> list[Entry]:
    """Put the changes of what is in service on the time line that are not on it yet, and have the newest told, with
    whatever else nobody was told of yet.

    Whoever promotes or rolls back calls it, and `monitor`: one that was killed in between leaves no gap.

    Args:
        layout: Of the shop.
        cause: Of the entry that led to the newest change.
    Returns:
        The entries, the oldest first.
    Raises:
        TimelineError: they cannot be written.
        PromotionRecordError: the record of what is in service cannot be read.
    """
    timeline, changes = Timeline(layout.timeline), read_standing(layout.model_name).changes
    there = {(entry.kind, entry.subject, _moment(entry.at)) for entry in timeline.read(_KINDS, limit=_MANY)}
    # By what it is, not by how many there are: a model store that is put back from a backup has fewer.
    known = next((n for n in range(len(changes), 0, -1) if _identity(layout, changes[n - 1]) in there), 0)
    added = []
    for generation, change in enumerate(changes[known:], known + 1):
        is_newest = generation == len(changes)
        added.append(_record(timeline, layout, change, generation, cause, is_newest=is_newest))
    tell(layout)
    return added


def _record(
    timeline: Timeline, layout: Layout, change: Change, generation: int, cause: int | None, *, is_newest: bool
) -> Entry:
    kind, tag, _ = _identity(layout, change)
    is_back = kind == "rollback"
    told = f"{tag} is in service{' again, by a rollback' if is_back else ''}"
    says = f"{told}: {change.reason.removesuffix('.')}." if change.reason else f"{told}."
    details = {
        _GENERATION: generation,
        "version": change.version,
        "digest": change.digest,
        "withdrawn": list(change.withdrawn),
    }
    if is_newest:
        details |= untold("sommelier.rolled-back" if is_back else "sommelier.promoted")
    at, key = datetime.fromisoformat(change.at), f"change/{change.at}/{change.action}/{change.version}"
    reason = cause if is_newest else None
    return timeline.add(kind, tag, "done", says, cause=reason, details=details, key=key, at=at)


def _identity(layout: Layout, change: Change) -> tuple[Kind, str, str]:
    """Kind, subject and time of a change's entry."""
    kind: Kind = "rollback" if change.action == "rolled back" else "promotion"
    return kind, f"{layout.model_name}:{change.version}", _moment(change.at)


def _moment(at: str) -> str:
    """A time as exactly as the time line has it."""
    return datetime.fromisoformat(at).isoformat(timespec="milliseconds")
