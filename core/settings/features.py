"""Settings of the features and of the feature store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.schema import EVENTS
from core.settings.form import Address, Frozen

EventKind = Literal["impression", "view", "click", "cart", "purchase", "rating"]


class SeenSettings(Frozen):
    """Which items a user has seen: they do not come back in recommendations, however many they are.

    The same rule masks in serving and in evaluation, and says what counts as new to a user in a test window.
    """

    events: tuple[EventKind, ...] = Field(
        (),
        description="Kinds of events that make an item seen, such as ['purchase', 'rating']; empty: all that count, "
        "which are those that ignored_events does not name (so not impressions, unless they are named here).",
    )
    within_days: float | None = Field(
        None, gt=0, description="An item is seen for so many days after the user's newest such event; empty: for ever."
    )


class FeatureSettings(Frozen):
    """From clean tables to model inputs."""

    windows_days: tuple[int, ...] = Field((1, 7, 30), description="Windows of an item's popularity, whole days.")
    n_affinities: int = Field(3, ge=0, le=20, description="Categories and brands that a user's profile names.")
    max_history: int = Field(50, ge=2, le=1000, description="Entries of a user's history that models see.")
    max_item_chars: int = Field(400, ge=50, description="Characters of an item's text.")
    ignored_events: tuple[str, ...] = Field(("impression",), description="Events that say nothing of the user's taste.")
    seen: SeenSettings = Field(default_factory=SeenSettings)

    @property
    def seen_events(self) -> tuple[str, ...]:
        """The kinds of events that make an item seen."""
        return self.seen.events or tuple(kind for kind in EVENTS if kind not in self.ignored_events)


class FeatureStoreSettings(Frozen):
    """Where Feast keeps what it knows. The embedded default needs no server."""

    online: Literal["sqlite", "redis"] = "sqlite"
    offline: Literal["duckdb", "postgres"] = "duckdb"
    registry: Literal["file", "postgres"] = "file"
    redis: Address = Field("127.0.0.1:6379", description="host:port[,db=n][,password=${NAME}] of Redis.")
    postgres: Address = Field(
        "postgresql://127.0.0.1:5432/postgres", description="The database of PostgreSQL; ${NAME} from the environment."
    )
