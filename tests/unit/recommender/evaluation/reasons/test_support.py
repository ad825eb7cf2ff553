"""Facts of reasons, held against a shop's tables."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender.evaluation.reasons.evaluation import Said, of_others, supported
from recommender.evaluation.reasons.support import Shop, read_shop
from recommender.explaining.facts import Fact, FactKind

NAMED = {"kettle-2", "tea-1", "unknown"}
CUT = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE, AFTER = CUT - timedelta(days=9), CUT + timedelta(days=9)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Three customers choose both kettles and praise the lid; one chooses the tea; a fourth one comes after the cut."""
    folder = tmp_path_factory.mktemp("clean")
    events = [event(user, item, 5.0) for user in ("ann", "bob", "cas") for item in ("kettle-1", "kettle-2")]
    events += [{**event("eve", "tea-1", None), "event": "view"}]
    events += [event("ann", "tea-1", 4.0), event("dan", "kettle-1", 1.0, AFTER), event("dan", "kettle-2", 1.0, AFTER)]
    reviews = [review(user, f"The lid is great. Number {n}.") for n, user in enumerate(("ann", "bob", "cas"))]
    write(folder, "interactions", events)
    write(folder, "feedback", [*reviews, review("dan", "The spout is bad.", 1.0, AFTER)])
    items = [
        ("kettle-1", "Kettles", "Alba", 10.0),
        ("kettle-2", "Kettles", "Alba", 11.0),
        ("tea-1", "Tea", "Brio", 12.0),
    ]
    columns = ("item_id", "category", "brand", "price")
    described = {"title": "A whistling one", "description": None}
    write(folder, "items", [{**dict(zip(columns, item, strict=True)), **described} for item in items])
    likeness = {("kettle-1", "kettle-2"): 0.9, ("kettle-1", "tea-1"): 0.1}
    return read_shop(
        folder, CUT, CUT, {"ann", "eve"}, {"kettle-1", "tea-1"}, NAMED, lambda *pair: likeness.get(pair), 50
    )


def event(user: str, item: str, value: float | None, at: datetime = BEFORE) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "event": "rating", "value": value, "timestamp": at, "position": None}


def review(user: str, text: str, rating: float = 5.0, at: datetime = BEFORE) -> dict[str, Any]:
    return {"user_id": user, "item_id": "kettle-1", "rating": rating, "text": text, "timestamp": at}


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")


def fact(kind: FactKind, value: str = "", support: int = 1, items: tuple[str, ...] = (), **more: Any) -> Fact:
    opinions, act = tuple(more.pop("opinions", ())), more.pop("act", "chose")
    numbers = {name: float(number) for name, number in more.items()}
    return Fact(kind, value, support, numbers, items, opinions, act)


TRUE = [
    fact("aspect", "lid", 3, n_praise=3, opinions=["great"]),
    fact("category", "Kettles", 1, ("kettle-2",)),
    fact("brand", "Alba", 1, ("kettle-2",)),
    fact("price", "usual", 2, price=10.0, usual_price=11.5),
    fact("together", "", 3, ("kettle-2",), n_both=3),
    fact("liked_together", "", 3, ("kettle-2",), n_rated=3, n_liked=3),
    fact("similar", "", 1, ("kettle-2",)),
    fact("rating", "", 3, n_ratings=3, mean_rating=5.0),
    fact("popularity", "", 3, n_events=3),
    fact("popularity", "Kettles", 3, n_events=3, rank=1, of=2),
    fact("attribute", "Kettles"),
]
FALSE = [
    fact("aspect", "lid", 4, n_praise=4, opinions=["great"]),
    fact("aspect", "lid", 3, n_praise=3, opinions=["splendid"]),
    fact("aspect", "spout", 1, n_praise=1, opinions=["bad"]),
    fact("words", "whistling"),  # it stands in the description, and not in her reviews
    fact("category", "Kettles", 1, ("tea-1",)),
    fact("category", "Tea", 1, ("tea-1",)),
    fact("brand", "Alba", 2, ("kettle-2",)),
    fact("price", "usual", 2, price=10.0, usual_price=20.0),
    fact("price", "less", 2, price=10.0, usual_price=11.5),
    fact("together", "", 4, ("kettle-2",), n_both=4),
    fact("together", "", 3, ("unknown",), n_both=0),
    fact("liked_together", "", 4, ("kettle-2",), n_rated=4, n_liked=3),
    fact("similar", "", 1, ("tea-1",)),
    fact("rating", "", 3, n_ratings=3, mean_rating=4.0),
    fact("rating", "", 4, n_ratings=4, mean_rating=5.0),
    fact("popularity", "", 3, n_events=4),
    fact("popularity", "Kettles", 3, n_events=3, rank=2, of=2),
    fact("attribute", "Tea"),
    fact("new"),
]


@pytest.mark.parametrize("one", TRUE, ids=lambda one: one.kind)
def test_what_the_tables_say_is_supported(shop: Shop, one: Fact) -> None:
    assert shop.supports(one, "ann", "kettle-1")


@pytest.mark.parametrize("one", FALSE, ids=lambda one: f"{one.kind} {one.value}")
def test_what_they_do_not_say_is_not(shop: Shop, one: Fact) -> None:
    assert not shop.supports(one, "ann", "kettle-1")


def test_an_item_of_which_nothing_is_known_is_new(shop: Shop) -> None:
    assert shop.supports(fact("new"), "ann", "never seen")


def test_what_was_looked_at_is_not_what_was_chosen(shop: Shop) -> None:
    assert shop.supports(fact("attribute", "Kettles", items=("tea-1",), act="looked at"), "eve", "kettle-1")
    assert not shop.supports(fact("attribute", "Kettles", items=("tea-1",)), "eve", "kettle-1")
    assert not shop.supports(fact("attribute", "Kettles", items=("kettle-2",), act="looked at"), "eve", "kettle-1")


def test_the_same_facts_of_another_item_are_false(shop: Shop) -> None:
    said = [
        Said("ann", "kettle-1", (fact("popularity", "", 3, n_events=3), fact("attribute", "Kettles"))),
        Said("ann", "tea-1", (fact("attribute", "Tea"),)),
    ]
    n_facts, wrong = supported(shop, said)
    assert (n_facts, wrong.total()) == ({"popularity": 1, "attribute": 2}, 0)
    n_facts, wrong = supported(shop, of_others(said))
    assert wrong == n_facts == {"popularity": 1, "attribute": 2}
