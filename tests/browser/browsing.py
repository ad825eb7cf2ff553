"""The system's browser as tests use it: every request, complaint and paint of a page is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

from docs.site import pictures

LOOKS: dict[str, Any] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}
FIRST_PAINT_S, MOST_BYTES = 1.0, 300_000
_FIRST_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
  for (const paint of list.getEntriesByName("first-contentful-paint")) done(paint.startTime);
}).observe({ type: "paint", buffered: true }))"""
_LOADS, _SOON_S = 3, 0.5
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Visit:
    """A tab of the browser, and what came of its requests.

    Attributes:
        sizes: Of the body of each answer, by address.
        complaints: Errors of scripts and of the browser.
    """

    page: Page
    base: str
    sizes: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfinished", lambda request: self._weigh(request.response()))
        self.page.on("requestfailed", self._fail)

    def open(self, path: str) -> Page:
        """Go to a path of the service."""
        self.page.goto(f"{self.base}{path}")
        return self.page

    @property
    def hosts(self) -> set[str]:
        """Whom the browser asked."""
        return {urlsplit(url).netloc for url in self.sizes if not url.startswith("data:")}

    def first_paint_s(self, path: str) -> float:
        """Seconds from the request of a page to its first text: the best of three, as tests share the machine."""
        seconds = []
        for _ in range(_LOADS):
            self.open(path)
            seconds.append(float(self.page.evaluate(_FIRST_PAINT)) / 1000)
            if seconds[-1] < _SOON_S:
                break
        return min(seconds)

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate(_OVERFLOW))

    def barriers(self) -> list[str]:
        """What axe finds that keeps people out, with the elements."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {[node['target'] for node in one['nodes']][:3]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def _fail(self, request: Request) -> None:
        # Chromium tells so of a stream that a script has read to its end, and of what a next page makes needless.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.failure}: {request.url}")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _weigh(self, response: Response | None) -> None:
        if response is not None:
            self.sizes[response.url] = response.request.sizes()["responseBodySize"]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The system's browser; where there is none, the test is skipped."""
    found = pictures.find_browser()
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(pictures.BROWSERS)} is on the PATH")
    with pictures.open_browser(found) as browser:
        yield browser


@contextmanager
def visit(browser: Browser, base: str, key: str, **options: Any) -> Iterator[Visit]:
    """A tab of its own, of somebody who gives a key where the browser asks for a password."""
    context = browser.new_context(http_credentials={"username": "anybody", "password": key}, **options)
    context.set_default_timeout(10_000)
    try:
        yield Visit(context.new_page(), base)
    finally:
        context.close()
