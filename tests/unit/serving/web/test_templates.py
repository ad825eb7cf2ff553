"""What every page has: links to the parts of the platform that are known, and to no others."""

from __future__ import annotations

import re

import pytest

from core.settings.platform import PlatformSettings
from core.settings.tree import Settings
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


@pytest.mark.parametrize("page", ["javascript:alert(1)", "prefect:4200", "http://me:secret@prefect"])
def test_an_address_that_is_none_for_a_browser_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="prefect_page"):
        PlatformSettings(prefect_page=page)
