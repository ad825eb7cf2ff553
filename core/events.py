"""What an acceptable event is: one definition for the service, the data gate and the online store.

The gate checks rows in SQL, the others check one event at a time, so the constants and rules stand here once. What only
the whole tables show (an unknown item, a bot) is the gate's alone: the next refresh of the features takes a bot's
events out of the online store again, and events on an item that the store does not know wait for it in the log.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from core.logs.events import Interaction
from core.schema import EVENTS, MAX_ID_CHARS, RATING_RANGE

RATING_EVENT = "rating"
# A client's clock may be ahead of the server's by this much.
CLOCK_SKEW = timedelta(minutes=5)
# The first web shops opened in 1995; a shop's own limit is the setting validation.earliest.
EARLIEST = date(1995, 1, 1)
# Around an id: the white space of Unicode, and what has no width (zero-width space, word joiner, byte order mark).
BLANKS = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
BLANKS += "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\u2028\u2029\u200b\u2060\ufeff"
# MongoDB's {"$oid": "…"}, {"$date": "…"} and the like: what is inside. Valid in RE2 and in Python.
WRAPPED = r"""^\{\s*"\$(?:oid|date|numberLong|numberInt|numberDouble|numberDecimal|uuid)"\s*:\s*"""
WRAPPED += r"""(?:\{\s*"\$numberLong"\s*:\s*)?"?([^"{}]+)"?\s*\}{1,2}$"""
# No database keeps a NUL in a text; U+FFFD stands where bytes could not be read, so two ids may have become one.
BROKEN_ID_CHARS = ("\x00", "\ufffd")
INTACT_ID = r"^[^\x00\ufffd]*$"
_WRAPPED = re.compile(WRAPPED)
_INTACT = re.compile(INTACT_ID)
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")


def canonical_id(text: str) -> str:
    """An id as the clean tables have it: unwrapped, without blanks around it, and 17850 where it says 17850.0.

    Letters stay as the shop writes them: in another form of Unicode (NFC) the ids of answers would not be the shop's.
    """
    trimmed = text.strip(BLANKS)
    wrapped = _WRAPPED.fullmatch(trimmed)
    inside = wrapped[1].strip(BLANKS) if wrapped else trimmed
    whole = _WHOLE.fullmatch(inside)
    return whole[1] if whole else inside


def kept_value(kind: str, value: float | None) -> float | None:
    """The value that an event keeps: only a rating has one."""
    return value if kind == RATING_EVENT else None


def bad_id(text: str) -> str | None:
    """The rule that a canonical id breaks, None if it is good."""
    if not text:
        return "an id that is not blank"
    if not _INTACT.fullmatch(text):
        return "an id without a NUL or a replacement character (U+FFFD)"
    return f"an id of at most {MAX_ID_CHARS} characters" if len(text) > MAX_ID_CHARS else None


def bad_value(kind: str, value: float | None) -> str | None:
    """The rule that an event's value breaks, None if it is good: a rating has one, and any lies within 1 to 5."""
    low, high = RATING_RANGE
    if value is None:
        return f"a rating from {low:g} to {high:g}" if kind == RATING_EVENT else None
    return None if low <= value <= high else f"a value from {low:g} to {high:g}"


def bad_time(moment: datetime, now: datetime, earliest: date = EARLIEST) -> str | None:
    """The rule that an event's time breaks, None if it is good."""
    if moment > now + CLOCK_SKEW:
        return f"a time that is not more than {CLOCK_SKEW.total_seconds() / 60:g} minutes in the future"
    if moment < datetime.combine(earliest, time(), UTC):
        return f"a time from {earliest.isoformat()} on"
    return None


def as_kept(event: Interaction) -> Interaction | None:
    """A logged event as the clean tables keep it, None for one that the data gate refuses whatever else there is."""
    kept = replace(
        event,
        event_id=canonical_id(event.event_id),
        user_id=canonical_id(event.user_id),
        item_id=canonical_id(event.item_id),
        value=kept_value(event.event, event.value),
    )
    # The value is checked before it is dropped: the gate refuses a view with a value of 9, but takes one of 3.
    good = event.event in EVENTS and bad_value(event.event, event.value) is None
    return kept if good and not any(map(bad_id, (kept.event_id, kept.user_id, kept.item_id))) else None
