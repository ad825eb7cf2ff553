"""Shops at the edge of what can be learned from, and one run of every fit and the evaluation over such a shop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings
from core.settings.models import (
    EncoderSettings,
    GenerativeSettings,
    ScorerSettings,
    SequenceSettings,
    SmallWriterSettings,
)
from core.settings.tree import Recipe
from tests.unit.features.shops import Row

DAY_S = 86_400.0
ALL_BASELINES = ("popularity_recent", "item_knn", "als", "bm25", "sasrec")


@dataclass(frozen=True)
class TinyShop:
    """Clean tables in the making.

    Attributes:
        reviews: (user, item, seconds, text).
    """

    events: list[Row]
    items: list[dict[str, Any]]
    reviews: list[tuple[str, str, float, str]] = field(default_factory=list)


def described(n_items: int, n_categories: int = 3) -> list[dict[str, Any]]:
    return [
        {"item_id": f"i{n}", "title": f"Tea {n} of the hill", "category": f"Kind {n % n_categories}", "price": 2.5 + n}
        for n in range(n_items)
    ]


def walks(
    n_users: int, n_items: int, n_events: int, value: Callable[[int], float | None], event: str = "rating"
) -> list[Row]:
    """Users who walk round the catalogue; all go on through the whole time, so that every window has events."""
    generator = np.random.default_rng(5)
    rows = []
    for user in range(n_users):
        start = int(generator.integers(n_items))
        for step in range(n_events):
            item, at = (start + step) % n_items, (step + generator.random()) * DAY_S
            rows.append(Row(f"u{user}", f"i{item}", float(at), value(user + step), event))
    return rows


def reviews_of(events: list[Row]) -> list[tuple[str, str, float, str]]:
    words = ("a fine cup", "too bitter for me", "fresh and green", "I expected more", "we drink it daily")
    return [(row.user, row.item, row.at, f"It is {words[n % 5]}. Tea {row.item}.") for n, row in enumerate(events)]


def usual(n: int) -> float:
    return 1.0 + n % 5


def plain(events: list[Row], n_items: int, **more: Any) -> TinyShop:
    return TinyShop(events, described(n_items), **more)


def all_equal(value: float) -> TinyShop:
    events = walks(30, 15, 12, lambda _: value)
    return plain(events, 15, reviews=reviews_of(events))


def busy_user() -> TinyShop:
    """One with ten thousand views, beside some with a dozen ratings."""
    many = walks(1, 120, 10_000, lambda _: None, "view")
    rows = [Row("busy", row.item, row.at * 12 / 10_000, row.value, row.event) for row in many]
    return plain([*rows, *walks(30, 120, 12, usual)], 120)


def everyone_has_one() -> TinyShop:
    events = walks(30, 15, 12, usual)
    first = [Row(f"u{user}", "everybodys", user * 60.0, 4.0, "rating") for user in range(30)]
    return TinyShop([*first, *events], [*described(15), {"item_id": "everybodys", "title": "Everybody's tea"}])


def unrated() -> TinyShop:
    events = walks(30, 15, 12, lambda _: None, "view")
    return plain(events, 15, reviews=reviews_of(events))


SHOPS: dict[str, Callable[[], TinyShop]] = {
    "all ratings 3": lambda: all_equal(3.0),
    "all ratings 5": lambda: all_equal(5.0),
    "one item": lambda: plain(walks(30, 1, 12, usual), 1),
    "one user": lambda: plain(walks(1, 80, 60, usual), 80),
    "two users": lambda: plain(walks(2, 150, 120, usual), 150),
    "one event type": lambda: plain(walks(30, 15, 12, lambda _: None, "purchase"), 15),
    "one category": lambda: TinyShop(walks(30, 15, 12, usual), described(15, n_categories=1)),
    "items without text": lambda: TinyShop(walks(30, 15, 12, usual), [{"item_id": f"i{n}"} for n in range(15)]),
    "no ratings, but reviews": unrated,
    "one moment": lambda: plain([Row(r.user, r.item, 0.0, r.value, r.event) for r in walks(30, 15, 12, usual)], 15),
    "an item that everyone has": everyone_has_one,
    "a user with 10,000 events": busy_user,
    "nothing new in the windows": lambda: plain(walks(30, 4, 12, usual), 4),
}


def recipe_of(encoder: Path, **more: Any) -> Recipe:
    """Quick settings, every part on."""
    return Recipe(
        features=FeatureSettings(max_history=6),
        encoder=EncoderSettings(
            model=str(encoder), precision="float32", fine_tune="full", max_steps=2, step_texts=8, checks=1
        ),
        sequence=SequenceSettings(width=8, n_heads=1, max_epochs=2, n_negatives=4, batch_size=16),
        generative=GenerativeSettings(levels=2, width=8, n_heads=1, max_epochs=2, beam_width=5),
        scorer=ScorerSettings(hidden=4, factors=2, factor_steps=3, max_epochs=2),
        writer=SmallWriterSettings(vocabulary=300, width=16, n_heads=1, max_tokens=64, max_steps=4),
        evaluation=EvaluationSettings(k=5, validation_share=0.2, test_share=0.2, baselines=ALL_BASELINES),
        **more,
    )


def numbers(tree: Any) -> Iterator[float]:
    """Every number of a JSON-able value."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from numbers(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from numbers(value)
    elif isinstance(tree, int | float):
        yield float(tree)
