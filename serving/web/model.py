"""GET /app/model and GET /app/experiments: what answers, how good it is, where it came from, and what is tried."""

from __future__ import annotations

from typing import Any

from core.logs.timeline import Entry
from core.settings.tree import Settings
from serving.guard.caller import current_caller
from serving.web.answers import Answer, read
from serving.web.links import links_along
from serving.web.measures import ranker_table
from serving.web.templates import render

_KINDS = ("gate", "canary", "promotion", "rollback")


async def show_model(service: Any, settings: Settings, recommendation_id: str) -> tuple[str, int]:
    """The page of the bundle in service, as HTML, and its HTTP status.

    Args:
        service: That answers.
        settings: Of the shop.
        recommendation_id: Of an answer whose lineage is asked for; empty for none.
    """
    model, timeline = await read(service.model_info), await read(service.operations.timeline)
    lineage = None
    if recommendation_id:
        # As the endpoint: it names who was shown what.
        lineage = Answer({}, "Your API key lacks the scope admin, which the lineage of an answer needs.", 403)
        if current_caller().may("admin"):
            lineage = await read(service.operations.lineage, recommendation_id)
    manifest = model.body["manifest"] or {}
    heads, rows = ranker_table(manifest.get("metrics", {}))
    entries = {one["id"]: Entry.model_validate(one) for one in timeline.body["entries"]}
    led = lineage.body.get("run") if lineage else None
    html = render(
        settings,
        "model.html.j2",
        "model",
        model=model.body,
        manifest=manifest,
        metrics=manifest.get("metrics", {}),
        heads=heads,
        rows=rows,
        decisions=[
            (one, links_along(entries[one["id"]], entries, settings.platform))
            for one in reversed(timeline.body["entries"])
            if one["kind"] in _KINDS
        ],
        led=None if led is None else Entry.model_validate(led),
        led_links=links_along(Entry.model_validate(led), entries, settings.platform) if led else [],
        recommendation_id=recommendation_id,
        lineage=lineage,
    )
    return html, 200 if lineage is None else lineage.status


async def show_experiments(service: Any, settings: Settings) -> str:
    """The page of experiments, as HTML."""
    found = await read(service.experiments_info)
    return render(settings, "experiments.html.j2", "experiments", found=found.body)
