"""Recommended items as an answer shows them, with what of the history speaks for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.ranker import Ranker
from serving.api.recommend import AnsweringPart, Recommendation
from serving.lists.cards import ItemCards
from serving.lists.making import MadeItem
from serving.visitor import Visitor

N_REASONS = 3


def show_items(
    cards: ItemCards,
    ranker: Ranker | BaselineRanker,
    visitor: Visitor,
    made: Sequence[MadeItem],
    parts: Sequence[AnsweringPart],
) -> list[Recommendation]:
    """The items of a list in their order; the reasons of all are found at once.

    Args:
        cards: Of the catalogue.
        ranker: Says which items of the history are like an item.
        visitor: Who they are for; at a cold start nothing speaks for an item.
        made: The list.
        parts: That put each item on it.
    """
    ids = [item.item_id for item in made]
    nearest: Sequence[list[tuple[str, float]]] = [[]] * len(made)
    if not visitor.is_cold:
        nearest = ranker.nearest_histories(visitor.state, ids, N_REASONS)
    labels, categories, brands, prices = cards.labels, cards.categories, cards.brands, cards.prices
    shown = []
    for item, place, part, pairs in zip(made, cards.places(ids), parts, nearest, strict=True):
        because = [near for near, _ in pairs]
        others, category, brand = cards.places(because), categories[place], brands[place]
        matches: list[Literal["category", "brand"]] = []
        if category is not None and category in [categories[other] for other in others]:
            matches.append("category")
        if brand is not None and brand in [brands[other] for other in others]:
            matches.append("brand")
        shown.append(
            Recommendation(
                item_id=item.item_id,
                label=labels[place],
                category=category,
                brand=brand,
                price=prices[place],
                score=item.score,
                part=part,
                because=because,
                matches=matches,
                propensity=item.propensity,
            )
        )
    return shown
