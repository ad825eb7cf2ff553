"""GET /app: what is served, whom to look at first, and the way to everything else."""

from __future__ import annotations

import json
from typing import Any

from core.layout import Layout
from core.settings.tree import Settings
from serving.web.answers import Answer, read
from serving.web.measures import headline
from serving.web.templates import render


async def show_front(service: Any, settings: Settings) -> str:
    """The front page, as HTML.

    Args:
        service: That answers.
        settings: Of the shop.
    """
    model, timeline, experiments = (
        await read(service.model_info),
        await read(service.operations.timeline),
        await read(service.experiments_info),
    )
    manifest = model.body["manifest"] or {}
    metrics = manifest.get("metrics", {})
    return render(
        settings,
        "front.html.j2",
        "",
        model=model.body,
        data=manifest.get("data", {}),
        headline=headline(metrics),
        problems=_problems(model, timeline, experiments),
        alarms=[one for one in timeline.body["entries"] if one["kind"] == "alarm" and one["state"] == "on"],
        running=[one for one in experiments.body["experiments"] if one["state"] != "stopped"],
        example=example_user(settings),
    )


def example_user(settings: Settings) -> str:
    """A user with a history, whom the last run of the pipeline names; empty where it names none."""
    try:
        outcome = json.loads(Layout(settings.work_dir, settings.shop).outcome.read_text(encoding="utf-8"))
        return str(outcome.get("example_user", ""))
    except (OSError, ValueError):
        return ""


def _problems(model: Answer, *others: Answer) -> list[str]:
    own = [model.body[name] for name in ("problem", "store_problem", "changes_problem")]
    said = [*own, *model.body["experiment_problems"], *(one.body["problem"] for one in others)]
    return [problem for problem in said if problem]
