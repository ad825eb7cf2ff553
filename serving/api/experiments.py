"""GET /v1/experiments: the answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from monitoring.online.figures import ExperimentFigures
from serving.api.message import Message


class VariantInfo(Message):
    """A variant of an experiment."""

    name: str = Field(description="champion is the bundle in service.")
    share: float = Field(description="Of the users; of a shadow, of the answers.")
    version: str | None = Field(description="In the model store; null for the bundle in service and for a candidate.")
    digest: str | None = Field(description="Of the bundle; null for the bundle in service, whichever that is.")


class ExperimentInfo(Message):
    """An experiment, and what it has shown so far."""

    name: str
    kind: Literal["split", "canary", "shadow"]
    state: Literal["starting", "running", "refused", "overruled", "stopped"] = Field(
        description="starting: its bundles are being loaded. refused: one of them cannot be. overruled: by a pin or a "
        "rollback. In all three cases everybody is answered by the bundle in service."
    )
    problem: str | None = Field(description="Why it is refused or overruled; null otherwise.")
    started_at: str
    stopped_at: str | None
    reason: str
    variants: list[VariantInfo]
    figures: ExperimentFigures | None = Field(
        description="As they were last computed; null until they are, which takes a moment from the first request on."
    )


class LoadedVariant(Message):
    """What can be asked by its name."""

    name: str = Field(description="For `variant` of `/v1/recommend`.")
    model: str = Field(description="The bundle that answers.")


class ExperimentsInfo(Message):
    """What is tried on whom: those that run, and the last ones that were stopped."""

    problem: str | None = Field(description="Why the record or the figures cannot be read; null where they can.")
    pinned: str | None = Field(description="The version that everybody is answered by; null where none is pinned.")
    experiments: list[ExperimentInfo]
    loaded: list[LoadedVariant] = Field([], description="What can be asked by its name, the bundle in service first.")
