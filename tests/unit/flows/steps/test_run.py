"""Where a run's pages are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.params import PipelineParams
from flows.steps.run import Run


def _run(work_dir: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Run:
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(work_dir))
    for name, value in variables.items():
        monkeypatch.setenv(f"SOMMELIER_PLATFORM__{name}", value)
    return Run.of(PipelineParams(shop="corner"))


def test_links_go_where_people_find_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"REPORTS_PAGE": "https://shop.example/reports/", "MONITORING_PAGE": "https://shop.example/drift"}
    run = _run(tmp_path, monkeypatch, **pages)
    assert run.page_url(run.layout.reports / "c1" / "page.html") == "https://shop.example/reports/c1/page.html"
    assert run.monitoring_url == "https://shop.example/drift"


def test_where_nobody_says_so_they_go_to_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tmp_path, monkeypatch, REPORTS_HOST="0.0.0.0")
    assert run.page_url(run.layout.reports / "page.html") == "http://127.0.0.1:8010/page.html"
    assert run.monitoring_url == "http://127.0.0.1:8000"
