"""Drift: the events since a cut-off against those that a model learned from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.layout import Layout
from flows.reporting import artifacts
from flows.reporting.reports import DRIFT, write_index
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, step

if TYPE_CHECKING:
    from monitoring.drift import DriftSummary
    from validation.summary import ValidationSummary


def _page(layout: Layout, key: str, inputs: Mapping[str, Any]) -> Path:
    """A page of its own for each key: a result that is used again finds the page that was written with it."""
    return layout.reports / inputs["clean"].key / DRIFT / f"{key}.html"


@step("monitor", at=_page, reads=("drift",))
def watch_drift(step: StepContext, clean: Output[ValidationSummary], cut_at: datetime) -> DriftSummary:
    """Compare the events since the cut-off with those the model learned from, in an Evidently report."""
    from monitoring.drift import report_drift

    layout = step.layout
    summary = report_drift(clean.folder, layout.monitoring, layout.shop, step.target, cut_at, step.recipe.drift)
    if summary.note:
        step.progress(f"monitor: {summary.note}")
    return summary


def watch(run: Run, clean: Output[ValidationSummary], cut_at: datetime) -> DriftSummary:
    """Report drift since the cut-off."""
    drift = watch_drift(run, clean=clean, cut_at=cut_at)
    write_index(run.layout)
    artifacts.publish_drift(drift.value, run.page_url(drift.folder), run.monitoring_url)
    return drift.value
