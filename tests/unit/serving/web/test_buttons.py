"""What a list can be told by buttons: only what the shop's settings take for what its name says."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import JSONResponse

from core.settings.tree import Settings
from serving.events.terms import LEFT_OUT, PLAIN_TERMS, EventTerms
from serving.guard.caller import Caller, set_caller
from serving.web.explore import show_explore
from serving.web.view import View

ITEM = {"item_id": "i1", "label": "Tea", "category": None, "brand": None, "price": None, "score": 1.0}


def page(terms: EventTerms) -> str:
    set_caller(Caller(is_trusted=True))

    async def recommend(_: Any) -> Any:
        return JSONResponse({"items": [ITEM], "cold_start": False})

    user = {"history": [], "attributes": "", "own_words": "", "n_seen": 0, "features": {}}
    service = SimpleNamespace(
        event_terms=terms,
        recommend=SimpleNamespace(local=recommend),
        user_record=lambda _: JSONResponse(user),
    )
    html, status = asyncio.run(show_explore(service, Settings(), View(user_id="u1")))
    assert status == 200
    return html


@pytest.mark.parametrize(
    ("terms", "events"),
    [
        (PLAIN_TERMS, ["click", "purchase", "rating"]),
        (EventTerms(names={"click": LEFT_OUT}), ["purchase", "rating"]),
        (EventTerms(names={"purchase": "cart", "bought": "purchase"}), ["click", "rating"]),
        (EventTerms(names={"rating": LEFT_OUT, "click": "view", "purchase": LEFT_OUT}), []),
    ],
)
def test_a_button_is_there_for_an_event_whose_name_means_itself(terms: EventTerms, events: list[str]) -> None:
    html = page(terms)
    assert list(dict.fromkeys(re.findall(r'data-event="([^"]*)"', html))) == events
    assert ("take none of a click" in html) is (not events)


def test_stars_are_told_on_the_scale_of_the_shop() -> None:
    assert re.findall(r'data-value="([^"]*)"', page(EventTerms(scale=(0.0, 10.0)))) == [
        "0.0",
        "2.5",
        "5.0",
        "7.5",
        "10.0",
    ]
