"""Promotions and rollbacks on the time line, as the record of what is in service has them."""

from __future__ import annotations

from datetime import datetime

from core.layout import Layout
from core.logs.timeline import Entry, Kind, Timeline
from core.promotions import Change, read_standing
from flows.loop.events import EventName, emit

_GENERATION = "generation"


def record_changes(layout: Layout, cause: int | None = None) -> list[Entry]:
    """Put the changes of what is in service on the time line that are not on it yet, and send an event of the newest.

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
    last = [timeline.newest(kind) for kind in ("promotion", "rollback")]
    known = max((int(entry.details[_GENERATION]) for entry in last if entry is not None), default=0)
    added = []
    for generation, change in enumerate(changes[known:], known + 1):
        is_newest = generation == len(changes)
        added.append(_record(timeline, layout, change, generation, cause if is_newest else None))
    if added:
        newest, change = added[-1], changes[-1]
        name: EventName = "sommelier.rolled-back" if newest.kind == "rollback" else "sommelier.promoted"
        emit(layout.shop, name, newest.says, change.at, {"entry": newest.id, "version": change.version})
    return added


def _record(timeline: Timeline, layout: Layout, change: Change, generation: int, cause: int | None) -> Entry:
    is_back = change.action == "rolled back"
    kind: Kind = "rollback" if is_back else "promotion"
    tag = f"{layout.model_name}:{change.version}"
    told = f"{tag} is in service{' again, by a rollback' if is_back else ''}"
    says = f"{told}: {change.reason.removesuffix('.')}." if change.reason else f"{told}."
    details = {_GENERATION: generation, "digest": change.digest, "withdrawn": list(change.withdrawn)}
    at = datetime.fromisoformat(change.at)
    return timeline.add(kind, tag, "done", says, cause=cause, details=details, key=f"change/{generation}", at=at)
