"""The documents as a site: every page is there, links lead somewhere, nothing is fetched from another host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_origin

import pytest
from pydantic import BaseModel

from core.settings.tree import Recipe, Settings
from docs.site.__main__ import build
from docs.site.pages import ELSEWHERE, page_text
from docs.site.pictures import PICTURES
from docs.site.references import api_page, settings_page
from serving.api.endpoints import ENDPOINTS
from tests.contract.documents import PAGES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly: a link that leads nowhere fails."""
    return build(tmp_path_factory.mktemp("docs"))


def test_every_document_is_a_page_that_the_menu_lists(site: Path) -> None:
    names = {page.stem for page in PAGES} | {Path(page).stem for page in ELSEWHERE.values()}
    names |= {"settings-reference", "api-reference", "first-look"}
    assert {page.stem for page in site.glob("*.html")} == names | {"404"}
    menu = (site / "tuning.html").read_text(encoding="utf-8")
    assert {name for name in names if f'href="./{name}.html"' in menu} == names - {"tuning"}


def test_the_pictures_of_a_page_are_there(site: Path) -> None:
    shown = re.findall(r'<img[^>]+src="([^"]+)"', (site / "tour.html").read_text(encoding="utf-8"))
    assert len(shown) == len(list(PICTURES.iterdir()))
    assert not [one for one in shown if not (site / one).is_file()]


def test_pages_fetch_nothing_from_another_host(site: Path) -> None:
    fetched = re.compile(r'<(?:script|img|iframe|link)[^>]+(?:src|href)="(https?://[^"]+)"')
    assert not {found for page in site.glob("*.html") for found in fetched.findall(page.read_text(encoding="utf-8"))}


def test_links_to_what_is_no_page_are_left_as_words() -> None:
    index = page_text("docs/index.md")
    assert "[Change log](changelog.md)" in index
    assert "../" not in index
    assert "](docs/" not in page_text("README.md")


def test_a_code_block_stays_as_it_is() -> None:
    source, page = Path(PAGES[0].parent / "service.md").read_text(encoding="utf-8"), page_text("docs/service.md")
    fences = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    assert fences.findall(page) == fences.findall(source)


def test_every_setting_is_in_the_reference() -> None:
    written = settings_page()

    def check(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, BaseModel):
                check(kind)
            elif name not in ("source", "scorer", "writer"):
                assert f"\n| `{name}` |" in written, f"{model.__name__}.{name}"

    check(Settings)
    check(Recipe)
    for kind in ("simulated", "tables", "sql", "amazon-2014"):
        assert f"\n## recipe.source (kind = {kind})\n" in written
    assert "| `false_alarms_per_week` | number, at least 0, at most 1 | `0.05` | Share of quiet weeks" in written


def test_every_endpoint_is_in_the_reference() -> None:
    written = api_page()
    for endpoint in ENDPOINTS:
        assert f"\n## {endpoint.method.upper()} {endpoint.path}\n" in written
    assert "| `k` | integer, at least 1 | `10` | How many items to return" in written
