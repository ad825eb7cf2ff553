"""A first line of values: what the names above it could be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from validation.profile.values.dates import read_times
from validation.profile.values.words import EVENT_WORDS, OTHER_EVENTS, plain_name

_MOST_RATINGS = 21


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names: at most one number in many columns, such as a year."""
    numbers = [cell for cell in rows[0] if cell.strip().lstrip("-").replace(".", "", 1).isdigit()]
    return not numbers or (len(numbers) == 1 and len(rows[0]) > 4)


def likely_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names for columns without any, by their values: times, words of events, few numbers, and ids before them."""
    names: list[str] = []
    free = ["user_id", "item_id"]
    for number in range(len(rows[0])):
        values = [row[number].strip() for row in rows if len(row) > number and row[number].strip()]
        name = _kind(values)
        if name == "value" and free:  # ids come before ratings
            name = ""
        if name in names or not name:
            name = free.pop(0) if free and not name else f"column{number + 1}"
        names.append(name)
    return names


def _kind(values: Sequence[str]) -> str:
    """What values are but ids; "" where they may be some."""
    if not values:
        return "empty"
    if read_times(values, datetime.now(UTC)).share > 0.9:
        return "timestamp"
    words = [plain_name(value) for value in values]
    if all(word in EVENT_WORDS or word in OTHER_EVENTS for word in words):
        return "event"
    distinct = set(values)
    if len(values) > 2 * len(distinct) and len(distinct) <= _MOST_RATINGS:
        numbers = [value.replace(".", "", 1).isdecimal() and float(value) <= 10 for value in distinct]
        return "value" if all(numbers) else ""
    return ""
