"""The first page links what is there, newest first."""

import os
import re
import shutil
from pathlib import Path

from core.layout import Layout
from flows.reporting.reports import DATA_DOCS, DRIFT, EVALUATIONS, write_index


def leave(layout: Layout, name: str, pages: list[Path], made_at: int) -> None:
    for number, page in enumerate(pages):
        path = layout.reports / name / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (made_at + number, made_at + number))
    os.utime(layout.reports / name, (made_at, made_at))


def test_reports_are_linked_newest_first_and_only_where_they_exist(tmp_path):
    layout = Layout(tmp_path, "small")
    leave(layout, "old", [DATA_DOCS, DRIFT / "first.html", DRIFT / "second.html"], 1000)
    leave(layout, "new", [DATA_DOCS, EVALUATIONS / "first.html", EVALUATIONS / "second.html"], 2000)
    (layout.reports / "new" / EVALUATIONS / "second.json").write_text("{}")
    links = re.findall(r'href="([^"]+)"', write_index(layout).read_text())
    assert links == [
        "new/data-docs/index.html",
        "new/evaluation/second.html",
        "new/evaluation/first.html",
        "old/data-docs/index.html",
        "old/drift/second.html",
        "old/drift/first.html",
    ]
    assert all((layout.reports / link).exists() for link in links)


def test_what_another_run_removes_meanwhile_is_left_out(tmp_path, monkeypatch):
    layout = Layout(tmp_path, "small")
    leave(layout, "old", [DATA_DOCS], 1000)
    leave(layout, "new", [EVALUATIONS / "first.html", EVALUATIONS / "second.html"], 2000)
    removed = []
    is_dir, stat = Path.is_dir, Path.stat

    def listed(path: Path) -> bool:
        found = is_dir(path)
        if path.name == "old":
            shutil.rmtree(path)
        return found

    def looked_at(path: Path, **given: bool) -> os.stat_result:
        found = stat(path, **given)
        if path.suffix == ".html" and path.parent.name == EVALUATIONS.name and not removed:
            removed.extend(page for page in path.parent.iterdir() if page != path)
            removed[0].unlink()
        return found

    monkeypatch.setattr(Path, "is_dir", listed)
    monkeypatch.setattr(Path, "stat", looked_at)
    links = re.findall(r'href="([^"]+)"', write_index(layout).read_text())
    (gone,) = removed
    assert links == [f"new/evaluation/{name}.html" for name in ("first", "second") if name != gone.stem]
