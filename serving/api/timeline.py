"""GET /v1/timeline: the answer."""

from __future__ import annotations

from pydantic import Field

from core.logs.timeline import Entry
from serving.api.message import Message

SHOWN_ENTRIES = 500


class TimelineInfo(Message):
    """What monitoring saw, what was decided of it, and what came of that."""

    problem: str | None = Field(description="Why the time line cannot be read; null where it can.")
    entries: list[Entry] = Field(description=f"The newest {SHOWN_ENTRIES}, oldest first.")
