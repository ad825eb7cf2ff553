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
    nearest: Sequence[list[tuple[str, float]]] = [[]] * len(made)
    if not visitor.is_cold:
        nearest = ranker.nearest_histories(visitor.state, [item.item_id for item in made], N_REASONS)
    shown = []
    for item, part, pairs in zip(made, parts, nearest, strict=True):
        because = [near for near, _ in pairs]
        shown.append(
            Recommendation(
                **cards.of(item.item_id),
                score=item.score,
                part=part,
                because=because,
                matches=_matches(cards, item.item_id, because),
                propensity=item.propensity,
            )
        )
    return shown


def _matches(cards: ItemCards, item_id: str, others: Sequence[str]) -> list[Literal["category", "brand"]]:
    """The attributes that an item shares with one of the others."""
    row, rows = cards.place(item_id), [cards.place(other) for other in others]
    columns: dict[Literal["category", "brand"], list[str | None]] = {
        "category": cards.categories,
        "brand": cards.brands,
    }
    return [
        name
        for name, values in columns.items()
        if values[row] is not None and values[row] in [values[other] for other in rows]
    ]
