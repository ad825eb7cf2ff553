"""Where a fit starts that does not start from nothing: at a bundle's weights, to learn what came since.

What such a fit does grows with what is new: the new examples, and a sample of older ones beside them in every epoch, so
that what was learned before is not forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class WarmStart:
    """The bundle whose weights a fit starts from.

    Attributes:
        bundle: Its folder.
        digest: Its digest.
        since: From when on events are new: how far it learned (`DataRange.learned_until`).
        replay_share: Share of an epoch's examples that are older; they are drawn anew for each epoch.
        member: Which of several models that differ in their seed.
    """

    bundle: Path
    digest: str
    since: datetime
    replay_share: float = 0.5
    member: int = 0

    @property
    def identity(self) -> tuple[str, str, float]:
        """What of it decides a fit."""
        return self.digest, self.since.isoformat(), self.replay_share

    def n_replayed(self, n_new: int) -> int:
        """How many older examples stand beside so many new ones."""
        return round(n_new * self.replay_share / (1 - self.replay_share))


class Work(BaseModel):
    """How much a fit that started from weights did, and how much one from nothing would do.

    Attributes:
        parent: The digest of the bundle that it started from.
        unit: What is counted, in the plural: "next items", "texts".
        new: So many of them are new.
        replayed: So many older ones stand beside them in an epoch.
        full: So many there are for a fit from nothing.
    """

    model_config = ConfigDict(frozen=True)

    parent: str
    unit: str
    new: int
    replayed: int
    full: int

    @property
    def taken(self) -> int:
        """Those of an epoch."""
        return self.new + self.replayed
