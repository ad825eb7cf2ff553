"""GET /app/compare: two lists for the same user side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.settings.tree import Settings
from serving.api.lists import PopularRequest
from serving.api.recommend import RecommendRequest
from serving.web.answers import Answer, ask
from serving.web.templates import render
from serving.web.view import View

# Each way of making a list, and the fields of the request that ask for it.
WAYS: Mapping[str, Mapping[str, Any]] = {
    "blend": {},
    "generative": {"by": "generative"},
    "varied": {"diversity": {"kind": "mmr", "strength": 0.5}},
    "calibrated": {"diversity": {"kind": "calibration", "strength": 0.5}},
    "popular": {},
}
WORDS: Mapping[str, str] = {
    "blend": "The bundle in service",
    "generative": "Generative retrieval",
    "varied": "Re-ranked for variety",
    "calibrated": "Calibrated to the history",
    "popular": "What is popular",
}


@dataclass(frozen=True)
class Side:
    """One of the lists.

    Attributes:
        way: How it is made.
        places: Where each of its items stands on the other list; None for what is not there.
    """

    way: str
    found: Answer
    places: Mapping[str, int | None]


async def show_compare(service: Any, settings: Settings, view: View, left: str, right: str) -> str:
    """The page, as HTML. A way that is none is the first one.

    Args:
        service: That answers.
        settings: Of the shop.
        view: Whom the lists are for.
        left, right: Ways.
    """
    ways = [way if way in WAYS else "blend" for way in (left, right)]
    found = [await _ask(service, view, way) for way in ways]
    ids = [[item["item_id"] for item in one.body.get("items", [])] for one in found]
    sides = [
        Side(way, one, {item: other.index(item) + 1 if item in other else None for item in own})
        for way, one, own, other in zip(ways, found, ids, reversed(ids), strict=True)
    ]
    common = len(set(ids[0]) & set(ids[1]))
    return render(
        settings, "compare.html.j2", "compare", view=view, sides=sides, words=WORDS, common=common, n=max(map(len, ids))
    )


async def _ask(service: Any, view: View, way: str) -> Answer:
    if way == "popular":
        return await ask(service.popular, PopularRequest, **view.who, k=view.k)
    return await ask(service.recommend, RecommendRequest, **view.who, k=view.k, **WAYS[way])
