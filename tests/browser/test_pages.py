"""The pages in a real browser: they are read by everybody, load next to nothing, and lists change with a click."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from core import experiments
from core.keys import create_key
from core.logs.events import EventLog
from core.logs.predictions import read_predictions
from docs.site import pictures
from docs.site.pictures import TOUR, Picture, take
from flows.promotion.experiments import start_experiment
from tests.browser.browsing import FIRST_PAINT_S, LOOKS, MOST_BYTES, Visit, open_browser, visit
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import ITEMS, TinyShop, copy_shop
from tests.unit.serving.operations.put_aside import put_aside

PATHS = {
    "front": "/app",
    "explore": "/app/explore?user_id=u01",
    "rules": f"/app/explore?user_id=u01&pin={ITEMS[0]}&boost_category=green%20tea",
    "search": "/app/explore?user_id=u01&query=tea",
    "nobody": "/app/explore",
    "unknown user": "/app/explore?user_id=made-up",
    "item": f"/app/item?item_id={ITEMS[3]}&user_id=u01",
    "no item": "/app/item?item_id=made-up",
    "compare": "/app/compare?user_id=u01",
    "model": "/app/model",
    "experiments": "/app/experiments",
    "status": "/app/status",
    "quarantine": "/app/quarantine",
    "quarantined rows": "/app/quarantine?table=interactions&rule=value_parses",
}
OF_ANY_SHOP = ("front", "explore", "click", "texts", "gate")  # the others want an evaluation, an alarm, or reports
# Of somebody who may do everything.
OF_ADMINS = {"quarantined rows": PATHS["quarantined rows"], "audit log": "/app/audit"}
SCRIPT_ROW = "u3,<script>document.title=1</script>,rating,eight,2026-05-01T10:00:00Z"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(browser: Browser, built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    made = copy_shop(built_shop, tmp_path_factory.mktemp("shop"))
    put_aside(made.layout, SCRIPT_ROW)
    return made


@pytest.fixture(scope="module")
def running(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "pages", require_keys="always") as started:
        reader = {"Authorization": f"Bearer {key_of(started, 'read')}"}
        started.client.headers.update(reader)
        started.put_in_service(shop.whole)
        for path in PATHS.values():  # templates are made, and the text encoder warms up, with the first of each
            assert started.client.get(path).status_code == (404 if "item?item_id=made-up" in path else 200), path
        yield started


def key_of(running: Running, *scopes: str) -> str:
    return create_key(running.shop.layout.api_keys, "a test", scopes).text.get_secret_value()


@pytest.fixture
def tab(browser: Browser, running: Running) -> Iterator[Visit]:
    """A tab of somebody who may read and send events; whatever a test does, nothing may complain."""
    with visit(browser, str(running.client.base_url), key_of(running, "read", "events")) as opened:
        yield opened
        assert opened.complaints == []


def items_of(page: Page) -> list[str]:
    return [one.get_attribute("data-item") for one in page.locator(".list > [data-item]").all()]


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_for_everybody_and_loads_little_from_here_alone(
    browser: Browser, running: Running, look: str
) -> None:
    base = str(running.client.base_url)
    with visit(browser, base, key_of(running, "read", "events"), **LOOKS[look]) as tab:
        for name, path in PATHS.items():
            tab.open(path)
            assert tab.barriers() == [], name
            assert tab.overflow == 0, name
            assert tab.first_paint_s(path) <= FIRST_PAINT_S, name
        assert tab.hosts == {base.removeprefix("http://")}
        assert max(tab.sizes.values()) <= MOST_BYTES
        assert len(tab.sizes) > len(PATHS)
        # What was asked for and is not there is an answer of the page, not a fault of it.
        assert [one for one in tab.complaints if "404" not in one] == []


@pytest.mark.parametrize("look", LOOKS)
def test_pages_of_admins_are_for_everybody_too(browser: Browser, running: Running, look: str) -> None:
    with visit(browser, str(running.client.base_url), key_of(running, "admin"), **LOOKS[look]) as tab:
        for name, path in OF_ADMINS.items():
            page = tab.open(path)
            for one in page.locator("details").all():
                one.evaluate("details => { details.open = true }")
            assert tab.barriers() == [], name
            assert tab.overflow == 0, name
            assert tab.first_paint_s(path) <= FIRST_PAINT_S, name
        assert tab.complaints == []


def test_a_click_and_a_rating_change_the_list_at_once(tab: Visit, running: Running) -> None:
    page = tab.open("/app/explore?user_id=u02")
    before = items_of(page)
    page.locator(".list > [data-item]").first.get_by_role("button", name="Click").click()
    expect(page.locator("#said")).to_contain_text("Stored: click")
    after = items_of(page)
    assert before[0] not in after
    assert len(after) == len(before)
    page.locator(".list > [data-item]").first.get_by_role("button", name="5 of 5").click()
    expect(page.locator("#said")).to_contain_text("Stored: rating")
    assert after[0] not in items_of(page)
    history = running.client.get("/v1/users/u02").json()["history"]
    assert [(one["item_id"], one["event"], one["rating"]) for one in history[-2:]] == [
        (before[0], "click", None),
        (after[0], "rating", 5.0),
    ]


def test_a_second_press_after_a_lost_receipt_stores_nothing_twice(tab: Visit, running: Running) -> None:
    page = tab.open("/app/explore?user_id=u11")
    first = page.locator(".list > [data-item]").first
    item = first.get_attribute("data-item")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/v1/events", lose)
    first.get_by_role("button", name="Click").click()
    expect(page.locator("#said.bad")).to_be_visible()
    page.unroute("**/v1/events")
    first.get_by_role("button", name="Click").click()
    expect(page.locator("#said")).to_contain_text("Stored: click")
    history = running.client.get("/v1/users/u11").json()["history"]
    assert [one["event"] for one in history if one["item_id"] == item] == ["click"]
    stored = [event for _, event in EventLog(running.shop.layout.events).read() if event.user_id == "u11"]
    assert [event.item_id for event in stored] == [item]
    tab.complaints = [one for one in tab.complaints if "ERR_FAILED" not in one]


def test_an_event_that_is_left_out_is_not_said_to_be_stored(tab: Visit) -> None:
    page = tab.open("/app/explore?user_id=u12")
    receipt = {"accepted": 0, "duplicates": 0, "left_out": 1, "pushed": True, "unknown_items": []}
    page.route("**/v1/events", lambda route: route.fulfill(json=receipt))
    before = items_of(page)
    page.locator(".list > [data-item]").first.get_by_role("button", name="Click").click()
    expect(page.locator("#said.bad")).to_contain_text(
        "Not stored: the shop's settings leave out events of the name click."
    )
    assert items_of(page) == before


def test_what_a_load_changed_is_said_in_the_words_of_its_page(tab: Visit) -> None:
    page = tab.open("/app/explore?user_id=u04")
    said = page.locator("#said")
    page.get_by_label("Search the catalogue").fill("tea")
    page.get_by_role("button", name="Search").click()
    expect(said).to_contain_text("The list has changed: ")
    page = tab.open("/app/compare?user_id=u04")
    page.get_by_role("button", name="Compare").click()
    expect(said).to_contain_text("items stand on both lists")
    # A refusal is an alert, which is read out by itself.
    page = tab.open("/app/explore?user_id=u04&k=10000")
    expect(page.get_by_role("alert")).to_contain_text("k=10000")
    page.get_by_label("User id").fill("u05")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="Recommended for u05")).to_be_visible()
    expect(said).to_be_empty()
    tab.complaints = [one for one in tab.complaints if "400" not in one]


@pytest.mark.parametrize("picture", [one for one in TOUR if one.name in OF_ANY_SHOP], ids=lambda one: one.name)
def test_pictures_of_the_tour_are_taken(tab: Visit, picture: Picture) -> None:
    png = take(picture, tab.page, tab.base.rstrip("/"), "u08")
    with Image.open(io.BytesIO(png)) as shot:
        assert shot.format == "PNG"
        assert shot.height == picture.height
        assert len(shot.getcolors()) > 10  # something is on it
    assert len(png) < pictures.MOST_BYTES


def test_texts_are_written_into_the_list(tab: Visit) -> None:
    page = tab.open("/app/explore?user_id=u03")
    first = page.locator(".list > [data-item]").first
    first.get_by_role("button", name="Why?").click()
    expect(first.locator(".written")).to_have_text(re.compile(r"\w+ \w+.*\.$"))
    first.get_by_role("button", name="Review they would write").click()
    expect(first.get_by_role("button", name="Review they would write")).to_be_enabled(timeout=20_000)
    expect(first.locator(".written")).not_to_have_text("…")
    expect(first.locator(".written.bad")).to_have_count(0)


def test_rules_move_items_say_what_they_did_and_are_taken_back(tab: Visit) -> None:
    page = tab.open("/app/explore?user_id=u04")
    before = items_of(page)
    last = page.locator(".list > [data-item]").last
    last.get_by_text("Rules").click()
    last.get_by_role("link", name="Pin on top").click()
    expect(page.get_by_role("heading", name="Rules of this list")).to_be_visible()
    assert items_of(page) == [before[-1], *before[:-1]]
    expect(page.locator(".rules tbody tr")).to_contain_text(f"{len(before)} → 1")
    page.get_by_role("link", name="Take back").click()
    expect(page.get_by_role("heading", name="Rules of this list")).to_have_count(0)
    assert items_of(page) == before
    page.go_back()
    expect(page.get_by_role("heading", name="Rules of this list")).to_be_visible()


def test_a_page_that_comes_after_somebody_went_back_is_not_shown(tab: Visit) -> None:
    page = tab.open("/app/explore?user_id=u04")
    last = page.locator(".list > [data-item]").last
    last.get_by_text("Rules").click()
    last.get_by_role("link", name="Pin on top").click()
    rules = page.get_by_role("heading", name="Rules of this list")
    expect(rules).to_be_visible()
    page.go_back()
    expect(rules).to_have_count(0)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(lambda url: "pin=" in url, hold)
    with page.expect_request(lambda request: "pin=" in request.url):
        page.go_forward()
    page.go_back()
    with page.expect_response(lambda response: "pin=" in response.url) as late:
        held[0].continue_()
    late.value.finished()
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")
    assert "pin=" not in page.url
    expect(rules).to_have_count(0)


def test_two_lists_stand_side_by_side_and_say_what_they_share(tab: Visit, running: Running) -> None:
    page = tab.open("/app/compare?user_id=u01")
    page.get_by_label("Right").select_option("popular")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="What is popular")).to_be_visible()
    mine = running.recommend(user_id="u01", k=10)["items"]
    popular = running.post("/v1/popular", user_id="u01", k=10).json()["items"]
    shared = {one["item_id"] for one in mine} & {one["item_id"] for one in popular}
    expect(page.locator("main").get_by_text(f"{len(shared)} of 10 items stand on both lists.")).to_be_visible()
    assert page.get_by_text("only here").count() == 2 * (10 - len(shared))


def test_two_bundles_stand_side_by_side_for_admins_and_count_for_nobody(
    browser: Browser, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = running.shop.layout
    monkeypatch.setenv("BENTOML_HOME", str(layout.work_dir / "bentoml"))
    start_experiment(layout, "autumn", "shadow", {"new": (str(running.shop.bare), 1.0)})
    running.wait_for(lambda: len(running.client.get("/v1/experiments").json()["loaded"]) == 2)
    with visit(browser, str(running.client.base_url), key_of(running, "admin")) as tab:
        page = tab.open("/app/compare?user_id=u01")
        page.get_by_label("Left").select_option("variant:champion")
        page.get_by_label("Right").select_option("variant:autumn/new")
        page.get_by_role("button", name="Compare").click()
        right = page.locator("section").filter(has=page.get_by_role("heading", name="Variant autumn/new"))
        expect(right).to_contain_text(":candidate-")
        expect(page.get_by_role("heading", name="Variant champion")).to_be_visible()
        expect(page.locator("main").get_by_text("of 10 items stand on both lists")).to_be_visible()
        assert tab.barriers() == []
        page = tab.open("/app/compare?user_id=u01&right=variant:autumn/old")
        expect(page.get_by_role("alert")).to_contain_text("expected one that is loaded: champion, autumn/new")
        assert tab.complaints == []
    refused = running.post("/v1/recommend", user_id="u01", variant="champion")
    assert (refused.status_code, "scope admin" in refused.json()["error"]) == (403, True)
    experiments.stop(layout.model_name, "autumn", "looked at")

    def roles() -> list[str]:
        """Of what was answered for a user whom these pages alone asked for."""
        found = [one for one in read_predictions(layout.predictions) if one.get("user_id") == "u01"]
        return [one["role"] for one in found if one["experiment"] == "autumn"]

    running.wait_for(lambda: "preview" in roles())
    assert set(roles()) == {"preview"}


def test_a_click_on_a_list_that_is_looked_at_names_it_and_counts_as_nothing_shown(tab: Visit, running: Running) -> None:
    page = tab.open("/app/explore?user_id=u19")
    shown = page.locator("[data-answer]").get_attribute("data-answer")
    page.locator(".list > [data-item]").first.get_by_role("button", name="Click").click()
    expect(page.locator("#said")).to_contain_text("Stored: click")

    def records() -> list[dict[str, Any]]:
        return [one for one in read_predictions(running.shop.layout.predictions) if one.get("user_id") == "u19"]

    running.wait_for(lambda: len(records()) >= 2)
    assert {one["role"] for one in records()} == {"preview"}
    assert shown in {one["recommendation_id"] for one in records()}
    page = tab.open("/app/explore?user_id=u19&query=tea")
    running.wait_for(lambda: len(records()) >= 3)
    assert {one["role"] for one in records()} == {"preview"}


def test_a_visit_without_an_id_is_answered_by_what_was_clicked(tab: Visit) -> None:
    page = tab.open("/app/explore")
    first = items_of(page)[0]
    page.locator(".list > [data-item]").first.get_by_role("link", name="Click").click()
    expect(page.get_by_role("heading", name="Recommended for this visit")).to_be_visible()
    assert first not in items_of(page)
    assert first in page.url


def test_skipping_to_the_content_loads_nothing_and_keeps_what_is_typed(tab: Visit) -> None:
    page = tab.open("/app")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#user").fill("u05")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.wait_for_load_state("networkidle")
    page.go_back()
    page.wait_for_load_state("networkidle")
    expect(page.locator("#user")).to_have_value("u05")
    assert asked == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(tab: Visit) -> None:
    page = tab.open("/app")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#user")).to_be_focused()
    page.keyboard.type("u05")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Recommended for u05")).to_be_visible()
    n_stops = 0
    page.evaluate("document.body.focus()")
    for _ in range(40):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
        n_stops += page.evaluate("document.activeElement.matches('.list button, .list a, .list summary')")
    assert n_stops > 10


def test_without_scripts_all_that_is_read_works(browser: Browser, running: Running) -> None:
    key = key_of(running, "read", "events")
    with visit(browser, str(running.client.base_url), key, java_script_enabled=False) as tab:
        page = tab.open("/app")
        page.get_by_label("User id").fill("u06")
        page.get_by_role("button", name="Show recommendations").click()
        expect(page.get_by_role("heading", name="Recommended for u06")).to_be_visible()
        expect(page.get_by_role("button", name="Click")).to_have_count(0)
        page.locator(".list h2 a").first.click()
        expect(page.get_by_role("heading", name="Does it suit u06?")).to_be_visible()
        assert tab.complaints == []


def test_a_key_that_may_only_read_is_told_so(browser: Browser, running: Running) -> None:
    with visit(browser, str(running.client.base_url), key_of(running, "read")) as tab:
        page = tab.open("/app/explore?user_id=u07")
        expect(page.get_by_text("lacks the scope")).to_be_visible()
        expect(page.get_by_role("button", name="Click")).to_have_count(0)


def test_what_stands_in_an_address_is_shown_and_never_run(tab: Visit) -> None:
    bad = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'
    page = tab.open(f"/app/explore?user_id={quote(bad)}&query=tea")
    assert page.get_by_label("User id").input_value() == bad
    assert "Sommelier" in page.title()
    assert page.locator("main img, main script").count() == 0
    page = tab.open("/app/explore?k=many")
    expect(page.get_by_role("alert")).to_contain_text("k=")
    tab.complaints = [one for one in tab.complaints if "400" not in one]


def test_rows_of_quarantine_are_asked_for_by_the_keyboard_and_stand_in_the_audit_log(
    browser: Browser, running: Running
) -> None:
    key = key_of(running, "admin")
    with visit(browser, str(running.client.base_url), key) as tab:
        page = tab.open("/app/quarantine")
        group = page.locator(".list > li").filter(has_text="timestamp parses")
        expect(group).to_contain_text("Reads as a time.")
        group.locator("summary").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("The format of times is set now.")
        page.keyboard.press("Enter")
        expect(page.locator("#said")).to_contain_text("1 row is let in by the next run")
        expect(page.locator("main")).to_be_focused()
        waiting = page.locator("section").filter(has=page.get_by_role("heading", name="Waits for the next run"))
        expect(waiting).to_contain_text("The format of times is set now.")
        page.get_by_role("link", name="Audit log").click()
        row = page.get_by_role("row").filter(has_text="POST /v1/quarantine/readmissions")
        expect(row).to_contain_text("reason The format of times is set now.")
        expect(row).to_contain_text(f"key:{key.split('_')[1]}")
        expect(row).to_contain_text("status 202")

        page.goto(f"{str(running.client.base_url).rstrip('/')}/app/quarantine")
        page.get_by_role("button", name="Withdraw: timestamp parses of interactions").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#said")).to_contain_text("Withdrawn")
        expect(page.get_by_role("heading", name="Waits for the next run")).to_have_count(0)
        expect(page.locator("main")).to_be_focused()
        page.get_by_role("link", name="Audit log").click()
        row = page.get_by_role("row").filter(has_text="DELETE /v1/quarantine/readmissions/")
        expect(row).to_contain_text("reason The format of times is set now.")
        expect(row).to_contain_text("status 200")
        assert tab.complaints == []


def test_quarantined_rows_are_shown_as_text_and_to_admins_alone(browser: Browser, running: Running) -> None:
    base = str(running.client.base_url)
    with visit(browser, base, key_of(running, "admin")) as tab:
        page = tab.open("/app/quarantine")
        page.locator(".list > li").filter(has_text="value parses").get_by_role("link", name="Show rows").click()
        expect(page.get_by_text("<script>document.title=1</script>", exact=True)).to_be_visible()
        expect(page.get_by_text("seven", exact=True)).to_be_visible()
        assert page.locator("main script").count() == 0
        assert "Sommelier" in page.title()
        assert tab.complaints == []
    with visit(browser, base, key_of(running, "read")) as tab:
        page = tab.open(PATHS["quarantined rows"])
        expect(page.get_by_text("with a key of scope admin")).to_be_visible()
        expect(page.get_by_text("sommelier quarantine readmit --table interactions").first).to_be_hidden()
        assert "seven" not in page.content()
        answer = running.client.get("/v1/quarantine", params={"table": "interactions"}).json()
        assert (answer["rows"], answer["waiting"]) == (None, None)
        for path in ("/app/audit", "/v1/audit"):
            assert running.client.get(path).status_code == 403
        assert running.post("/v1/quarantine/readmissions", reason="I may not").status_code == 403
