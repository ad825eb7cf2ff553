"""Drift: the newest days of a shop against its own quiet past."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.layout import Layout
from flows.reporting import artifacts
from flows.reporting.gauges import publish_look
from flows.reporting.reports import DRIFT, write_index
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, step

if TYPE_CHECKING:
    from monitoring.drift import DriftSummary
    from validation.summary import ValidationSummary


def _page(layout: Layout, key: str, inputs: Mapping[str, Any]) -> Path:
    """A page of its own for each key: a result that is used again finds the page that was written with it."""
    return layout.reports / inputs["clean"].key / DRIFT / f"{key}.html"


@step("monitor", at=_page, reads=("drift", "validation.cleaning.floods"))
def watch_drift(
    step: StepContext, clean: Output[ValidationSummary], cut_at: datetime, end: datetime | None
) -> DriftSummary:
    """Look at the newest days: signals against their calibrated past, alarms, and reports."""
    from monitoring.drift import Places, report_drift
    from monitoring.signals.activity import FloodRule

    layout, settings, floods = step.layout, step.recipe.drift, step.recipe.validation.cleaning.floods
    places = Places(clean.folder, layout.monitoring, layout.watched, step.target)
    rule = FloodRule(floods.factor, floods.min_repeats, settings.filter_floods)
    summary = report_drift(places, layout.shop, cut_at, settings, rule, end)
    for line in [summary.note] if summary.note else [alarm.says for alarm in summary.alarms]:
        step.progress(f"monitor: {line}")
    return summary


def watch(run: Run, clean: Output[ValidationSummary], cut_at: datetime) -> DriftSummary:
    """Look at the newest days.

    Args:
        cut_at: Up to here is what the model learned from.
    """
    from monitoring.drift import live_end

    end = live_end(clean.folder, datetime.now(UTC))
    drift = watch_drift(run, clean=clean, cut_at=cut_at, end=end)
    write_index(run.layout)
    publish_look(run.layout, drift.value)
    artifacts.publish_drift(drift.value, run.page_url(drift.folder), run.monitoring_url)
    return drift.value
