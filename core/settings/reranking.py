"""Settings of re-ranking: how varied a list is, and how many of its places go to what is rarely shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings.form import Frozen, Share

RerankKind = Literal["none", "mmr", "calibration"]
Similarity = Literal["text", "category"]
MAX_POOL = 1000


class RerankSettings(Frozen):
    """What is done to the ranker's list before it is answered; a request may ask for something else."""

    kind: RerankKind = Field(
        "none",
        description="mmr: each next item unlike those before it. calibration: categories in the proportions of the "
        "user's history.",
    )
    strength: Share = Field(0.3, description="Of kind: 0 is the ranker's own order, 1 looks at nothing but variety.")
    pool: int = Field(100, ge=1, le=MAX_POOL, description="The ranker's best items, of which the list is made.")
    similarity: Similarity = Field(
        "text", description="Of mmr. text: the cosine of the items' text vectors. category: 1 within a category, or 0."
    )
    category_levels: int = Field(
        1, ge=1, le=10, description="Leading parts of an item's category that make it another one ('Cheese > Hard')."
    )
    item_floor: Share = Field(0.0, description="Share of the list's places, at least, for under-exposed items.")
    provider_floor: Share = Field(
        0.0, description="Share of the list's places, at least, for items of under-exposed providers (brands)."
    )
    under_exposed: Share = Field(
        0.2,
        description="An item, or a provider, is under-exposed where those with as few training events, or fewer, have "
        "at most this share of all events.",
    )

    @property
    def changes_nothing(self) -> bool:
        """Whether every list stays as the ranker makes it."""
        return (self.kind == "none" or not self.strength) and not (self.item_floor or self.provider_floor)
