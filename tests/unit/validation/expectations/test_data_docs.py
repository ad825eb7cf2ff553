"""The Data Docs open without a network, and say what was found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from core.settings.source import TablesSource
from core.settings.validation import ValidationSettings
from tests.unit.validation.source_files import events, json_lines, write
from validation.gate import validate
from validation.sources.ingest import ingest

ASSET = re.compile(r"<(?:link|script|img|source|iframe)\b[^>]*(?:src|href)\s*=\s*[\"']([^\"']*)", re.IGNORECASE)
LONG = "endless" * 1000
BAD = '<script>alert("x")</script>'
DIGITS = "4863106599512164"  # a fingerprint that Great Expectations takes for a time beyond all years


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("docs"))


def drawn(folder: Path) -> Path:
    bad = {**events(1)[0], "event_id": "bad", "event": BAD}
    rows = [*events(8), bad, {**bad, "event_id": "long", "event": LONG}]
    write(folder / "in" / "interactions.jsonl", json_lines(*rows))
    note = ingest(TablesSource(path=folder / "in"), folder / "raw")
    _rename(folder / "raw", note.fingerprint)
    settings = ValidationSettings(min_interactions=1, max_quarantined_share=1)
    return validate(folder / "raw", folder / "clean", settings, folder / "docs").docs.parent


def _rename(raw: Path, fingerprint: str) -> None:
    (noted,) = (file for file in raw.glob("*.json") if fingerprint in file.read_text())
    noted.write_text(noted.read_text().replace(fingerprint, DIGITS))


def test_no_page_loads_anything_from_elsewhere_and_every_asset_is_there(docs: Path) -> None:
    pages = list(docs.rglob("*.html"))
    assert len(pages) == 3  # ours, the suite, the result
    for page in pages:
        assets = ASSET.findall(page.read_text())
        assert assets
        for asset in assets:
            assert "//" not in asset
            assert (page.parent / asset).resolve().is_file(), asset
        assert "url(http" not in page.read_text()


def test_the_links_between_the_pages_lead_somewhere(docs: Path) -> None:
    for page in docs.rglob("*.html"):
        links = re.findall(r"<a\b[^>]*href=\"([^\"#]+)\"", page.read_text())
        for link in links:
            assert (page.parent / link).resolve().is_file(), f"{page}: {link}"


def test_the_first_page_has_the_counts_and_every_rule(docs: Path) -> None:
    text = (docs / "index.html").read_text()
    assert "event_in_set" in text
    assert "quarantine" in text
    assert re.search(r"interactions</a></td>\s*<td class=\"number\">10</td>\s*<td class=\"number\">8</td>", text)


def test_what_a_source_says_never_becomes_markup(docs: Path) -> None:
    (page,) = (docs / "validations").rglob("*.html")
    assert "alert(" in page.read_text()  # the bad value is shown
    assert BAD not in page.read_text()


def test_templates_are_compiled_once_for_all_pages(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str | None] = []
    own = Environment.compile

    def counted(self: Environment, source: str, name: str | None = None, *more: Any) -> Any:
        compiled.append(name)
        return own(self, source, name, *more)

    monkeypatch.setattr(Environment, "compile", counted)
    again = drawn(tmp_path)
    assert compiled == ["index.html.jinja"]  # of our own first page
    assert [len(list(one.rglob("*.html"))) for one in (again, docs)] == [3, 3]


def test_an_endless_value_is_cut_short(docs: Path) -> None:
    (page,) = (docs / "validations").rglob("*.html")
    assert LONG[:200] in page.read_text()
    assert LONG[:201] not in page.read_text()
