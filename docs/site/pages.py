"""The pages of the site: where each comes from, in which order, and what its links lead to there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from docs.site.notebooks import as_markdown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOTEBOOKS = DOCS / "notebooks"
SETTINGS_PAGE, API_PAGE = "settings-reference.md", "api-reference.md"
# Documents that stand elsewhere in the repository, and their pages.
ELSEWHERE = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}

_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_SECTION = re.compile(r"^\*\*(.+)\*\*$")
_ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)\s#]+)\)")


def sources() -> dict[str, str]:
    """Path of a document in the repository to its page."""
    own = {page.relative_to(ROOT).as_posix(): page.name for page in sorted(DOCS.glob("*.md"))}
    notebooks = {
        notebook.relative_to(ROOT).as_posix(): f"{notebook.stem.replace('_', '-')}.md"
        for notebook in sorted(NOTEBOOKS.glob("*.ipynb"))
    }
    return {**own, **notebooks, **ELSEWHERE}


def navigation(index: str) -> list[dict[str, object]]:
    """The sections of the index, with the pages that each lists: it is the one place that says the order."""
    pages = sources()
    sections: list[dict[str, object]] = [{"Documentation": "index.md"}, {"Start": [{"Overview": "readme.md"}]}]
    listed: list[dict[str, str]] = []
    for line in index.splitlines():
        if match := _SECTION.match(line):
            listed = []
            sections.append({match[1]: listed})
        elif match := _ITEM.match(line):
            listed.append({match[1]: pages[posixpath.normpath(posixpath.join("docs", match[2]))]})
    sections.append({"Reference": [{"Every setting": SETTINGS_PAGE}, {"Every endpoint": API_PAGE}]})
    return sections


def page_text(source: str) -> str:
    """A document's text with links as they are within the site.

    What is no page, such as a module or the licence, is named and not linked.

    Args:
        source: Its path in the repository.
    """
    pages, folder = sources(), posixpath.dirname(source)

    def relink(match: re.Match[str]) -> str:
        image, words, target = match.groups()
        path, hash_, anchor = target.partition("#")
        if image or not path or "://" in target:
            return match[0]
        page = pages.get(posixpath.normpath(posixpath.join(folder, path)))
        return words if page is None else f"[{words}]({page}{hash_}{anchor})"

    # Every second piece is a fenced block, and stays as it is.
    file = ROOT / source
    text = as_markdown(file) if file.suffix == ".ipynb" else file.read_text(encoding="utf-8")
    pieces = _FENCED.split(text)
    return "".join(piece if place % 2 else _LINK.sub(relink, piece) for place, piece in enumerate(pieces))
