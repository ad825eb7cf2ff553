"""GET /v1/model: the answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from serving.api.message import Message


class ModelSummary(Message):
    """What everybody may know of the bundle in service: all that is told without a key that may read, where one is
    needed.
    """

    ready: bool
    model: str | None = Field(description="name:version in the model store; null until a bundle is loaded.")


class ModelInfo(Message):
    """The bundle in service, and why the promoted one is not, where they differ."""

    ready: bool
    model: str | None = Field(description="name:version in the model store; null until a bundle is loaded.")
    loaded_at: str | None
    promoted: str | None = Field(
        description="The bundle that was promoted, or is pinned; another one than `model` while it loads, and where "
        "it cannot be."
    )
    problem: str | None = Field(
        description="Why that bundle is not in service; null if it is, or is being loaded beside `model`."
    )
    store_problem: str | None = Field(
        None,
        description="Why answers of this worker do without the online store now; they say so in `degraded`. null while "
        "it can be read.",
    )
    changes_problem: str | None = Field(
        None,
        description="Why this worker does not follow what clients say of items and users, and shows what it read "
        "before; null while it can be read.",
    )
    experiment_problems: list[str] = Field(
        [], description="Why experiments that run are not followed; everybody is then answered by `model`."
    )
    capabilities: dict[str, bool] = Field(
        description="What this bundle can answer: recommend, recommend_generative, score, feedback (reviews), reasons, "
        "similar (items), search, in_stock (as a filter)."
    )
    n_items: int | None
    manifest: dict[str, Any] | None = Field(
        description="The bundle's manifest: recipe, data range, metrics, parent, code version, digest."
    )

    def summary(self) -> ModelSummary:
        """What everybody may know of it."""
        return ModelSummary(ready=self.ready, model=self.model)
