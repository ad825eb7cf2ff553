"""Pictures of the pages for the tour: `python -m docs.site.pictures NAME...` takes them of a platform that is up."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, Error, Locator, Page, expect, sync_playwright

from core.settings.loading import load_settings
from docs.site.pages import DOCS

PICTURES = DOCS / "pictures"
MOST_BYTES = 150_000  # of a picture
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WIDTH, _HEIGHT = 1120, 760
_COLOURS = 128  # a page has few: the picture is a third as large, and looks the same
_WAIT_MS = 20_000
Part = Literal["service", "reports"]


@dataclass(frozen=True)
class Picture:
    """A picture and how the page gets there.

    Attributes:
        name: Of the file, without its ending.
        path: Of the page; `{user}` is the user that the front page gives as an example.
        show: What to do on the page; gives what is to stand at the top of the picture, or None for the page's own top.
        part: Which part of the platform has the page.
        height: Of the picture, in pixels.
    """

    name: str
    path: str
    show: Callable[[Page], Locator | None] = lambda _: None
    part: Part = "service"
    height: int = _HEIGHT


def _items(page: Page) -> Locator:
    return page.locator(".list > [data-item]")


def _click(page: Page) -> None:
    """Click the first item: it leaves the list, and the history begins with it."""
    _items(page).first.get_by_role("button", name="Click").click()
    expect(page.locator("#said")).to_contain_text("Stored: click")


def _write(page: Page) -> None:
    """Have both texts written, the reason into the first item and the review into the second."""
    for place, name in enumerate(("Why?", "Review they would write")):
        item = _items(page).nth(place)
        item.get_by_role("button", name=name).click()
        expect(item.get_by_role("button", name=name)).to_be_enabled(timeout=_WAIT_MS)
        expect(item.locator(".written")).not_to_have_text("…")


def _section(heading: str) -> Callable[[Page], Locator]:
    return lambda page: page.locator("section").filter(has=page.get_by_role("heading", name=heading, exact=True))


def _alarm(page: Page) -> Locator:
    """An alarm that is on, and that led to a decision."""
    return page.locator("article.alarm:has(.steps)").first


def _data_docs(page: Page) -> Locator:
    """What the newest validation says of the events."""
    page.get_by_role("link", name="Data Docs").first.click()
    return page.get_by_role("heading", name="interactions", exact=True)


TOUR = (
    Picture("front", "/app"),
    Picture("explore", "/app/explore?user_id={user}"),
    Picture("click", "/app/explore?user_id={user}", _click),
    Picture("texts", "/app/explore?user_id={user}", _write, height=840),
    Picture("quality", "/app/model", _section("Quality, before and after fine-tuning, beside baselines"), height=620),
    Picture("gate", "/app/model", _section("What the gate decided, and what went into service"), height=840),
    Picture("alarm", "/app/status", _alarm, height=320),
    Picture("timeline", "/app/status", _section("Time line")),
    Picture("quarantine", "/app/quarantine", height=680),
    Picture("data-docs", "/", _data_docs, part="reports"),
)


def find_browser() -> str | None:
    """The system's browser: where it lies, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def open_browser(found: str) -> Iterator[Browser]:
    """The system's browser, at `found`."""
    with sync_playwright() as playwright:
        # A container's root has no sandbox.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def take(picture: Picture, page: Page, base: str, user: str) -> bytes:
    """Take a picture of a page.

    Args:
        page: A tab, in which the page is opened.
        base: Address of the part of the platform that has the page.
        user: Whom pages of a user show.
    Returns:
        A PNG of few colours.
    Raises:
        playwright.sync_api.Error: the page does not answer, or lacks what is to be shown.
    """
    page.set_viewport_size({"width": _WIDTH, "height": picture.height})
    page.goto(base + picture.path.format(user=quote(user, safe="")))
    top = picture.show(page)
    if top is not None:
        top.evaluate('one => one.scrollIntoView({ behavior: "instant" })')
    page.wait_for_load_state("networkidle")
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide")))
    packed = io.BytesIO()
    shot.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def example_user(page: Page, service: str) -> str:
    """The user that the front page gives as an example."""
    page.goto(f"{service}/app")
    return page.locator(".or a").first.inner_text()


def take_all(pictures: Sequence[Picture], bases: Mapping[Part, str], folder: Path) -> Iterator[Path]:
    """Take pictures, one after another; gives each file when it is written.

    Args:
        bases: Address of each part of the platform.
        folder: Where the files go.
    Raises:
        RuntimeError: there is no browser, or a page lacks what is to be shown.
    """
    found = find_browser()
    if found is None:
        raise RuntimeError(f"Cannot take pictures: none of {', '.join(BROWSERS)} is on the PATH. Install Chromium.")
    folder.mkdir(exist_ok=True)
    with open_browser(found) as browser:
        page = browser.new_context(color_scheme="light").new_page()
        page.set_default_timeout(_WAIT_MS)
        try:
            user = example_user(page, bases["service"])
            for picture in pictures:
                file = folder / f"{picture.name}.png"
                file.write_bytes(take(picture, page, bases[picture.part], user))
                yield file
        except (Error, AssertionError) as error:
            raise RuntimeError(
                f"Cannot take pictures: {str(error).splitlines()[0]} (the page is at {page.url}). "
                "Start the platform and go through docs/tour.md first."
            ) from error


def main(names: Iterable[str]) -> None:
    """Take the pictures with these names, or all, of the platform of the settings."""
    known = [picture.name for picture in TOUR]
    chosen = set(names) or set(known)
    if unknown := sorted(chosen - set(known)):
        raise SystemExit(f"Cannot take pictures: no such picture: {', '.join(unknown)}. Known: {', '.join(known)}.")
    where = load_settings(variables=os.environ).platform
    bases = {part: where.url_of(part) for part in get_args(Part)}
    try:
        for file in take_all([picture for picture in TOUR if picture.name in chosen], bases, PICTURES):
            sys.stdout.write(f"{file.name}: {file.stat().st_size / 1000:.0f} kB\n")
    except RuntimeError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main(sys.argv[1:])
