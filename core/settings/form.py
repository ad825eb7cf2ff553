"""What every group of settings is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field

Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """A settings model: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def kind_or(default: str) -> Discriminator:
    """Choose a variant by its `kind`; where none is given, by `default`."""

    def kind_of(value: Any) -> str:
        return str(value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default))

    return Discriminator(kind_of)


def say_any_of(schema: dict[str, Any]) -> None:
    """Prefect's form draws anyOf as a choice, and does not know oneOf."""
    schema["anyOf"] = schema.pop("oneOf", schema.get("anyOf", []))
