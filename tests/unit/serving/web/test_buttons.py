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


def page(terms: EventTerms = PLAIN_TERMS, can: tuple[str, ...] = ("feedback", "reasons"), by: str = "blend") -> str:
    set_caller(Caller(is_trusted=True))

    async def recommend(_: Any) -> Any:
        return JSONResponse({"items": [ITEM], "cold_start": False})

    user = {"history": [], "attributes": "", "own_words": "", "n_seen": 0, "features": {}}
    service = SimpleNamespace(
        event_terms=terms,
        capabilities={name: name in can for name in ("feedback", "reasons", "recommend_generative")},
        recommend=SimpleNamespace(local=recommend),
        user_record=lambda _: JSONResponse(user),
    )
    html, status = asyncio.run(show_explore(service, Settings(), View(user_id="u1", by=by)))
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


@pytest.mark.parametrize(
    ("can", "texts", "ways"),
    [
        (("feedback", "reasons", "recommend_generative"), ["reason", "review"], ["blend", "generative"]),
        (("reasons",), ["reason"], []),
        ((), [], []),
    ],
)
def test_nothing_is_offered_that_the_bundle_cannot_answer(
    can: tuple[str, ...], texts: list[str], ways: list[str]
) -> None:
    html = page(can=can)
    assert re.findall(r'data-text="([^"]*)"', html) == texts
    switches = re.findall(r'aria-label="Ranked by">(.*?)</p>', html)
    assert [way for switch in switches for way in re.findall(r">(\w+)</a>", switch)] == ways


def test_a_way_that_was_asked_for_stays_to_be_left() -> None:
    assert "generative</a>" in page(by="generative")
