"""Words of events: the shop's to the contract's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.schema import EVENTS
from validation.profile.values.column import Column
from validation.profile.values.words import EVENT_WORDS, OTHER_EVENTS, plain_name


@dataclass(frozen=True)
class EventWords:
    """The words of a column of events, each with its rows.

    Attributes:
        mapped: The shop's word to the contract's, where they differ.
        own: Words that are the contract's already.
        other: Words that are known and have no event of the contract, such as a return.
        unknown: Words that are in no list.
    """

    mapped: dict[str, str]
    own: dict[str, int]
    other: dict[str, int]
    unknown: dict[str, int]
    counts: dict[str, int]


def read_events(column: Column) -> EventWords:
    """Sort the words of a column of events."""
    counts = dict(column.common)
    found = EventWords({}, {}, {}, {}, counts)
    for word, n in counts.items():
        plain = plain_name(word)
        if word in EVENTS:
            found.own[word] = n
        elif plain in OTHER_EVENTS:
            found.other[word] = n
        elif plain in EVENT_WORDS:
            found.mapped[word.lower()] = EVENT_WORDS[plain]
        elif (joined := _by_part(word)) is not None:
            found.mapped[word.lower()] = joined
        else:
            found.unknown[word] = n
    return found


def _by_part(word: str) -> str | None:
    """A word of several parts, of which one alone says what it is: "product_view"."""
    parts = {plain_name(part) for part in re.split(r"[\W_]+", word)}
    if parts & OTHER_EVENTS or parts & {"remove", "removed", "cancel", "delete", "un", "not"}:
        return None
    events = {EVENT_WORDS[part] for part in parts if part in EVENT_WORDS}
    return events.pop() if len(events) == 1 else None


def is_event_word(value: str) -> bool:
    """Whether a word is known as one of the contract's events or as another."""
    return plain_name(value) in EVENT_WORDS or plain_name(value) in OTHER_EVENTS


def share_known(column: Column) -> float:
    """Of a column's values, the share that are known words for events."""
    return sum(n for value, n in column.common if is_event_word(value)) / max(1, column.n_given)
