"""The back door: is what comes in now still like what the model learned from? An Evidently report answers."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from recommender.settings import DriftSettings
from recommender.storage import atomic_file
from validation.drift_windows import Windows, read_windows
from validation.errors import DriftReportError

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

_TITLE = "Share of drifted columns"


class ColumnDrift(BaseModel):
    """One column: the measure's value, and whether it is past the threshold."""

    model_config = ConfigDict(frozen=True)

    score: float
    drifted: bool


class DriftSummary(BaseModel):
    """What a drift report found.

    Attributes:
        drifted: Whether the share of drifted columns reaches the settings' share.
        share: Of drifted columns, 0 to 1.
        columns: Per column.
        reference_rows, current_rows: Events in each window.
        reference_window, current_window: First and last event of each, ISO 8601.
        page: The report, one HTML file that needs no network.
    """

    model_config = ConfigDict(frozen=True)

    drifted: bool
    share: float
    columns: dict[str, ColumnDrift]
    reference_rows: int
    current_rows: int
    reference_window: tuple[str, str]
    current_window: tuple[str, str]
    page: Path


def report_drift(
    clean: Path, workspace: Path, project: str, page: Path, cut_at: datetime, settings: DriftSettings
) -> DriftSummary:
    """Compare the events from `cut_at` on with those before it.

    Args:
        clean: Folder of the clean tables.
        workspace: Evidently's workspace; the run is added to `project` there, and its UI shows it.
        page: HTML file to write, atomically.
        cut_at: Aware; the reference ends and the current window begins here.
    Raises:
        DriftReportError: one of the windows is empty, or no column can be compared.
    """
    windows = read_windows(clean, cut_at)
    if windows is None or not (windows.numbers or windows.words):
        raise DriftReportError(
            "Cannot report drift",
            got=f"cut_at={cut_at.isoformat()}",
            expected="events with values on both sides of it",
            where=str(clean / "interactions.parquet"),
            do="Choose a cut within the time range of the events",
        )
    snapshot = _run(windows, settings)
    summary = _summarise(snapshot, windows, page, settings)
    opened, home = _open_project(workspace, project)
    opened.add_run(home.id, snapshot, include_data=False)
    with atomic_file(page) as temporary:
        snapshot.save_html(str(temporary))
    return summary


def _run(windows: Windows, settings: DriftSettings) -> Snapshot:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(windows.numbers), categorical_columns=list(windows.words))
    reference, current = (
        Dataset.from_pandas(frame, data_definition=definition) for frame in (windows.reference, windows.current)
    )
    # The Wasserstein distance is of numbers only.
    words_method = "jensenshannon" if settings.method == "wasserstein" else settings.method
    preset = DataDriftPreset(
        drift_share=settings.share,
        num_method=settings.method,
        cat_method=words_method,
        num_threshold=settings.threshold,
        cat_threshold=settings.threshold,
    )
    return Report([preset]).run(current, reference, timestamp=windows.spans[3])


def _summarise(snapshot: Snapshot, windows: Windows, page: Path, settings: DriftSettings) -> DriftSummary:
    columns: dict[str, ColumnDrift] = {}
    for metric in snapshot.dict()["metrics"]:
        column = metric["config"].get("column")
        if column is not None:
            score = float(metric["value"])
            columns[column] = ColumnDrift(score=score, drifted=score >= settings.threshold)
    share = sum(column.drifted for column in columns.values()) / len(columns)
    first, last, opens, closes = (moment.isoformat() for moment in windows.spans)
    return DriftSummary(
        drifted=share >= settings.share,
        share=share,
        columns=columns,
        reference_rows=windows.rows[0],
        current_rows=windows.rows[1],
        reference_window=(first, last),
        current_window=(opens, closes),
        page=page.absolute(),
    )


def _open_project(workspace: Path, name: str) -> tuple[Any, Any]:
    """The workspace and the project, made if they are not there."""
    from evidently.ui.workspace import Workspace

    workspace.mkdir(parents=True, exist_ok=True)
    opened = Workspace.create(str(workspace))
    known = [project for project in opened.list_projects() if project.name == name]
    if known:
        return opened, known[0]
    project = opened.create_project(name, description="Drift of the newest window against the training window.")
    for panel in _panels():
        project.dashboard.add_panel(panel)
    project.save()
    return opened, project


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
