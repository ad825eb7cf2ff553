"""Who is told what of the time line: an entry of which somebody is to be told says so until the blocks have answered.

Whoever records such an entry calls `tell`, and so does each look of `monitor` and `follow-canary`: what a killed
process or a server that was away left untold is told by the next one, and so is what a block failed to send. Everything
is told at least once; where it is told again after a failure, blocks that had answered are told twice.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from httpx import HTTPError
from pydantic import BaseModel, ConfigDict

from core.layout import Layout
from core.logs.timeline import ON, Entry, Timeline
from flows.environment import current_settings
from flows.loop.events import EventName, emit, find_fate, id_of, is_in_run

logger = logging.getLogger(__name__)
UNTOLD = "untold"  # in the details of an entry; None once somebody is told
_TRIES = 5
_ANSWERED_WITHIN = timedelta(minutes=5)
_FORGOTTEN_AFTER = timedelta(days=2)  # by the server, which keeps events for some days


class Notice(BaseModel):
    """What is to be told of an entry.

    Attributes:
        event: That has Prefect's server tell it.
        says: One sentence; empty: that of the entry.
        tries: How often the event was sent.
        sent_at: When it was sent last, ISO 8601; empty where it was not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: EventName
    says: str = ""
    tries: int = 0
    sent_at: str = ""


def untold(event: EventName | None, says: str = "") -> dict[str, Any]:
    """Details of an entry of which somebody is to be told.

    Args:
        event, says: As of a notice; without an event nobody is to be told any more.
    """
    return {UNTOLD: None if event is None else Notice(event=event, says=says).model_dump(mode="json")}


def words_of_over(alarm: Entry) -> str:
    """That an alarm is over, for those too whom nobody told that it was on: of one entry the newest is told alone."""
    return f"Over, on since {alarm.at[:16].replace('T', ' ')} UTC: {alarm.says}"


def tell(layout: Layout, moment: datetime | None = None) -> list[Entry]:
    """Send an event of each entry of which nobody was told yet, and again of those whose blocks have failed.

    Args:
        layout: Of the shop.
        moment: Now, by default.
    Returns:
        The entries of which an event was sent.
    Raises:
        TimelineError: the time line cannot be read or written.
    """
    timeline, now, sent = Timeline(layout.timeline), moment or datetime.now(UTC), []
    for entry in timeline.detailed(UNTOLD):
        notice = _notice_of(entry)
        if notice.tries and not _is_to_be_told_again(layout.shop, timeline, entry, notice, now):
            continue
        more = {**{name: value for name, value in entry.details.items() if name != UNTOLD}, "entry": entry.id}
        if not emit(layout.shop, notice.event, notice.says or entry.says, _key(entry, notice), more):
            break  # the next look tells it, and what comes after it
        after = notice.model_copy(update={"tries": notice.tries + 1, "sent_at": now.isoformat()})
        _note(timeline, entry, {UNTOLD: after.model_dump(mode="json")})
        sent.append(entry)
    return sent


def _is_to_be_told_again(shop: str, timeline: Timeline, entry: Entry, notice: Notice, now: datetime) -> bool:
    """Whether what was sent told nobody; of what is told, or is given up, the entry says so."""
    since = now - datetime.fromisoformat(notice.sent_at)
    if since < _ANSWERED_WITHIN or not is_in_run():
        return False
    before = notice.model_copy(update={"tries": notice.tries - 1})
    try:
        fate = find_fate(id_of(shop, notice.event, _key(entry, before)))
    except HTTPError as error:
        logger.warning("Whether somebody was told of entry %d is asked again: %s", entry.id, error)
        return False
    is_told = fate == "told" or (fate == "taken" and not current_settings().loop.notifications.blocks)
    if not is_told and since < _FORGOTTEN_AFTER and notice.tries < _TRIES:
        return True
    if not is_told:
        logger.warning("Whether somebody was told of entry %d is not known; it is not told again", entry.id)
    _note(timeline, entry, untold(None))
    return False


def _note(timeline: Timeline, entry: Entry, after: dict[str, Any]) -> None:
    """Say what became of a notice, unless there is a newer one of the entry by now, which is told next."""
    timeline.note(entry, after, where={UNTOLD: entry.details[UNTOLD]})


def _notice_of(entry: Entry) -> Notice:
    """What is to be told of an entry; earlier versions noted of an alarm no more than that it was to be told."""
    if entry.details[UNTOLD] is not True:
        return Notice.model_validate(entry.details[UNTOLD])
    if entry.state == ON:
        return Notice(event="sommelier.alarm.raised")
    return Notice(event="sommelier.alarm.cleared", says=words_of_over(entry))


def _key(entry: Entry, notice: Notice) -> str:
    """Tells the event of the next try from others; one that is sent twice, as a process was killed, counts once."""
    return f"{entry.id}/{entry.at}/{notice.tries}"
