"""What is known of one item or one user, for who looks it up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core import schema
from recommender.bundle.loading import Bundle
from recommender.inputs.catalogue import Catalogue
from serving.api.records import HistoryEntry, ItemRecord, UserRecord
from serving.errors import UnknownUser
from serving.lists.checks import check_known
from serving.online.reads import FeatureReader, Reads


def read_item(model: str, catalogue: Catalogue, features: FeatureReader, item_id: str) -> ItemRecord:
    """An item of the catalogue, with its features now.

    Args:
        catalogue: As it is shown.
    Raises:
        UnknownItem: the catalogue does not have it.
    """
    check_known("read the item", "item_id", [item_id], catalogue.ids, model)
    row, place = catalogue.row(item_id), catalogue.ids.index(item_id) - 1
    reads = Reads(features)
    now = reads.read_items([item_id])
    return ItemRecord(
        model=model,
        item_id=item_id,
        label=catalogue.label(item_id),
        category=row[schema.CATEGORY],
        brand=row[schema.BRAND],
        price=row[schema.PRICE],
        text=catalogue.text(item_id),
        attributes={name: _plain(values[place].as_py()) for name, values in catalogue.attributes.items()},
        now={name: _plain(values[0]) for name, values in now.items() if isinstance(values, np.ndarray)},
        degraded=reads.degraded,
    )


def read_user(model: str, bundle: Bundle, features: FeatureReader, user_id: str) -> UserRecord:
    """A user of the online store.

    Raises:
        UnknownUser: the store does not know them, or they were forgotten.
        FeatureError: the store cannot be read, and nothing was read of them before.
    """
    reads = Reads(features)
    user = reads.read_user(user_id)
    if user is None and reads.error is not None:
        raise reads.error  # whether there is such a user is not known
    if user is None:
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
        degraded=reads.degraded,
    )


def _plain(value: Any) -> Any:
    """A value as JSON has it: NaN is null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
