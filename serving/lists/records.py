"""What is known of one item or one user, for who looks it up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core import schema
from core.events import canonical_id
from core.overrides import Override
from recommender.bundle.loading import Bundle
from recommender.inputs.catalogue import Catalogue, label_of
from recommender.inputs.user import UserState
from serving.api.changes import ItemSaid, UserSaid
from serving.api.records import HistoryEntry, ItemRecord, ItemState, UserRecord
from serving.errors import UnknownUser
from serving.lists.checks import check_known
from serving.lists.said import Said
from serving.online.reads import FeatureReader, Reads


def read_item(
    model: str,
    catalogue: Catalogue,
    features: FeatureReader,
    item_id: str,
    heard: Said,
) -> ItemRecord:
    """An item of the catalogue, with its features now; or one that clients said something of, and no training knows.

    Args:
        catalogue: Of the bundle, without anything that clients said.
        item_id: However it is written.
        heard: What clients say of the item, also what lists do not show yet.
    Raises:
        UnknownItem: the catalogue does not have it, and clients say nothing of it.
        RecordUnreadable: the catalogue does not have it, and what clients say cannot be read.
    """
    item_id, said = canonical_id(item_id), heard.override
    if item_id not in catalogue.ids and said is not None and (said.says_something or said.is_hidden):
        return _pending_item(model, said, heard)
    if item_id not in catalogue.ids:
        heard.check_read("item", item_id)
    check_known("read the item", "item_id", [item_id], catalogue.ids, model)
    row, place = catalogue.row(item_id), catalogue.ids.index(item_id) - 1
    reads = Reads(features)
    now = reads.read_items([item_id])
    own = {name: _plain(values[place].as_py()) for name, values in catalogue.attributes.items()}
    fields, attributes = _set_values(heard.shown)
    return ItemRecord(
        model=model,
        item_id=item_id,
        state=_state(said),
        said=None if said is None or not heard.is_whole else ItemSaid.of(said, in_catalogue=True),
        changed_at=None if said is None else said.changed_at,
        withheld=heard.withheld,
        label=fields.get(schema.TITLE) or catalogue.label(item_id),
        category=fields.get(schema.CATEGORY, row[schema.CATEGORY]),
        brand=fields.get(schema.BRAND, row[schema.BRAND]),
        price=fields.get(schema.PRICE, row[schema.PRICE]),
        text=catalogue.text(item_id),
        attributes={**own, **{name: value for name, value in fields.items() if name in own}, **attributes},
        now={name: _plain(values[0]) for name, values in now.items() if isinstance(values, np.ndarray)},
        degraded=[*reads.degraded, *heard.degraded],
    )


def _pending_item(model: str, said: Override, heard: Said) -> ItemRecord:
    fields, attributes = _set_values(heard.shown)
    return ItemRecord(
        model=model,
        item_id=said.id,
        state=_state(said) if said.is_hidden else "pending",
        said=ItemSaid.of(said, in_catalogue=False) if heard.is_whole else None,
        changed_at=said.changed_at,
        withheld=heard.withheld,
        label=label_of(fields.get(schema.TITLE), str(fields.get(schema.DESCRIPTION, "")), said.id),
        category=fields.get(schema.CATEGORY),
        brand=fields.get(schema.BRAND),
        price=fields.get(schema.PRICE),
        text="",
        attributes=attributes,
        now={},
        degraded=heard.degraded,
    )


def _set_values(said: Override | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns and the attributes that clients set."""
    return ({}, {}) if said is None or said.is_deleted else (dict(said.fields), dict(said.attributes))


def _state(said: Override | None) -> ItemState:
    if said is None or not said.is_hidden:
        return "available"
    return "deleted" if said.is_deleted else "unavailable"


def read_user(model: str, bundle: Bundle, features: FeatureReader, user_id: str, heard: Said) -> UserRecord:
    """A user of the online store; or one that clients said something of, and that does not know them.

    Args:
        user_id: However it is written.
        heard: What clients say of the user.
    Raises:
        UnknownUser: the store does not know them and clients say nothing of them, or they were forgotten.
        RecordUnreadable: the store does not know them, and what clients say cannot be read.
        FeatureError: the store cannot be read, and nothing was read of them before.
    """
    user_id, said = canonical_id(user_id), heard.override
    reads = Reads(features)
    user = reads.read_user(user_id)
    if user is None and reads.error is not None:
        raise reads.error  # whether there is such a user is not known
    is_known = user is not None
    if user is None and said is not None and said.says_something:
        user = UserState()
    if user is None:
        heard.check_read("user", user_id)
        raise UnknownUser(
            "Cannot read the user",
            got=f"user_id={user_id!r}",
            expected="a user of the online store",
            do="Send an event of theirs, or refresh the features if the users table has them",
        )
    catalogue = bundle.catalogue
    kinds: Sequence[str | None] = user.events or (None,) * len(user.items)
    return UserRecord(
        model=model,
        user_id=user_id,
        attributes=user.attributes,
        history=[
            HistoryEntry(
                item_id=item_id,
                label=catalogue.label(item_id) if item_id in catalogue.ids else None,
                event=kind,
                rating=rating,
            )
            for item_id, kind, rating in zip(user.items, kinds, user.values, strict=True)
        ],
        n_seen=len(set(user.items)) if user.seen is None else len(user.seen),
        own_words=user.own_words,
        features={name: _plain(value) for name, value in user.features.items()},
        is_known=is_known,
        said=None if said is None or not heard.is_whole else UserSaid.of(said),
        changed_at=None if said is None else said.changed_at,
        pending=[] if said is None else _not_shown(said, user.attributes),
        degraded=[*reads.degraded, *heard.degraded],
    )


def _not_shown(said: Override, attributes: str) -> list[str]:
    """The attributes that were set and do not stand in a user's text; it joins them by commas, which values may have
    too.
    """
    shown = f", {attributes}, "
    return [name for name, value in said.attributes.items() if f", {name} {value}, " not in shown]


def _plain(value: Any) -> Any:
    """A value as JSON has it: NaN is null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
