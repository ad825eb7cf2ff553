"""GET /v1/timeline and GET /v1/audit: what happened to the shop, and who changed something."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.logs.audit import Act
from core.logs.timeline import Entry
from serving.api.message import Message

MAX_ENTRIES = 500
MAX_ACTS = 500
_MAX_ID = 2**63 - 1  # SQLite has no number above


class TimelineQuery(Message):
    """Which entries."""

    before: int | None = Field(None, ge=0, le=_MAX_ID, description="Older than the entry of this id: `next` of a page.")
    limit: int = Field(MAX_ENTRIES, ge=1, le=MAX_ENTRIES, description="At most so many.")


class TimelineInfo(Message):
    """What monitoring saw, what was decided of it, and what came of that."""

    problem: str | None = Field(description="Why the time line cannot be read; null where it can.")
    entries: list[Entry] = Field(description="The newest of those that are asked for, oldest first.")
    next: int | None = Field(None, description="To be given as `before` for those before these; null where none are.")


class AuditQuery(Message):
    """Which acts."""

    of: Literal["changes", "reads"] = Field(
        "changes",
        description="changes: who changed what. reads: who looked at what is of people or of who did what: lineage, "
        "rows of quarantine, the audit log, and exports.",
    )

    before: str | None = Field(None, max_length=60, description="Older than the act of this id: `next` of a page.")
    limit: int = Field(50, ge=1, le=MAX_ACTS, description="At most so many.")


class AuditInfo(Message):
    """What was changed or looked at, by whom, and how it ended."""

    problem: str | None = Field(description="Why the audit log cannot be read; null where it can.")
    acts: list[Act] = Field(description="Newest first.")
    next: str | None = Field(description="To be given as `before` for those before these; null where none are.")
