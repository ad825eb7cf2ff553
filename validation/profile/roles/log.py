"""The roles of a log's columns: who did what when."""

from __future__ import annotations

import re

from validation.profile.roles.sheet import LEAST_REPEATS, MOST_EVENTS, OF_EVENTS, OTHER_DATES, Sheet
from validation.profile.values.column import Column, id_like, is_index
from validation.profile.values.events import is_event_word, share_known
from validation.profile.values.words import (
    Role,
    attribute_name,
    name_rank,
)

_ENDS_AS_ID = re.compile(r"_?(id|key|code|nr|no|uuid|hash|number)$")


def read_log(sheet: Sheet) -> None:
    """Find who did what when: the roles of interactions and of reviews."""
    if not sheet.pick("time"):
        _take_any_time(sheet)
    if not sheet.pick("event", 1.0):
        _take_words_of_events(sheet)
    sheet.pick("value")
    for role in ("headline", "text", "event_id", "order", "quantity"):
        sheet.pick(role, 1.0)
    sheet.pick("item")
    sheet.pick("user")
    _prefer_items_over_texts(sheet)
    if "item" not in sheet.picks:
        _take_title_for_item(sheet)
    _take_the_only_id(sheet)
    sheet.pick("position", 2.0)
    for role in ("user", "item"):
        if role in sheet.ties:
            sheet.ties[role] = [one for one in sheet.ties[role] if not _same_thing(sheet, sheet.picks[role], one)]


def _prefer_items_over_texts(sheet: Sheet) -> None:
    """A title that does not follow from the item is the review's headline."""
    item = sheet.name("item")
    if not item or "text" not in sheet.picks or "headline" in sheet.picks:
        return
    for _, column in sheet.ranked("title"):
        follows, n = sheet.follows(item, column.name)
        if n >= LEAST_REPEATS and follows < 0.5:
            sheet.picks["headline"] = column
        return


def _take_any_time(sheet: Sheet) -> None:
    """Without a column named for the time, a column of dates is taken; several raise a question."""
    dates = [
        column
        for column in sheet.columns
        if column.samples
        and not OTHER_DATES.search(column.name.lower())
        and not column.samples[0].replace(".", "", 1).isdigit()
        and sheet.reading(column).share >= 0.9
    ]
    if dates:
        sheet.picks["time"] = dates[0]
        if len(dates) > 1:
            sheet.ties["time"] = dates[1:]


def _take_the_only_id(sheet: Sheet) -> None:
    """Where only the users or only the items are known, the other ones are the single id column left."""
    missing: list[Role] = [role for role in ("user", "item") if role not in sheet.picks]  # type: ignore[misc]
    ids = [
        column
        for column in id_like(sheet.columns)
        if column.name not in sheet.used
        and _ENDS_AS_ID.search(attribute_name(column.name))
        and not any(name_rank(role, column.name) for role in OF_EVENTS)
    ]
    if len(missing) == 1 and len(ids) == 1:
        sheet.picks[missing[0]] = ids[0]


def _take_words_of_events(sheet: Sheet) -> None:
    """Without a column named for events, one of few words is taken if most of them, and more than one, are known."""
    for column in sheet.columns:
        known = [value for value, _ in column.common if is_event_word(value)]
        free = column.name not in sheet.used and not is_index(column)
        if free and len(known) > 1 and column.n_distinct <= MOST_EVENTS and share_known(column) > 0.5:
            sheet.picks["event"] = column
            return


def _take_title_for_item(sheet: Sheet) -> None:
    """Without a column of item ids, titles identify the items."""
    for rank, column in sheet.ranked("title"):
        if rank >= 2 and not column.is_unique:
            sheet.picks["item"] = column
            return


def _same_thing(sheet: Sheet, one: Column, other: Column) -> bool:
    """Whether two columns name the same users or items."""
    there, n = sheet.follows(one.name, other.name)
    back, _ = sheet.follows(other.name, one.name)
    return n >= LEAST_REPEATS and there > 0.95 and back > 0.95
