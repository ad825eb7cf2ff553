"""What a bundle learned from, in times and rows."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict


class DataRange(BaseModel):
    """Which events the bundle learned from and was evaluated on. Times are ISO 8601, UTC.

    Attributes:
        learned_until: Nothing later was learned: `validation_at`, or the newest event for a bundle that was fitted
            again on everything. Empty in bundles from before that was done. A writer that a judged bundle took
            over from another may have learned later: the manifest's `writer_from` says of what.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    first_event_at: str
    last_event_at: str
    validation_at: str
    test_at: str
    rows: dict[str, int]
    learned_until: str = ""

    @property
    def learned_until_at(self) -> datetime:
        """The moment after which the bundle learned nothing."""
        return datetime.fromisoformat(self.learned_until or self.validation_at)

    @property
    def unknown_from(self) -> datetime:
        """The moment from which on events may judge the bundle: it neither learned from them nor chose by them."""
        after = self.learned_until_at + timedelta(microseconds=1)
        return max(after, datetime.fromisoformat(self.test_at))
