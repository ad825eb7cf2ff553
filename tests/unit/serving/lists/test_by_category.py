"""The best items of each category, against the plain computation."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from core import schema
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import IdMap
from serving.api.lists import CategoryList, PopularItem
from serving.lists import by_category
from serving.lists.by_category import CategoryShelves
from serving.lists.cards import ItemCards
from serving.lists.orders import FixedOrder, FixedScores, KeptOrders

N, N_CATEGORIES = 600, 20
IDS = IdMap(tuple(f"i{n}" for n in range(N)))


@pytest.fixture(scope="module")
def cards() -> ItemCards:
    generator = np.random.default_rng(1)
    categories = [None if n == 0 else f"c{n}" for n in generator.integers(0, N_CATEGORIES, N)]
    table = pa.table(
        {
            schema.ITEM_ID: list(IDS),
            schema.TITLE: [f"Title {n}" for n in range(N)],
            schema.ITEM_TEXT: pa.nulls(N, pa.string()),
            schema.CATEGORY: pa.array(categories, pa.string()),
            schema.BRAND: pa.nulls(N, pa.string()),
            schema.PRICE: np.arange(N, dtype=float),
        }
    )
    return ItemCards(Catalogue(table, IDS))


def scores_of(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 30, N).astype(np.float64)  # many ties
    scores[generator.random(N) < 0.2] = -np.inf
    return scores


def plain(scores: np.ndarray, cards: ItemCards, n: int, may_stand: np.ndarray) -> list[CategoryList]:
    """The same by walking down the whole order."""
    shelves: dict[str, list[PopularItem]] = {}
    for place in np.argsort(-scores, kind="stable").tolist():
        category = cards.categories[place]
        if category is None or not may_stand[place] or scores[place] == -np.inf:
            continue
        shelf = shelves.setdefault(category, [])
        if len(shelf) < n:
            shelf.append(PopularItem(**cards.of(f"i{place}"), score=float(scores[place])))
    return [CategoryList(category=category, items=items) for category, items in shelves.items()]


@pytest.mark.parametrize("n", [1, 3, 50])
@pytest.mark.parametrize("share", [None, 0.5, 0.01, 0.0])
@pytest.mark.parametrize("n_hidden", [0, 5, 300])
def test_it_is_what_walking_down_the_order_finds(cards: ItemCards, n: int, share: float | None, n_hidden: int) -> None:
    generator = np.random.default_rng(2)
    allowed = None if share is None else generator.random(N) < share
    hidden = generator.integers(0, N, n_hidden).tolist()
    may_stand = np.ones(N, dtype=bool) if allowed is None else allowed.copy()
    may_stand[hidden] = False
    scores = scores_of(3)
    wanted = plain(scores, cards, n, may_stand)
    for order in (FixedScores(IDS, scores), FixedOrder(IDS, scores)):
        shelves = CategoryShelves(order, cards)
        for _ in range(2):  # made, and kept
            assert shelves.first(n, hidden, allowed) == wanted
            shelves.first(n)


def test_of_nothing_there_are_no_categories(cards: ItemCards) -> None:
    shelves = CategoryShelves(FixedOrder(IDS, np.full(N, -np.inf)), cards)
    assert shelves.first(3) == shelves.first(3, [1, 2]) == shelves.first(3, [1], np.ones(N, dtype=bool)) == []


def test_what_is_kept_is_bounded(cards: ItemCards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_category, "MAX_KEPT", 10)
    scores = scores_of(3)
    shelves = CategoryShelves(FixedOrder(IDS, scores), cards)
    assert shelves.first(3) == shelves.first(3) == plain(scores, cards, 3, np.ones(N, dtype=bool))
    assert (len(shelves._shown), shelves._whole) == (10, None)


def test_the_order_that_follows_has_its_categories_made_beforehand(
    cards: ItemCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the first request that finds it does not wait for them; items whose score is the same are the same."""
    kept, scores = KeptOrders(IDS, sorted_at_once=1), [scores_of(3)]
    order = kept.of("popular", lambda: scores[0])
    made = order.derived("shelves", lambda own, before: CategoryShelves(own, cards, before))
    made.first(3)
    later = scores[0].copy()
    later[:50] += 1
    scores[0] = later
    kept._make("popular", lambda: scores[0], lambda: True)
    follower = kept.of("popular", lambda: scores[0])
    assert follower is not order
    monkeypatch.setattr(CategoryShelves, "_show", None)  # nothing is left to be made
    shelves = follower.derived("shelves", pytest.fail)
    assert shelves.first(3) == plain(later, cards, 3, np.ones(N, dtype=bool))
    assert {id(item) for item in made._shown.values()} & {id(item) for item in shelves._shown.values()}


def test_categories_of_a_catalogue_that_has_changed_are_made_anew(cards: ItemCards) -> None:
    order = FixedOrder(IDS, scores_of(3))
    first = order.derived("shelves", lambda own, before: CategoryShelves(own, cards, before))
    again = order.derived("shelves", lambda own, before: CategoryShelves(own, cards, before), lambda kept: False)
    assert again is not first
    assert order.derived("shelves", pytest.fail) is again
