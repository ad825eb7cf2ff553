"""Drift: an Evidently report of the newest events against those that the model was trained on."""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from core.settings.monitoring import DriftSettings
from core.storage import atomic_file
from monitoring.windows import Windows, read_windows
from monitoring.workspace import forget_old, keep_run, open_project

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

KEPT_SNAPSHOTS = 200  # runs that Evidently's UI shows; each is some hundred kilobytes
_TITLE = "Share of drifted columns"
_DESCRIPTION = "Drift of the newest window against the training window."
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{project}: drift</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}}</style>
</head><body><h1>{project}: drift</h1><p>{note}</p></body></html>
"""


class ColumnDrift(BaseModel):
    """One column's drift score, and whether it reaches the threshold."""

    model_config = ConfigDict(frozen=True)

    score: float
    drifted: bool


class DriftSummary(BaseModel):
    """What a drift report found.

    Attributes:
        drifted: Whether the share of drifted columns reaches the settings' share.
        share: Of drifted columns, 0 to 1.
        columns: Per column; none where nothing could be compared.
        note: Why nothing was compared, one sentence; empty where something was.
        reference_rows, current_rows: Events in each window.
        reference_window, current_window: First and last event of each, ISO 8601; None of an empty window.
        page: The report, one HTML file that needs no network.
    """

    model_config = ConfigDict(frozen=True)

    drifted: bool
    share: float
    columns: dict[str, ColumnDrift]
    note: str = ""
    reference_rows: int
    current_rows: int
    reference_window: tuple[str, str] | None
    current_window: tuple[str, str] | None
    page: Path


def report_drift(
    clean: Path, workspace: Path, project: str, page: Path, cut_at: datetime, settings: DriftSettings
) -> DriftSummary:
    """Compare the events from `cut_at` on with those before it.

    Where a window is empty, or no column has values to compare, the summary and the page say so, and nothing drifted.

    Args:
        clean: Folder of the clean tables.
        workspace: Evidently's workspace; the run is added to `project` there, its UI shows it, and the oldest go.
        page: HTML file to write, atomically; its name is the run's.
        cut_at: Aware; the reference ends and the current window begins here.
    """
    windows = read_windows(clean, cut_at)
    opened, owner = open_project(workspace, project, _DESCRIPTION, _panels)
    note = _explain_empty(windows, cut_at)
    if note:
        with atomic_file(page) as temporary:
            temporary.write_text(_PAGE.format(project=escape(project), note=escape(note)), encoding="utf-8")
        return _summarise({}, windows, page, settings, note)
    snapshot = _run(windows, settings)
    summary = _summarise(_read_columns(snapshot, settings), windows, page, settings)
    keep_run(opened, owner, snapshot, page.stem)
    forget_old(opened, owner, KEPT_SNAPSHOTS)
    with atomic_file(page) as temporary:
        snapshot.save_html(str(temporary))
    return summary


def _explain_empty(windows: Windows, cut_at: datetime) -> str:
    """Why there is nothing to compare; empty where there is."""
    reference, current = windows.rows
    if not reference or not current:
        empty = "before" if not reference else "from"
        return (
            f"Nothing to compare: there is no event {empty} {cut_at.isoformat()}, where the newest window begins "
            f"({reference} events before, {current} after)."
        )
    if not (windows.numbers or windows.words):
        return (
            f"No column to compare: none of {', '.join(windows.considered)} has values in both windows and more than "
            f"one value in all ({reference} events before {cut_at.isoformat()}, {current} after)."
        )
    return ""


def _run(windows: Windows, settings: DriftSettings) -> Snapshot:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(windows.numbers), categorical_columns=list(windows.words))
    reference, current = (
        Dataset.from_pandas(frame, data_definition=definition) for frame in (windows.reference, windows.current)
    )
    # The Wasserstein distance is defined for numbers only.
    words_method = "jensenshannon" if settings.method == "wasserstein" else settings.method
    preset = DataDriftPreset(
        drift_share=settings.share,
        num_method=settings.method,
        cat_method=words_method,
        num_threshold=settings.threshold,
        cat_threshold=settings.threshold,
    )
    return Report([preset]).run(current, reference, timestamp=windows.spans[3])


def _read_columns(snapshot: Snapshot, settings: DriftSettings) -> dict[str, ColumnDrift]:
    columns: dict[str, ColumnDrift] = {}
    for metric in snapshot.dict()["metrics"]:
        column = metric["config"].get("column")
        if column is not None:
            score = float(metric["value"])
            columns[column] = ColumnDrift(score=score, drifted=score >= settings.threshold)
    return columns


def _summarise(
    columns: dict[str, ColumnDrift], windows: Windows, page: Path, settings: DriftSettings, note: str = ""
) -> DriftSummary:
    share = sum(column.drifted for column in columns.values()) / len(columns) if columns else 0.0
    first, last, opens, closes = windows.spans
    return DriftSummary(
        drifted=bool(columns) and share >= settings.share,
        share=share,
        columns=columns,
        note=note,
        reference_rows=windows.rows[0],
        current_rows=windows.rows[1],
        reference_window=(first.isoformat(), last.isoformat()) if first and last else None,
        current_window=(opens.isoformat(), closes.isoformat()) if opens and closes else None,
        page=page.absolute(),
    )


def _panels() -> list[Any]:
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import bar_plot_panel, line_plot_panel

    share = PanelMetric(legend="share", metric="DriftedColumnsCount", metric_labels={"value_type": "share"})
    count = PanelMetric(legend="drifted columns", metric="DriftedColumnsCount", metric_labels={"value_type": "count"})
    per_column = PanelMetric(legend="{{column}}", metric="ValueDrift")
    # No counter of the last run: Evidently's page draws a share of 0 as "no value".
    return [
        line_plot_panel(title=_TITLE, values=[share], size="half"),
        bar_plot_panel(title="Drifted columns", values=[count], size="half"),
        line_plot_panel(title="Drift per column", values=[per_column], size="full"),
    ]
