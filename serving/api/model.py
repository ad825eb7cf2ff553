"""GET /model: the answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from serving.api.message import Message


class ModelInfo(Message):
    """The bundle in service, and why a newer one is not."""

    ready: bool
    model: str | None = Field(description="name:version in the model store; null until a bundle is loaded.")
    loaded_at: str | None
    problem: str | None = Field(description="Why the newest promoted bundle is not in service; null if it is.")
    capabilities: dict[str, bool] = Field(
        description="What this bundle can answer: recommend, recommend_generative, score, feedback."
    )
    n_items: int | None
    manifest: dict[str, Any] | None = Field(
        description="The bundle's manifest: recipe, data range, metrics, parent, code version, digest."
    )
