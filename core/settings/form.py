"""What every group of settings is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field

from core.settings.passwords import IN_ITS_PLACE, PASSWORD_PATTERN, has_password

Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """A settings model: immutable, and an unknown name is an error. Its errors do not show what was given: that may be
    a secret in the wrong place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _without_password(address: str) -> str:
    if has_password(address):
        raise ValueError(IN_ITS_PLACE)
    return address


Address = Annotated[
    str, AfterValidator(_without_password), Field(json_schema_extra={"not": {"pattern": PASSWORD_PATTERN}})
]
"""Of a database or a store. Settings go into recipes, runs and bundles: a password among them would too. By the schema
Prefect refuses it before it stores anything.
"""


def kind_or(default: str) -> Discriminator:
    """Choose a variant by its `kind`; where none is given, by `default`."""

    def kind_of(value: Any) -> str:
        return str(value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default))

    return Discriminator(kind_of)


def say_any_of(schema: dict[str, Any]) -> None:
    """Prefect's form draws anyOf as a choice, and does not know oneOf."""
    schema["anyOf"] = schema.pop("oneOf", schema.get("anyOf", []))
