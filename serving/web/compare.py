"""GET /app/compare: two lists for the same user side by side, by two ways of making them or by two bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.settings.tree import Settings
from serving.api.lists import PopularRequest
from serving.api.recommend import RecommendRequest
from serving.guard.caller import current_caller
from serving.web.answers import Answer, ask, read
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
    "blend": "As it is served to them",
    "generative": "Generative retrieval",
    "varied": "Re-ranked for variety",
    "calibrated": "Calibrated to the history",
    "popular": "What is popular",
}
_VARIANT = "variant:"


@dataclass(frozen=True)
class Side:
    """One of the lists.

    Attributes:
        way: How it is made.
        places: Where each of its items stands on the other list; None for what is not there.
        words: What the way is called.
    """

    way: str
    found: Answer
    places: Mapping[str, int | None]
    words: str


async def show_compare(service: Any, settings: Settings, view: View, left: str, right: str) -> str:
    """The page, as HTML. A way that is none is the first one.

    Args:
        service: That answers.
        settings: Of the shop.
        view: Whom the lists are for.
        left, right: Ways.
    """
    words = {**WORDS, **await _variants(service)}
    # A variant that is named and not loaded is asked all the same: the answer says which are.
    ways = [way if way in WAYS or (way.startswith(_VARIANT) and way != _VARIANT) else "blend" for way in (left, right)]
    words.update({way: f"Variant {way.removeprefix(_VARIANT)}" for way in ways if way not in words})
    found = [await _ask(service, view, way) for way in ways]
    ids = [[item["item_id"] for item in one.body.get("items", [])] for one in found]
    sides = [
        Side(way, one, {item: other.index(item) + 1 if item in other else None for item in own}, words[way])
        for way, one, own, other in zip(ways, found, ids, reversed(ids), strict=True)
    ]
    common = len(set(ids[0]) & set(ids[1]))
    same = sum(one == other for one, other in zip(*ids, strict=False))
    return render(
        settings,
        "compare.html.j2",
        "compare",
        view=view,
        sides=sides,
        words=words,
        common=common,
        same=same,
        n=max(map(len, ids)),
    )


async def _variants(service: Any) -> dict[str, str]:
    """The ways of asking a bundle by its name, and what they are called; none for who may not."""
    if not current_caller().may("admin"):
        return {}
    loaded = (await read(service.experiments_info)).body["loaded"]
    return {f"{_VARIANT}{one['name']}": f"Variant {one['name']}" for one in loaded}


async def _ask(service: Any, view: View, way: str) -> Answer:
    fields = {**view.who, "k": view.k, "preview": True}
    if way == "popular":
        return await ask(service.popular, PopularRequest, **fields)
    chosen = WAYS[way] if way in WAYS else {"variant": way.removeprefix(_VARIANT)}
    return await ask(service.recommend, RecommendRequest, **fields, **chosen)
