"""The first page of a shop's reports: every run's Data Docs, evaluations and drift report, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from core.layout import Layout
from core.storage import atomic_file, list_folder, newest_first, whole_folders

DATA_DOCS = Path("data-docs") / "index.html"
DRIFT = Path("drift")  # one page per cut-off and settings
COLUMNS = Path("columns")  # below the looks' pages: of each, Evidently's report of single columns
EVALUATIONS = Path("evaluation")  # one page per bundle that was evaluated
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{shop}: reports</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.4rem;border-bottom:1px solid #ddd}}</style>
</head><body><h1>{shop}: reports</h1>
<table><thead><tr><th>made</th><th>data</th><th>validation</th><th>evaluation</th><th>drift</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def write_index(layout: Layout) -> Path:
    """Write the page that links every report below `layout.reports`, atomically; other runs may remove old ones."""
    page = layout.reports / "index.html"
    with atomic_file(page) as temporary:
        rows = "\n".join(
            _row(folder, made_at) for folder, made_at in newest_first(whole_folders(layout.reports)).items()
        )
        temporary.write_text(_PAGE.format(shop=escape(layout.shop), rows=rows), encoding="utf-8")
    return page


def list_pages(folder: Path, kind: Path) -> list[Path]:
    """The pages of a kind in the folder of a validation's reports, newest first."""
    return list(newest_first(page for page in list_folder(folder / kind) if page.suffix == ".html"))


def files_of(page: Path) -> tuple[Path, ...]:
    """A page with what was written beside it: figures as JSON, or the report of single columns."""
    return page, page.with_suffix(".json"), page.parent / COLUMNS / page.name


def place_of(layout: Layout, page: Path) -> str:
    """Where a page lies below the shop's reports; empty where it does not."""
    return page.relative_to(layout.reports).as_posix() if page.is_relative_to(layout.reports) else ""


def _row(folder: Path, made_at: float) -> str:
    cells = [
        f"{datetime.fromtimestamp(made_at, UTC):%Y-%m-%d %H:%M} UTC",
        escape(folder.name),
        _link(folder, DATA_DOCS, "Data Docs"),
        _links(folder, EVALUATIONS),
        _links(folder, DRIFT),
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _links(folder: Path, kind: Path) -> str:
    """Links to the pages of a kind, newest first."""
    pages = list_pages(folder, kind)
    return "<br>".join(_link(folder, kind / page.name, page.stem[:8]) for page in pages) or "–"


def _link(folder: Path, page: Path, text: str) -> str:
    if not (folder / page).exists():
        return "–"
    return f'<a href="{escape(quote(f"{folder.name}/{page.as_posix()}"))}">{escape(text)}</a>'
