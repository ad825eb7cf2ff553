"""The project's Markdown documents, and what they name: code, links, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = sorted(DOCS.glob("*.md"))
# What a reader follows as instructions; the change log records what was, and its paths may be gone.
GUIDES = [README, CONTRIBUTING, *PAGES]
ALL = [*GUIDES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]

_FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", flags=re.MULTILINE)


def read(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def fenced(text: str, language: str | None = None) -> list[str]:
    """The blocks between fences, of a language or of any."""
    return [block for named, block in _FENCED.findall(text) if language in (None, named)]


def code(text: str) -> list[str]:
    """Everything set as code: the lines of fenced blocks, and inline code."""
    return [*(line for block in fenced(text) for line in block.splitlines()), *_INLINE.findall(_FENCED.sub("", text))]


def links(text: str) -> list[str]:
    """The targets of links outside of code."""
    return _LINK.findall(_INLINE.sub("", _FENCED.sub("", text)))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCED.sub("", text)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one) is not None for one in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def tree(text: str) -> Iterator[str]:
    """The paths of an annotated tree: one folder per line, ending in a slash, two spaces further in per level."""
    (block,) = (block for block in fenced(text) if block.startswith("core/") or "\ncore/" in block)
    above: list[str] = []
    for line in block.splitlines():
        if match := re.match(r"( *)([\w.-]+/)", line):
            depth = len(match[1]) // 2
            above = [*above[:depth], match[2]]
            yield "".join(above)
