"""GET /app/quarantine: what the data gate put aside and why, some of it, and how it gets in again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from core.settings.tree import Settings
from serving.api.quarantine import QuarantineQuery
from serving.guard.caller import current_caller
from serving.web.answers import read
from serving.web.templates import render

_ROWS = 5
_MOST_CHARS = 400


async def show_quarantine(service: Any, settings: Settings, address: Mapping[str, str]) -> tuple[str, int]:
    """The page, as HTML, and its HTTP status.

    Args:
        service: That answers.
        settings: Of the shop.
        address: What it asks for: `table` and `rule` of the rows to show, and `after` of the page before.
    Raises:
        ValidationError: it asks for what is none.
    """
    asked = {name: address[name] for name in ("table", "rule", "after") if address.get(name)}
    query = QuarantineQuery.model_validate({**asked, "limit": _ROWS}, strict=False)
    may_see = current_caller().may("admin")
    found = await read(partial(service.operations.quarantine, shows_rows=may_see), query)
    html = render(
        settings,
        "quarantine.html.j2",
        "quarantine",
        found=found,
        query=query,
        chosen=bool(query.table or query.rule),
        may_see=may_see,
        most_chars=_MOST_CHARS,
    )
    return html, found.status
