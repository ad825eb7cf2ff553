"""Evidently's workspace, written so that its UI and the next run read it whole, whenever a process is killed.

Evidently writes its files in place: one that is cut short keeps a workspace from being opened ever again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from core.storage import atomic_file

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.ui.workspace import Project, Workspace


def open_project(
    folder: Path, name: str, description: str, panels: Callable[[], Sequence[Any]]
) -> tuple[Workspace, Project]:
    """The workspace and its project of this name, made with its panels if it is not there."""
    from evidently.sdk.models import DashboardModel, DashboardTabModel, ProjectModel
    from evidently.ui.workspace import Workspace

    folder.mkdir(parents=True, exist_ok=True)
    opened = Workspace.create(str(folder))
    _write_atomically(opened, folder)
    # One that is without its file of metadata has no project: its making was cut short.
    known = [project for project in opened.list_projects() if project is not None and project.name == name]
    drawn = list(panels())
    tab = DashboardTabModel(title="General", panels=[panel.id for panel in drawn])
    dashboard = DashboardModel(tabs=[tab], panels=drawn)
    if known:
        if [panel.title for panel in known[0].dashboard.model().panels] != [panel.title for panel in drawn]:
            opened.save_dashboard(known[0].id, dashboard)  # made by an earlier version
        return opened, known[0]
    model = ProjectModel(id=uuid5(NAMESPACE_URL, f"sommelier/{name}"), name=name, description=description)
    # The panels first: from its metadata on, the project is there.
    opened.save_dashboard(model.id, dashboard)
    return opened, opened.add_project(model)


def keep_run(opened: Workspace, project: Project, snapshot: Snapshot, name: str) -> None:
    """Keep a run; one of the same name is replaced, so that a run that is made again is there once."""
    opened.state.write_snapshot(project.id, uuid5(project.id, name), snapshot.to_snapshot_model())


def forget_old(opened: Workspace, project: Project, kept: int) -> None:
    """Keep so many runs, those that were written last."""
    folder = Path(opened.path) / str(project.id) / "snapshots"
    written = {run: (folder / f"{run}.json").stat().st_mtime_ns for run in opened.list_runs(project.id)}
    for run in sorted(written, key=lambda one: written[one], reverse=True)[kept:]:
        opened.delete_run(project.id, run)


def _write_atomically(workspace: Workspace, folder: Path) -> None:
    location = workspace.state.location
    plain = location.open

    @contextmanager
    def open_whole(path: str, mode: str = "r") -> Iterator[Any]:
        if "w" not in mode:
            with plain(path, mode) as file:
                yield file
            return
        with atomic_file(folder / path) as temporary, temporary.open(mode, encoding="utf-8") as file:
            yield file

    location.open = open_whole
