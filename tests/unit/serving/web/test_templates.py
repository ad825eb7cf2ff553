"""What every page has: links to the parts of the platform that are known, and to no others."""

from __future__ import annotations

import re

import pytest

from core.settings.platform import PlatformSettings
from core.settings.tree import Settings
from monitoring.online.figures import ExperimentFigures, VariantFigures
from monitoring.online.intervals import Interval, OpenInterval
from serving.api.experiments import ExperimentInfo, ExperimentsInfo
from serving.web.templates import render

PARTS = ("Flows (Prefect)", "Drift (Evidently)", "Reports and Data Docs")


def links_of(platform: PlatformSettings) -> dict[str, str]:
    html = render(Settings(platform=platform), "problem.html.j2", "status", problem="No.")
    foot = html.partition('<nav aria-label="Parts of the platform">')[2]
    return {name: url for url, name in re.findall(r'<a href="([^"]*)">([^<]*)</a>', foot)}


def test_a_service_alone_links_to_itself_alone() -> None:
    # Where they listen is no sign that they are there: these are defaults.
    assert list(links_of(PlatformSettings(prefect_host="prefect"))) == ["API", "Metrics"]


def test_parts_that_are_named_are_linked() -> None:
    named = PlatformSettings(prefect_page="http://127.0.0.1:4200", reports_page="https://shop.example/reports/")
    links = links_of(named)
    assert [name for name in links if name in PARTS] == ["Flows (Prefect)", "Reports and Data Docs"]
    assert links["Flows (Prefect)"] == "http://127.0.0.1:4200"
    assert links["Reports and Data Docs"] == "https://shop.example/reports"


def test_a_page_names_where_it_is_explained() -> None:
    html = render(Settings(), "problem.html.j2", "model", problem="No.")
    assert "<code>docs/pipeline.md</code>, “The gate”" in html


@pytest.mark.parametrize("page", ["javascript:alert(1)", "prefect:4200", "http://me:secret@prefect"])
def test_an_address_that_is_none_for_a_browser_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="prefect_page"):
        PlatformSettings(prefect_page=page)


def test_an_end_that_few_answers_do_not_tell_is_open_on_the_page_of_experiments() -> None:
    variant = VariantFigures(
        variant="new",
        share=0.5,
        answers=5,
        hit_rate=Interval(value=0.5, low=0.25, high=0.75),
        latency_p50_ms=OpenInterval(value=12.0, low=None, high=None),
        latency_p99_ms=OpenInterval(value=90.0, low=40.0, high=None),
    )
    figures = ExperimentFigures(name="try", since="", until="2026-03-01T12:00:00+00:00", dropped=0, variants=(variant,))
    one = ExperimentInfo(
        name="try",
        kind="split",
        state="running",
        problem=None,
        started_at="2026-03-01T12:00:00+00:00",
        stopped_at=None,
        reason="",
        variants=[],
        figures=figures,
    )
    found = ExperimentsInfo(problem=None, pinned=None, experiments=[one]).model_dump(mode="json")
    words = " ".join(
        re.sub(r"<[^>]*>", " ", render(Settings(), "experiments.html.j2", "experiments", found=found)).split()
    )
    assert "50 25 to 75" in words
    assert "12 ? to ?" in words
    assert "90 40 to ?" in words
