"""Pages of a shop with a past, in a real browser: tables, alarms, pictures and figures are for everybody too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from flows.promotion.bundles import promote_by_hand
from flows.promotion.experiments import start_experiment
from tests.browser.browsing import FIRST_PAINT_S, LOOKS, MOST_BYTES, open_browser, visit
from tests.browser.filled_shop import fill
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import USERS, TinyShop, copy_shop

# Of each page what is there only where something happened: an element, and how many of it at least.
FILLED = {
    "/app": {".alarm, .bad": 1},
    "/app/model": {"table tbody tr": 8, "svg.interval": 8, ".served": 1, "#decided + p + ol > li": 3},
    "/app/status": {
        "article.alarm": 2,
        "svg.bars": 2,
        "svg.course": 1,
        ".steps li": 3,
        "svg [rx], svg circle": 8,
        "table tbody tr": 8,
    },
    "/app/experiments": {"table tbody tr": 2, "td .soft": 2},
    "/app/explore?user_id=u01&k=20": {".list > li": 10, ".history li": 3},
    "/app/item?item_id=tea-3&user_id=u01": {"meter, .figure": 1},
    "/app/compare?user_id=u01&right=popular": {".list li": 10},
    "/app/audit": {"table tbody tr": 1},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def running(browser: Browser, built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of a filled shop, of which an experiment has figures."""
    shop = copy_shop(built_shop, tmp_path_factory.mktemp("shop"))
    fill(shop)
    with start_service(shop, "filled", experiments={"figures_s": 1.0, "click_window_s": 2.0}) as started:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BENTOML_HOME", str(shop.layout.work_dir / "bentoml"))
            promote_by_hand(shop.layout, shop.whole, "It is to be looked at.")
            start_experiment(shop.layout, "spring", "split", {"new": (str(shop.bare), 0.5)})
        started.wait_for(lambda: len(started.client.get("/v1/experiments").json()["loaded"]) == 2)
        use(started, shop)
        yield started


def use(running: Running, shop: TinyShop) -> None:
    """Have everybody answered, and every second one click, until the experiment's figures count it."""
    for number, user in enumerate(USERS):
        answer = running.recommend(user_id=user, k=10)
        if number % 2:
            event = {"user_id": user, "item_id": answer["items"][0]["item_id"], "event": "click", "position": 1}
            event["recommendation_id"] = answer["recommendation_id"]
            assert running.post("/v1/events", events=[event]).status_code == 200

    def are_counted() -> bool:
        figures = running.client.get("/v1/experiments").json()["experiments"][0]["figures"]
        return figures is not None and all(one["hit_rate"] for one in figures["variants"])

    running.wait_for(are_counted)


def unfold(page: Page) -> None:
    for one in page.locator("details").all():
        one.evaluate("details => { details.open = true }")


@pytest.mark.parametrize("look", LOOKS)
def test_a_page_with_a_past_is_for_everybody_and_loads_little(browser: Browser, running: Running, look: str) -> None:
    with visit(browser, str(running.client.base_url), "", **LOOKS[look]) as tab:
        for path, wanted in FILLED.items():
            page = tab.open(path)
            unfold(page)
            found = {selector: page.locator(selector).count() for selector in wanted}
            assert all(found[selector] >= least for selector, least in wanted.items()), (path, found)
            assert tab.barriers() == [], path
            assert tab.overflow == 0, path
            assert tab.first_paint_s(path) <= FIRST_PAINT_S, path
        assert tab.hosts == {str(running.client.base_url).removeprefix("http://")}
        assert max(tab.sizes.values()) <= MOST_BYTES
        assert tab.complaints == []
