"""The roles of columns that describe items and users, in files of their own or in the log."""

from __future__ import annotations

from collections.abc import Collection

from validation.profile.roles.sheet import CONTRACT_NAMES, LEAST_REPEATS, OF_EVENTS, Sheet
from validation.profile.values.column import Column
from validation.profile.values.words import (
    PERSONAL,
    Role,
    attribute_name,
    name_rank,
    plain_name,
)

_DEPENDS = 0.8
_ITEM_ROLES: tuple[Role, ...] = ("item", "title", "description", "category", "brand", "price", "created_at")


def read_items(sheet: Sheet, key: str) -> dict[str, str]:
    """What a file says about items: contract column, or attribute, to the file's column.

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
    """What a file says about users: contract column, or attribute, to the file's column."""
    sheet.picks["user"] = next(column for column in sheet.columns if column.name == key)
    sheet.pick("signup_at", 2.0)
    mapping = {CONTRACT_NAMES[role][0]: sheet.name(role) for role in ("user", "signup_at") if role in sheet.picks}
    return mapping | _attributes(sheet, mapping)


def read_flat_items(sheet: Sheet) -> dict[str, str]:
    """What a file of events says about its items; empty where it says nothing."""
    key = sheet.name("item")
    mapping: dict[str, str] = {"item_id": key}
    own_words = sheet.picks["item"].share_numbers < 0.1 and name_rank("title", key) >= 2
    for role in ("title", "category", "brand", "price", "description"):
        for _, column in sheet.ranked(role, free=(key,) if role == "title" and own_words else ()):
            if column.name == key or role == "price" or _may_follow(sheet, key, column):
                sheet.picks[role] = column
                mapping[CONTRACT_NAMES[role][0]] = column.name
                break
    mapping |= _following_attributes(sheet, key, "of_item")
    return mapping if len(mapping) > 1 else {}


def read_flat_users(sheet: Sheet) -> dict[str, str]:
    """What a file of events says about its users; empty where it says nothing."""
    key = sheet.name("user")
    attributes = _following_attributes(sheet, key, "of_user")
    return {"user_id": key, **attributes} if attributes else {}


def _following_attributes(sheet: Sheet, key: str, role: Role) -> dict[str, str]:
    """Attributes: columns that follow from the key, or are named so where too few keys repeat to show it."""
    found: dict[str, str] = {}
    other = sheet.name("item" if role == "of_user" else "user")
    for column in sheet.columns:
        if column.name in sheet.used or column.is_uninformative or column.n_distinct > 0.5 * column.n_given + 10:
            continue
        if any(name_rank(log, column.name) >= 2 for log in OF_EVENTS) or name_rank("user", column.name) >= 1:
            continue
        others: tuple[Role, ...] = ("of_user",) if role == "of_item" else ("of_item", "category", "brand", "price")
        if any(name_rank(one, column.name) for one in others) and not name_rank(role, column.name):
            continue
        named = name_rank(role, column.name) > 0
        follows, n = sheet.follows(key, column.name)
        stronger = not other or sheet.follows(other, column.name)[0] <= follows
        if (n >= LEAST_REPEATS and follows >= _DEPENDS and stronger) or (
            named and (n < LEAST_REPEATS or follows >= 0.5)
        ):
            found[_free_name(column.name, found)] = column.name
            sheet.picks.setdefault(role, column)
    return found


def _may_follow(sheet: Sheet, key: str, column: Column) -> bool:
    """Whether a column describes the item; true where no item repeats, as nothing contradicts it."""
    if column.is_uninformative:
        return False
    follows, n = sheet.follows(key, column.name)
    return n < LEAST_REPEATS or follows >= 0.5


def _attributes(sheet: Sheet, mapping: dict[str, str]) -> dict[str, str]:
    """Every further column that says something, under a name of its own."""
    taken, found = set(mapping.values()), dict[str, str]()
    for column in sheet.columns:
        # A short text that never repeats is an identifier, and does not describe users or items.
        is_identifier = (
            column.n_rows > 1 and column.is_unique and column.share_spaced < 0.5 and column.share_numbers < 1
        )
        is_personal = "item" not in sheet.picks and plain_name(column.name) in PERSONAL
        if column.name not in taken and not column.is_uninformative and not is_identifier and not is_personal:
            found[_free_name(column.name, {*mapping, *found})] = column.name
    return found


def _free_name(name: str, taken: Collection[str]) -> str:
    """An attribute's name that is no column of the contract and no other attribute's."""
    free = attribute_name(name)
    while free in taken or any(free in names for names in CONTRACT_NAMES.values()):
        free = f"own_{free}"
    return free
