"""Settings of reasons: why an item suits a user."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings.form import Frozen


class ReasonSettings(Frozen):
    """Reasons are made of facts: what reviewers agree on, what customers chose together, attributes, prices."""

    language: Literal["en", "none"] = Field(
        "en",
        description="Of the reviews whose aspects are read. Reviews in other languages say nothing then, and reasons "
        "are made of the other facts. none: no review is read.",
    )
    min_reviewers: int = Field(3, ge=2, description="So many reviewers of an item have to praise an aspect of it.")
