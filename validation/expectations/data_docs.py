"""Data Docs that open anywhere: the pages that Great Expectations draws, freed of what they load from the network.

Great Expectations' own pages take stylesheets and scripts from a dozen addresses; without them they are bare, and their
first page is empty. Here their result and suite pages get one small stylesheet and script that lie beside them, and the
first page is ours: per table the counts, and per rule what it means and how many rows break it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.schema import TABLE_NAMES, TableName
from core.storage import atomic_folder

if TYPE_CHECKING:
    from validation.expectations.rejection import TableVerdict

_ASSETS = Path(__file__).parent / "assets"
_KEPT_IMAGES = ("favicon.ico", "logo-long.png")
_SITE = "local_site"
_VIEW = {"module_name": "validation.expectations.page_view", "class_name": "PageView"}
# Nothing is profiled; the first page, which would be the index, is ours.
_SECTIONS = {"expectations": {"view": _VIEW}, "validations": {"view": _VIEW}, "profiling": "None"}
_REMOTE = (
    re.compile(r"<link\b[^>]*href=[\"']https?://[^>]*>", re.IGNORECASE),
    re.compile(r"<script\b[^>]*src=[\"']https?://[^>]*>\s*</script>", re.IGNORECASE),
    re.compile(r"<footer\b.*?</footer>", re.IGNORECASE | re.DOTALL),  # an invitation to a newsletter
)
_WALKTHROUGH = re.compile(r"<script>\s*try \{\s*if \(localStorage.*?</script>", re.DOTALL)
_REMOTE_LOGO = re.compile(r"https?://[^\"']*logo-long\.png[^\"']*")


@dataclass(frozen=True)
class _Page:
    """What the first page says of one table, and where its own pages are; "" for a table without rows."""

    table: TableName
    verdict: TableVerdict
    result: str
    suite: str


def write_data_docs(context: Any, verdicts: Mapping[TableName, TableVerdict], run: str, docs: Path) -> Path:
    """Draw the site of everything that ran in a context.

    Args:
        context: Great Expectations' file context, its suites run.
        verdicts: What became of each table's rows, and under which rules.
        run: The key of the raw tables.
        docs: Folder to write, atomically.
    Returns:
        The first page.
    """
    sites = context.variables.data_docs_sites
    context.variables.data_docs_sites = {**sites, _SITE: {**sites[_SITE], "site_section_builders": _SECTIONS}}
    context.build_data_docs(site_names=[_SITE], build_index=False)
    drawn = Path(context.root_directory) / "uncommitted" / "data_docs" / _SITE
    with atomic_folder(docs) as folder:
        for name in ("expectations", "validations"):
            if (drawn / name).is_dir():
                shutil.copytree(drawn / name, folder / name)
        images = folder / "static" / "images"
        images.mkdir(parents=True)
        for name in _KEPT_IMAGES:
            shutil.copy(drawn / "static" / "images" / name, images / name)
        for name in ("docs.css", "docs.js"):
            shutil.copy(_ASSETS / name, folder / name)
        for page in folder.rglob("*.html"):
            _free_of_network(page, Path(os.path.relpath(folder, page.parent)))
        _write_index(folder, verdicts, run)
    return docs / "index.html"


def _free_of_network(page: Path, up: Path) -> None:
    """Replace what a page loads from the network with the stylesheet and script beside it."""
    text = page.read_text(encoding="utf-8")
    for pattern in (*_REMOTE, _WALKTHROUGH):
        text = pattern.sub("", text)
    text = _REMOTE_LOGO.sub(f"{up.as_posix()}/static/images/logo-long.png", text)
    text = re.sub(r"(\.\./)+static/images/favicon", f"{up.as_posix()}/static/images/favicon", text)
    own = (
        f'<link rel="stylesheet" href="{up.as_posix()}/docs.css"><script src="{up.as_posix()}/docs.js" defer></script>'
    )
    page.write_text(text.replace("</head>", f"{own}</head>", 1), encoding="utf-8")


def _write_index(folder: Path, verdicts: Mapping[TableName, TableVerdict], run: str) -> None:
    from jinja2 import Environment, FileSystemLoader

    pages = []
    for table in TABLE_NAMES:
        results = sorted((folder / "validations" / table).rglob("*.html"))
        result = results[-1].relative_to(folder).as_posix() if results else ""
        pages.append(_Page(table, verdicts[table], result, f"expectations/{table}.html"))
    template = Environment(loader=FileSystemLoader(_ASSETS), autoescape=True).get_template("index.html.jinja")
    (folder / "index.html").write_text(template.render(pages=pages, run=run), encoding="utf-8")
