"""GET /app/audit: who changed what, or looked at what, and how it ended."""

from __future__ import annotations

from typing import Any

from core.settings.tree import Settings
from serving.api.timeline import AuditQuery
from serving.web.answers import read
from serving.web.templates import render

_ACTS = 50


async def show_audit(service: Any, settings: Settings, before: str, of: str = "") -> str:
    """The page, as HTML.

    Args:
        service: That answers.
        settings: Of the shop.
        before: Of which act older ones are shown; empty for the newest.
        of: `reads` for who looked at what; empty for changes.
    Raises:
        ValidationError: there are no such acts.
    """
    query = AuditQuery.model_validate({"before": before or None, "limit": _ACTS, "of": of or "changes"})
    found = await read(service.operations.audit, query)
    return render(settings, "audit.html.j2", "audit", found=found.body, before=before, of=of)
