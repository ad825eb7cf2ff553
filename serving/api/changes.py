"""PATCH and DELETE of items and users: what clients say above the source, and whom to forget."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints, field_validator

from core import schema
from core.overrides import Kind, Override
from core.schema import TABLES
from core.tombstones import Tombstone
from serving.api.message import Message

MAX_ATTRIBUTES = 100
MAX_TEXT_CHARS = 20_000
_Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS)]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
_AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]
_Attributes = Annotated[
    dict[_AttributeName, Annotated[str, StringConstraints(max_length=2000)] | bool | int | float | None],
    Field(max_length=MAX_ATTRIBUTES),
]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time from year 1 to 9999 in UTC") from None


_Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
_WHAT_FOLLOWS = (
    "The next run of forget, pipeline, fine-tune or refresh-features removes what there is of the user; bundles that "
    "learned from them go when one serves that did not."
)
_TAKEN_BACK = "null takes it back: the shop's own data count again."


class _Patch(Message):
    """What is given is set, what is left out stays, null is taken back (RFC 7396)."""

    attributes: _Attributes = Field({}, description=f"Further columns by name; values are kept as text. {_TAKEN_BACK}")

    @property
    def fields(self) -> dict[str, str | float | None]:
        """The contract's columns that are given."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"attributes", "available"}}
        times = (schema.CREATED_AT, schema.SIGNUP_AT)
        return {
            name: value.isoformat() if name in times and value is not None else value for name, value in given.items()
        }

    @property
    def attribute_texts(self) -> dict[str, str | None]:
        """The attributes as the clean tables have them."""
        return {name: _as_text(value) for name, value in self.attributes.items()}


class ItemPatch(_Patch):
    """What to say of an item. An item that the shop's data do not have is one from the next training on."""

    model_config = ConfigDict(json_schema_extra={"example": {"price": 12.5, "attributes": {"in_stock": False}}})

    title: _Word | None = Field(None, description=f"What the shop calls it. {_TAKEN_BACK}")
    description: _Text | None = Field(None, description=f"The catalogue text. {_TAKEN_BACK}")
    category: _Word | None = Field(None, description=f"Category path, parts joined by ' > '. {_TAKEN_BACK}")
    brand: _Word | None = Field(None, description=f"Maker or label. {_TAKEN_BACK}")
    price: float | None = Field(None, ge=0, description=f"In the shop's currency. {_TAKEN_BACK}")
    created_at: _Moment | None = Field(
        None, strict=False, description=f"When the item entered the catalogue, with its time zone. {_TAKEN_BACK}"
    )
    available: bool | None = Field(
        None, description="false: no list holds the item until it is true again. null leaves it as it is."
    )

    @field_validator("attributes")
    @classmethod
    def _no_columns(cls, given: dict[str, Any]) -> dict[str, Any]:
        return _refuse_columns("items", given)


class UserPatch(_Patch):
    """What to say of a user; it counts from the next refresh of the features on."""

    model_config = ConfigDict(json_schema_extra={"example": {"attributes": {"occupation": "cook"}}})

    signup_at: _Moment | None = Field(
        None, strict=False, description=f"When the user joined, with its time zone. {_TAKEN_BACK}"
    )

    @field_validator("attributes")
    @classmethod
    def _no_columns(cls, given: dict[str, Any]) -> dict[str, Any]:
        return _refuse_columns("users", given)


class ItemSaid(Message):
    """All that clients say of an item."""

    item_id: str = Field(description="As the shop's tables have it.")
    fields: dict[str, str | float] = Field(description="Columns in place of the shop's own data.")
    attributes: dict[str, str] = Field(description="Further columns, likewise.")
    available: bool
    deleted: bool
    changed_at: str = Field(description="Of the last change, UTC.")
    in_catalogue: bool = Field(
        description="Whether the bundle in service knows the item. Lists hold one that it does not know only after the "
        "next training."
    )

    @classmethod
    def of(cls, said: Override, in_catalogue: bool) -> ItemSaid:
        return cls(
            item_id=said.id,
            fields=dict(said.fields),
            attributes=dict(said.attributes),
            available=said.is_available,
            deleted=said.is_deleted,
            changed_at=said.changed_at,
            in_catalogue=in_catalogue,
        )


class UserSaid(Message):
    """All that clients say of a user."""

    user_id: str = Field(description="As the shop's tables have it.")
    fields: dict[str, str | float] = Field(description="Columns in place of the shop's own data.")
    attributes: dict[str, str] = Field(description="Further columns, likewise.")
    changed_at: str = Field(description="Of the last change, UTC.")

    @classmethod
    def of(cls, said: Override) -> UserSaid:
        return cls(
            user_id=said.id, fields=dict(said.fields), attributes=dict(said.attributes), changed_at=said.changed_at
        )


class UserForgotten(Message):
    """That a user is forgotten from now on, whether anything was known of them or not."""

    receipt: int = Field(description="The number of the receipt that says what is removed; `sommelier forget --list`.")
    forgotten_since: str = Field(description="UTC.")
    what_follows: str = _WHAT_FOLLOWS

    @classmethod
    def of(cls, stone: Tombstone) -> UserForgotten:
        return cls(receipt=stone.receipt, forgotten_since=stone.at)


def _refuse_columns(kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
    taken = [column.name for column in TABLES[kind].columns if column.name in given]
    if taken:
        raise ValueError(f"attributes.{taken[0]} is a column of its own, expected {taken[0]} beside attributes")
    return given


def _as_text(value: str | float | bool | None) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
