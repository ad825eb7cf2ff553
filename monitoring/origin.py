"""What `monitoring.lineage` finds out of an answer; apart from it, as a client imports what answers are made of."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core.logs.timeline import Entry
from core.settings.form import Frozen
from recommender.bundle.data_range import DataRange


class Origin(Frozen):
    """The bundle that answered, as its manifest says.

    Attributes:
        judged: Digest of the bundle whose evaluation the metrics are; None where it is this one.
        recipe_digest: Of the settings that it was made by.
    """

    digest: str
    kind: str
    created_at: str
    code_version: str
    data: DataRange
    judged: str | None
    recipe_digest: str
    recipe: dict[str, Any]
    metrics: dict[str, Any]


class Served(Frozen):
    """A bundle that answered at some moment, or may have.

    Attributes:
        model: The bundle, name:version.
        says: Since when and until when, and for whom, a clause.
        bundle: None where it is gone or cannot be read.
        promotions: The changes that put it into service, oldest first, each with its reason.
        run: The entry of the time line that led to its newest promotion; None where none is known.
    """

    model: str
    says: str
    bundle: Origin | None
    promotions: list[dict[str, Any]]
    run: Entry | None


class Lineage(Frozen):
    """What is known of one answer.

    Attributes:
        shown: The record of the prediction log; empty where that is gone.
        shadows: Records of what was computed beside it and not shown.
        bundle: None where it is gone or cannot be read.
        promotions: The changes that put it into service, oldest first, each with its reason.
        run: The entry of the time line that led to its newest promotion; None where none is known.
        unknown: What cannot be said, a sentence each.
        given_at: Where the record is gone: when such an id is given, by itself, ISO 8601, UTC; else empty.
        served: Where the record is gone: what answered then, one of which may have made the list.
    """

    recommendation_id: str
    shown: dict[str, Any]
    shadows: list[dict[str, Any]]
    bundle: Origin | None
    promotions: list[dict[str, Any]]
    run: Entry | None
    unknown: list[str]
    given_at: str = ""
    served: list[Served] = Field(default_factory=list)
