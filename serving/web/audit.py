"""GET /app/audit: who changed what, and how it ended."""

from __future__ import annotations

from typing import Any

from core.settings.tree import Settings
from serving.api.timeline import AuditQuery
from serving.web.answers import read
from serving.web.templates import render

_ACTS = 50


async def show_audit(service: Any, settings: Settings, before: str) -> str:
    """The page, as HTML.

    Args:
        service: That answers.
        settings: Of the shop.
        before: Of which act older ones are shown; empty for the newest.
    Raises:
        ValidationError: it is too long to be one.
    """
    found = await read(service.operations.audit, AuditQuery(before=before or None, limit=_ACTS))
    return render(settings, "audit.html.j2", "audit", found=found.body, before=before)
