"""Which column of a file plays which role: by its name, where its values agree."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from validation.profile.columns import Column, dependence, describe, is_index
from validation.profile.dates import Reading, read_times
from validation.profile.files import Extract, Workspace
from validation.profile.numbers import read_money, read_scale
from validation.profile.words import EVENT_WORDS, OTHER_EVENTS, PERSONAL, Role, attribute_name, name_rank, plain_name

# What the contract calls a role; a column of this very name is taken before all others.
CONTRACT_NAMES: dict[Role, tuple[str, ...]] = {
    "user": ("user_id",), "item": ("item_id",), "event": ("event",), "value": ("value", "rating"),
    "time": ("timestamp",), "position": ("position",), "event_id": ("event_id",), "title": ("title",),
    "description": ("description",), "category": ("category",), "brand": ("brand",), "price": ("price",),
    "text": ("text",), "signup_at": ("signup_at",), "created_at": ("created_at",),
}  # fmt: skip
_EXACT = 4.0
_CHECKED_TIMES = 300
_MOST_EVENTS = 60
_LONGEST_ID = 200
_DEPENDS = 0.8
_LEAST_REPEATS = 20
_ENDS_AS_ID = re.compile(r"_?(id|key|code|nr|no|uuid|hash|number)$")
_OTHER_DATES = re.compile(r"birth|expir|updat|modif|regist|signup|releas|deliver|ship|publish|launch|join")


@dataclass
class Sheet:
    """A file's extract with its columns, and the role that each was found to play.

    Attributes:
        picks: Role to the column.
        ties: Role to the columns that are as good as the one picked.
    """

    workspace: Workspace
    extract: Extract
    columns: list[Column]
    now: datetime
    picks: dict[Role, Column] = field(default_factory=dict)
    ties: dict[Role, list[Column]] = field(default_factory=dict)
    times: dict[str, Reading] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace: Workspace, extract: Extract, now: datetime) -> Sheet:
        """Count the columns; no role is given yet."""
        return cls(workspace, extract, describe(workspace, extract), now)

    @property
    def used(self) -> set[str]:
        return {column.name for column in self.picks.values()}

    def name(self, role: Role) -> str:
        """The column that plays a role, "" where none does."""
        return self.picks[role].name if role in self.picks else ""

    def ranked(self, role: Role, free: Collection[str] = ()) -> list[tuple[float, Column]]:
        """The columns whose names and values fit a role, the best first.

        Args:
            free: Names that may be taken though they play another role.
        """
        found: list[tuple[float, Column]] = []
        for column in self.columns:
            if (column.name in self.used and column.name not in free) or column.n_given == 0 or is_index(column):
                continue
            exact = column.name in CONTRACT_NAMES.get(role, ())
            rank = _EXACT if exact else name_rank(role, column.name)
            if rank > 0 and self._fits(role, column, rank):
                found.append((rank, column))
        return sorted(found, key=lambda one: -one[0])

    def pick(self, role: Role, least: float = 0.5, free: Collection[str] = ()) -> Column | None:
        """Give a role to the best column; as good ones are kept as ties."""
        ranked = [one for one in self.ranked(role, free) if one[0] >= least]
        if not ranked:
            return None
        best = [column for rank, column in ranked if rank == ranked[0][0]]
        self.picks[role] = best[0]
        if len(best) > 1:
            self.ties[role] = best[1:]
        return best[0]

    def reading(self, column: Column) -> Reading:
        """How a column's times read."""
        if column.name not in self.times:
            self.times[column.name] = read_times(column.samples, self.now)
        return self.times[column.name]

    def follows(self, key: str, column: str) -> tuple[float, int]:
        """How far a column follows from another, and on how many rows that was counted."""
        return dependence(self.workspace, self.extract, key, column)

    def _fits(self, role: Role, column: Column, rank: float) -> bool:
        match role:
            case "user" | "item":
                is_time = self._is_time(column) and not (rank >= 2 and column.share_numbers == 1)
                return column.mean_chars <= _LONGEST_ID and not is_time
            case "time":
                is_other = rank < 1 and _OTHER_DATES.search(column.name.lower()) is not None
                return not is_other and self._is_time(column)
            case "signup_at" | "created_at":
                return self._is_time(column)
            case "event":
                known = _share_known(column)
                named = rank >= 3 or (rank >= 2 and (known > 0 or column.share_numbers < 0.5))
                return column.n_distinct <= _MOST_EVENTS and (known > 0.5 or named)
            case "value":
                return (rank >= 3 or not column.is_constant) and read_scale(column) is not None
            case "text":
                return column.mean_chars >= 8 and column.share_numbers < 0.5 and column.share_spaced > 0.3
            case "price":
                return read_money(column.samples).share >= 0.5 and not self._is_time(column)
            case "position":
                return column.share_whole == 1.0 and not column.is_constant
            case "event_id":
                return column.is_unique and column.n_given == column.n_rows
            case "title":
                return column.share_numbers < 0.5 and column.mean_chars <= _LONGEST_ID
            case "category" | "brand":
                return not self._is_time(column)
            case _:
                return True

    def _is_time(self, column: Column) -> bool:
        """Most of its values read as times."""
        some = column.samples[:: max(1, len(column.samples) // _CHECKED_TIMES)]
        return read_times(some, self.now).share >= 0.5


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


def read_items(sheet: Sheet, key: str) -> dict[str, str]:
    """What a file tells of items: contract column, or attribute, to the file's column.

    Args:
        key: The column of the items' ids; it may be their title too.
    """
    sheet.picks["item"] = next(column for column in sheet.columns if column.name == key)
    own_words = sheet.picks["item"].share_numbers < 0.1 and name_rank("title", key) >= 2
    for role in ("title", "description", "category", "brand", "price", "created_at"):
        least = 2.0 if role == "created_at" else 0.5
        sheet.pick(role, least, free=(key,) if role == "title" and own_words else ())
    if "title" not in sheet.picks and "description" in sheet.picks and sheet.picks["description"].mean_chars < 60:
        sheet.picks["title"] = sheet.picks.pop("description")
    taken = {role: sheet.picks[role].name for role in CONTRACT_NAMES if role in sheet.picks}
    mapping = {CONTRACT_NAMES[role][0]: name for role, name in taken.items() if role in _ITEM_ROLES}
    return mapping | _attributes(sheet, mapping)


def read_users(sheet: Sheet, key: str) -> dict[str, str]:
    """What a file tells of users: contract column, or attribute, to the file's column."""
    sheet.picks["user"] = next(column for column in sheet.columns if column.name == key)
    sheet.pick("signup_at", 2.0)
    mapping = {CONTRACT_NAMES[role][0]: sheet.name(role) for role in ("user", "signup_at") if role in sheet.picks}
    return mapping | _attributes(sheet, mapping)


_OF_EVENTS: tuple[Role, ...] = ("quantity", "order", "headline", "item", "text", "time")
_ITEM_ROLES: tuple[Role, ...] = ("item", "title", "description", "category", "brand", "price", "created_at")


def read_flat_items(sheet: Sheet) -> dict[str, str]:
    """What a file of events tells of its items, beside the events; empty where it tells nothing."""
    key = sheet.name("item")
    mapping: dict[str, str] = {"item_id": key}
    own_words = sheet.picks["item"].share_numbers < 0.1 and name_rank("title", key) >= 2
    for role in ("title", "category", "brand", "price", "description"):
        for _, column in sheet.ranked(role, free=(key,) if role == "title" and own_words else ()):
            if column.name == key or role == "price" or _may_follow(sheet, key, column):
                sheet.picks[role] = column
                mapping[CONTRACT_NAMES[role][0]] = column.name
                break
    mapping |= _telling(sheet, key, "of_item")
    return mapping if len(mapping) > 1 else {}


def read_flat_users(sheet: Sheet) -> dict[str, str]:
    """What a file of events tells of its users; empty where it tells nothing."""
    key = sheet.name("user")
    attributes = _telling(sheet, key, "of_user")
    return {"user_id": key, **attributes} if attributes else {}


def _telling(sheet: Sheet, key: str, role: Role) -> dict[str, str]:
    """Attributes: columns that follow from the key, or are named so where too few keys come again to see it."""
    found: dict[str, str] = {}
    other = sheet.name("item" if role == "of_user" else "user")
    for column in sheet.columns:
        if column.name in sheet.used or column.says_nothing or column.n_distinct > 0.5 * column.n_given + 10:
            continue
        if any(name_rank(log, column.name) >= 2 for log in _OF_EVENTS) or name_rank("user", column.name) >= 1:
            continue
        others: tuple[Role, ...] = ("of_user",) if role == "of_item" else ("of_item", "category", "brand", "price")
        if any(name_rank(one, column.name) for one in others) and not name_rank(role, column.name):
            continue
        named = name_rank(role, column.name) > 0
        follows, n = sheet.follows(key, column.name)
        stronger = not other or sheet.follows(other, column.name)[0] <= follows
        if (n >= _LEAST_REPEATS and follows >= _DEPENDS and stronger) or (
            named and (n < _LEAST_REPEATS or follows >= 0.5)
        ):
            found[_free_name(column.name, found)] = column.name
            sheet.picks.setdefault(role, column)
    return found


def _may_follow(sheet: Sheet, key: str, column: Column) -> bool:
    """Whether a column tells of the item; where no item comes again there is nothing against it."""
    if column.says_nothing:
        return False
    follows, n = sheet.follows(key, column.name)
    return n < _LEAST_REPEATS or follows >= 0.5


def _attributes(sheet: Sheet, mapping: dict[str, str]) -> dict[str, str]:
    """Every further column that says something, under a name of its own."""
    taken, found = set(mapping.values()), dict[str, str]()
    for column in sheet.columns:
        # A short text that never comes again tells users or items apart, and says nothing of them.
        is_mark = column.n_rows > 1 and column.is_unique and column.share_spaced < 0.5 and column.share_numbers < 1
        is_personal = "item" not in sheet.picks and plain_name(column.name) in PERSONAL
        if column.name not in taken and not column.says_nothing and not is_mark and not is_personal:
            found[_free_name(column.name, {*mapping, *found})] = column.name
    return found


def _free_name(name: str, taken: Collection[str]) -> str:
    """An attribute's name that is no column of the contract and no other attribute's."""
    free = attribute_name(name)
    while free in taken or any(free in names for names in CONTRACT_NAMES.values()):
        free = f"own_{free}"
    return free


def _prefer_items_over_texts(sheet: Sheet) -> None:
    """A title that does not follow from the item is the review's headline."""
    item = sheet.name("item")
    if not item or "text" not in sheet.picks or "headline" in sheet.picks:
        return
    for _, column in sheet.ranked("title"):
        follows, n = sheet.follows(item, column.name)
        if n >= _LEAST_REPEATS and follows < 0.5:
            sheet.picks["headline"] = column
        return


def _take_any_time(sheet: Sheet) -> None:
    """Where no name tells the time, a column of dates does; several are asked for."""
    dates = [
        column
        for column in sheet.columns
        if column.samples
        and not _OTHER_DATES.search(column.name.lower())
        and not column.samples[0].replace(".", "", 1).isdigit()
        and sheet.reading(column).share >= 0.9
    ]
    if dates:
        sheet.picks["time"] = dates[0]
        if len(dates) > 1:
            sheet.ties["time"] = dates[1:]


def _take_the_only_id(sheet: Sheet) -> None:
    """Where the users are known and the items are not, or the other way round, the one column left that is an id."""
    missing: list[Role] = [role for role in ("user", "item") if role not in sheet.picks]  # type: ignore[misc]
    ids = [
        column
        for column in id_like(sheet.columns)
        if column.name not in sheet.used
        and _ENDS_AS_ID.search(attribute_name(column.name))
        and not any(name_rank(role, column.name) for role in _OF_EVENTS)
    ]
    if len(missing) == 1 and len(ids) == 1:
        sheet.picks[missing[0]] = ids[0]


def _take_words_of_events(sheet: Sheet) -> None:
    """Where no name tells of events, a column of a few words tells by them: most are known, and more than one is."""
    for column in sheet.columns:
        known = [value for value, _ in column.common if is_event_word(value)]
        free = column.name not in sheet.used and not is_index(column)
        if free and len(known) > 1 and column.n_distinct <= _MOST_EVENTS and _share_known(column) > 0.5:
            sheet.picks["event"] = column
            return


def _take_title_for_item(sheet: Sheet) -> None:
    """Where no column holds ids of items, their names are what tells them apart."""
    for rank, column in sheet.ranked("title"):
        if rank >= 2 and not column.is_unique:
            sheet.picks["item"] = column
            return


def _same_thing(sheet: Sheet, one: Column, other: Column) -> bool:
    """Whether two columns name the same users or items."""
    there, n = sheet.follows(one.name, other.name)
    back, _ = sheet.follows(other.name, one.name)
    return n >= _LEAST_REPEATS and there > 0.95 and back > 0.95


def _share_known(column: Column) -> float:
    """Of a column's values, the share that are known words for events."""
    return sum(n for value, n in column.common if is_event_word(value)) / max(1, column.n_given)


def is_event_word(value: str) -> bool:
    """Whether a word is known as one of the contract's events or as another."""
    return plain_name(value) in EVENT_WORDS or plain_name(value) in OTHER_EVENTS


def id_like(columns: Iterable[Column]) -> list[Column]:
    """Columns whose values may be ids: short, without spaces, some coming again."""
    return [
        column
        for column in columns
        if not column.says_nothing and column.mean_chars <= 60 and column.share_spaced < 0.2 and column.n_distinct > 1
        and not column.is_unique
    ]  # fmt: skip
