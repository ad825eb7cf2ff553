"""What a page of recommendations is asked for, as it stands in its address: every state of it can be linked to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field
from starlette.datastructures import QueryParams

from core.settings.form import Frozen
from serving.api.options import MAX_RULES

MAX_VISITED = 20
FACTOR = 3.0
K = 10
WAYS = ("blend", "generative")


class View(Frozen):
    """Who is looked at, and how their list is made.

    Attributes:
        user_id: Empty for nobody in particular.
        history: What somebody without an id has looked at on this page, oldest first.
        query: What is searched for.
        by: What ranks.
        pin: Items, the first at place 1.
        boost: Items that move up.
        bury: Items that move down.
        boost_category: Categories that move up.
        bury_category: Categories that move down.
    """

    user_id: str = ""
    history: tuple[str, ...] = ()
    query: str = ""
    by: str = "blend"
    k: int = Field(K, ge=1)
    pin: tuple[str, ...] = ()
    boost: tuple[str, ...] = ()
    bury: tuple[str, ...] = ()
    boost_category: tuple[str, ...] = ()
    bury_category: tuple[str, ...] = ()

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """Read an address; names that are none of a view's are passed over."""
        found: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            values = [value.strip() for value in query.getlist(name) if value.strip()]
            if values:
                found[name] = (
                    _few(name, tuple(dict.fromkeys(values))) if isinstance(field.default, tuple) else values[0]
                )
        return cls.model_validate(found, strict=False)

    @property
    def asks(self) -> dict[str, Any]:
        """The address's query, without what is as by default."""
        fields = type(self).model_fields
        return {name: value for name, value in self if value != fields[name].default}

    def but(self, **changes: Any) -> dict[str, Any]:
        """The query of a view that differs."""
        return type(self).model_validate({**dict(self), **changes}).asks

    def adding(self, name: str, value: str) -> dict[str, Any]:
        """The query of a view with one more of a list; an item has at most one rule."""
        changes: dict[str, Any] = {}
        if name in ("pin", "boost", "bury"):
            changes = {one: _without(getattr(self, one), value) for one in ("pin", "boost", "bury")}
        return self.but(
            **{**changes, name: _few(name, (*_without(changes.get(name, getattr(self, name)), value), value))}
        )

    def dropping(self, name: str, value: str) -> dict[str, Any]:
        """The query of a view with one less of a list."""
        return self.but(**{name: _without(getattr(self, name), value)})

    @property
    def who(self) -> dict[str, Any]:
        """The fields of a request that say who it is for."""
        return {"user_id": self.user_id} if self.user_id else {"history": list(self.history)}

    @property
    def rules(self) -> dict[str, Any]:
        """The fields of a request that move items."""
        return {
            "pin": [{"item_id": item, "position": place} for place, item in enumerate(self.pin, 1)],
            "boost": _matches(self.boost, self.boost_category),
            "bury": _matches(self.bury, self.bury_category),
        }

    @property
    def shown_rules(self) -> list[tuple[str, str, str]]:
        """Each rule as its field, its word and what it is of."""
        words = {"pin": "pin", "boost": "boost", "bury": "bury", "boost_category": "boost", "bury_category": "bury"}
        return [(name, word, value) for name, word in words.items() for value in getattr(self, name)]


def _few(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """A list of a view, cut. Of a visit the newest count; of rules one more stays than a request may have, so that the
    answer says that it is too many, beside what takes each back.
    """
    return values[-MAX_VISITED:] if name == "history" else values[: MAX_RULES + 1]


def _without(values: tuple[str, ...], value: str) -> tuple[str, ...]:
    return tuple(one for one in values if one != value)


def _matches(items: tuple[str, ...], categories: tuple[str, ...]) -> list[Mapping[str, Any]]:
    return [
        *({"items": [item], "factor": FACTOR} for item in items),
        *({"categories": [category], "factor": FACTOR} for category in categories),
    ]
