"""The templates of all pages, and what each of them needs: its links, its files, how values are written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import HTMLResponse

from core.settings.platform import PagesName
from core.settings.tree import Settings

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = Path(__file__).parent / "assets"
FILES = {"page.css": "text/css", "page.js": "text/javascript"}
# In the order in which they are shown.
PAGES = (
    ("", "Overview"),
    ("explore", "Explore"),
    ("compare", "Compare"),
    ("model", "Model"),
    ("experiments", "Experiments"),
    ("status", "Status"),
    ("quarantine", "Quarantine"),
    ("audit", "Audit log"),
)
# What explains a page: a file of the repository, and a section of it. They are named and not linked, as they are not
# served: a Bento is without them.
READ_MORE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "": (("docs/tour.md", "A tour in ten minutes"), ("docs/your-data.md", "Your own data in ten minutes")),
    "explore": (("docs/models.md", "Reasons"), ("docs/service.md", "Filters and rules")),
    "item": (("docs/models.md", "Reasons"),),
    "compare": (("docs/service.md", "Recommendations"),),
    "model": (("docs/pipeline.md", "The gate"), ("docs/evaluation.md", "Metrics"), ("docs/settings.md", "Groups")),
    "experiments": (("docs/experiments.md", "Figures"),),
    "status": (("docs/monitoring.md", "Drift"), ("docs/loop.md", "What to do")),
    "quarantine": (("docs/validation.md", "Quarantine"),),
    "audit": (("docs/operations.md", "The audit log"),),
}
_PARTS: tuple[tuple[str, PagesName], ...] = (
    ("Flows (Prefect)", "prefect"),
    ("Drift (Evidently)", "monitoring"),
    ("Reports and Data Docs", "reports"),
)
# Files and answers of this service, and no script or style that stands in the page itself.
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}


def render(settings: Settings, template: str, page: str, **values: Any) -> str:
    """A page, as HTML.

    Args:
        settings: Of the shop; they say where the other parts of the platform are.
        template: Its file.
        page: Its path below /app; empty for the front page.
        values: What the template shows.
    """
    front = not page
    # Relative, as a proxy may put the service below a path of its own.
    app, root = ("app/", "") if front else ("", "../")

    def to(name: str, **query: Any) -> str:
        asked = urlencode({key: value for key, value in query.items() if value not in (None, "")}, doseq=True)
        path = f"{app}{name}" if name else f"{root}app"
        return f"{path}?{asked}" if asked else path

    return (
        _environment()
        .get_template(template)
        .render(
            shop=settings.shop,
            page=page,
            pages=PAGES,
            root=root,
            to=to,
            files={name: f"{app}assets/{name}?v={digest_of(name)}" for name in FILES},
            read_more=READ_MORE.get(page, ()),
            parts=[(name, page) for name, part in _PARTS if (page := settings.platform.page_of(part))],
            **values,
        )
    )


def show(html: str, status: int = 200) -> HTMLResponse:
    """A page as a response."""
    return HTMLResponse(html, status_code=status, headers=HEADERS)


@cache
def digest_of(name: str) -> str:
    """Of a file that pages load; it stands in its address, so that a browser may keep the file."""
    return sha256((ASSETS / name).read_bytes()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(moment=_moment, number=_number, value=_value, stars=_stars, words=_words)
    return environment


def _moment(text: str) -> str:
    return f"{text[:10]} {text[11:16]}"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _value(value: Any) -> str:
    """Any value of an answer."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(one) for one in value)
    return str(value)


def _stars(rating: float) -> str:
    full = round(rating)
    return "★" * full + "☆" * (5 - full)


def _words(name: str) -> str:
    """A column's name as words: `item_n_events` is "n events"."""
    return name.removeprefix("item_").removeprefix("user_").replace("_", " ")
