"""Random valid requests: every list is answered, obeys its filters, and says truthfully what was done to it.

The ranker is the real one, by a model of random weights; baselines rank too, and generative retrieval where it is
asked for. The requests are read as the service reads them, from JSON, and the answers are written and read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import BaseModel

from core import schema
from core.settings.features import FeatureSettings
from core.settings.tree import Recipe
from recommender.bundle.loading import Bundle
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_moments import CountedItems
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from serving.api import lists as api
from serving.api.endpoints import ENDPOINTS
from serving.api.openapi import describe_api
from serving.api.recommend import RecommendRequest
from serving.engine import Engine
from serving.lists.searching import Searcher

N, K = 30, 12
ITEMS = [f"i{n:02}" for n in range(N)]
CATEGORIES = ["Cheese > Soft", "Cheese > Hard", "Wine", None]
BRANDS = ["Alp", "Dike", None]
ROWS = [
    {
        schema.ITEM_ID: item,
        schema.TITLE: f"Thing {n}",
        schema.CATEGORY: CATEGORIES[n % 4],
        schema.BRAND: BRANDS[n % 3],
        schema.PRICE: None if n % 7 == 6 else float(n % 10),
        schema.ITEM_TEXT: f"thing number {n} {'red' if n % 2 else 'white'}",
        schema.ITEM_N_EVENTS: n,
        schema.ITEM_N_RATINGS: n % 5,
        "item_age_days": None if n == 3 else float(40 - n),
        "item_popularity": [n % 3, n % 11, n],
        schema.ITEM_ATTRIBUTES: [("colour", "red" if n % 2 else "white"), ("in_stock", str(n % 3))] if n else None,
    }
    for n, item in enumerate(ITEMS)
]
ROW = {str(row[schema.ITEM_ID]): row for row in ROWS}
USERS = {
    "warm": UserState(
        items=("i01", "i02", "i09"), values=(None, 4.0, None), events=("view", "purchase", "rating"),
        seen=SeenItems.of_items(["i01", "i02", "i09", "i20"]),
    ),
    "fresh": UserState(seen=SeenItems()),
}  # fmt: skip


class Store:
    """An online store of two users."""

    def read_user(self, user_id: str, at: Any = None) -> UserState | None:
        return USERS.get(user_id)

    def read_seen(self, user_id: str, within_days: float, at: Any = None) -> SeenItems:
        return SeenItems.of_items(["i09"]) if user_id == "warm" else SeenItems()

    def items_at(self, at: Any = None) -> CountedItems:
        return CountedItems(pa.Table.from_pylist(ROWS, schema=schema.TRAINING_TABLES["catalogue"]))

    def read_items(self, item_ids: Any) -> dict[str, Any]:
        return {"item_n_events": np.arange(len(item_ids))}


@cache
def engine(kind: str) -> Engine:
    catalogue = Catalogue.from_table(pa.Table.from_pylist(ROWS, schema=schema.TRAINING_TABLES["catalogue"]), seed=4)
    rows = np.random.default_rng(2).normal(size=(N, 6)).astype(np.float32)
    vectors = ItemVectors.from_rows(catalogue, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    shape = SequenceShape(N, 6, width=8, n_blocks=1, n_heads=1, max_history=5, use_ids=True, use_text=True)
    torch.manual_seed(3)
    model = SequenceModel(shape, vectors.text, torch.ones(N + 1, dtype=torch.bool), dropout=0.0, id_dropout=0.0)
    ranker = Ranker(vectors, model) if kind == "blend" else BaselineRanker(vectors, cast(Any, kind))
    recipe = Recipe(features=FeatureSettings())
    bundle = SimpleNamespace(
        manifest=SimpleNamespace(recipe=recipe), catalogue=catalogue, ranker=ranker, generative=None, scorer=None,
        writer=None, explainer=None,
    )  # fmt: skip
    made = Engine(model="m:1", bundle=cast(Bundle, bundle), features=cast(Any, Store()), max_k=K)
    made.lists.searcher = Searcher(
        vectors, lambda query: vectors.text[1:].numpy()[len(query) % N] @ vectors.text[1:].numpy().T, "m:1"
    )
    return made


ids = st.sampled_from([*ITEMS, "ghost"])
prices = st.one_of(st.none(), st.floats(0, 12))
attributes = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from(["brand", "title"]), "equals": st.sampled_from(["Alp", "Thing 3"])}),
    st.fixed_dictionaries({"name": st.just("colour"), "any_of": st.just(["red", "blue"])}),
    st.fixed_dictionaries({"name": st.just("item_n_events"), "min": st.integers(0, 30)}),
    st.fixed_dictionaries({"name": st.just("price"), "any_of": st.lists(st.integers(0, 9), min_size=1, max_size=4)}),
)
criteria: dict[str, Any] = {
    "categories": st.lists(st.sampled_from(["Cheese", "Cheese > Hard", "Wine", "Tea"]), min_size=1, max_size=3),
    "brands": st.lists(st.sampled_from(["Alp", "Dike", "None"]), min_size=1, max_size=2),
    "min_price": st.floats(0, 4),
    "max_price": st.floats(4, 12),
    "attributes": st.lists(attributes, max_size=2),
    "in_stock": st.booleans(),
}
some_items = st.lists(ids, min_size=1, max_size=6)
movers = st.lists(
    st.fixed_dictionaries({"items": some_items, "factor": st.floats(1.01, 10)}, optional=criteria), max_size=3
)


@st.composite
def options(draw: Callable[..., Any]) -> dict[str, Any]:
    """Valid options of any list."""
    asked = draw(
        st.fixed_dictionaries(
            {"k": st.integers(1, K)},
            optional={
                **criteria, "exclude": st.lists(ids, max_size=5), "allow": st.lists(ids, min_size=1, max_size=20),
                "exclude_seen": st.booleans(), "boost": movers, "bury": movers,
            },
        )
    )  # fmt: skip
    places = draw(st.lists(st.integers(1, asked["k"]), unique=True, max_size=3))
    pinned = draw(st.lists(st.sampled_from(ITEMS), unique=True, min_size=len(places), max_size=len(places)))
    asked["pin"] = [
        {"item_id": item, "position": place, "even_if_seen": draw(st.booleans())}
        for item, place in zip(pinned, places, strict=True)
    ]
    return dict(asked)


someone = st.one_of(
    st.fixed_dictionaries({"user_id": st.sampled_from(["warm", "fresh", "nobody"])}),
    st.fixed_dictionaries({"history": st.lists(ids, max_size=6)}),
    st.just({}),
)
chance = st.one_of(
    st.fixed_dictionaries({"kind": st.just("epsilon"), "epsilon": st.floats(0, 1), "pool": st.integers(1, 40)}),
    st.fixed_dictionaries({"kind": st.just("thompson"), "scale": st.floats(0.01, 10), "seed": st.integers(0, 99)}),
)
diversity = st.fixed_dictionaries(
    {"kind": st.sampled_from(["mmr", "calibration"]), "strength": st.floats(0, 1)},
    optional={"item_floor": st.floats(0, 1)},
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def obeys(item_id: str, asked: dict[str, Any]) -> bool:
    """Whether the filters let an item through, worked out by hand."""
    row = ROW[item_id]
    category, price = row[schema.CATEGORY], row[schema.PRICE]
    wanted = asked.get("categories")
    own = dict(row[schema.ITEM_ATTRIBUTES] or ())
    return (
        ("in_stock" not in asked or (bool(own) and (own["in_stock"] != "0") == asked["in_stock"]))
        and (wanted is None or any(category == one or str(category).startswith(f"{one} > ") for one in wanted))
        and (asked.get("brands") is None or row[schema.BRAND] in asked["brands"])
        and ("min_price" not in asked or (price is not None and price >= asked["min_price"]))
        and ("max_price" not in asked or (price is not None and price <= asked["max_price"]))
        and all(meets(row, one) for one in asked.get("attributes", ()))
        and item_id not in asked.get("exclude", ())
        and ("allow" not in asked or item_id in asked["allow"])
    )


def meets(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    own = dict(row[schema.ITEM_ATTRIBUTES] or ())
    value = own.get("colour") if wanted["name"] == "colour" else row[wanted["name"]]
    if "min" in wanted:
        return value is not None and value >= wanted["min"]
    return value in wanted.get("any_of", [wanted.get("equals")]) and value is not None


def check(answer: Any, asked: dict[str, Any], seen: set[str]) -> list[str]:
    """What holds of every list; its items."""
    shown = [item.item_id for item in answer.items]
    assert len(shown) == len(set(shown)) <= asked["k"]
    assert all(obeys(item_id, asked) for item_id in shown)
    shown_though_seen = {pin["item_id"] for pin in asked["pin"] if pin["even_if_seen"]}
    if asked.get("exclude_seen", True):
        assert not (seen - shown_though_seen) & set(shown)
    assert len(answer.applied) == (len(asked["pin"]) + len(asked.get("boost", ())) + len(asked.get("bury", ())))
    for rule in answer.applied:
        for moved in rule.items:
            assert moved.to_place is None or shown[moved.to_place - 1] == moved.item_id
            assert (moved.to_place is None) == (moved.item_id not in shown)
    for number, pin in enumerate(asked["pin"]):
        rule = answer.applied[number]
        assert (rule.note is None) == (pin["item_id"] in shown)
        if rule.note is None:
            assert rule.items[0].to_place <= pin["position"]
    return shown


def seen_by(asked: dict[str, Any]) -> set[str]:
    if asked.get("user_id") == "warm":
        return {"i01", "i02", "i09", "i20"}
    return set(asked.get("history", ()))


def validator(name: str) -> Draft202012Validator:
    description = describe_api()
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": description["components"]})


@cache
def validators() -> dict[str, Draft202012Validator]:
    return {
        model.__name__: validator(model.__name__)
        for endpoint in ENDPOINTS
        for model in (endpoint.request, endpoint.answer, endpoint.other_answer)
        if model is not None
    }


def read(model: type[BaseModel], asked: dict[str, Any]) -> Any:
    """A request as the service reads it, which the OpenAPI document takes too."""
    text = json.dumps(asked)
    validators()[model.__name__].validate(json.loads(text))
    return model.model_validate_json(text)


def written(answer: BaseModel) -> None:
    """See that the answer is JSON as the OpenAPI document says."""
    validators()[type(answer).__name__].validate(json.loads(answer.model_dump_json()))


@pytest.mark.parametrize("kind", ["blend", "popularity", "text_encoder"])
@given(asked=options(), who=someone, exploration=st.none() | chance, rerank=st.none() | diversity)
@QUICK
def test_recommendations_obey_whatever_ranks(kind: str, asked: Any, who: Any, exploration: Any, rerank: Any) -> None:
    extra = {name: value for name, value in (("exploration", exploration), ("diversity", rerank)) if value}
    answer = engine(kind).recommend(read(RecommendRequest, {**asked, **who, **extra}))
    written(answer)
    shown = check(answer, asked, seen_by(who))
    if exploration:
        assert all(0 < (item.propensity or 0) <= 1 for item in answer.items)
        again = {**exploration, "seed": answer.exploration.seed}
        second = engine(kind).recommend(read(RecommendRequest, {**asked, **who, **extra, "exploration": again}))
        assert [item.item_id for item in second.items] == shown
    elif not rerank:
        possible = {i for i in ITEMS if obeys(i, asked)}
        if asked.get("exclude_seen", True):
            possible -= seen_by(who) - {item for item in shown if item in seen_by(who)}
        assert len(shown) == min(asked["k"], len(possible)), "no place is left empty"


@pytest.mark.parametrize("name", ["popular", "latest"])
@given(asked=options(), who=someone)
@QUICK
def test_popular_and_new_items_obey(name: str, asked: Any, who: Any) -> None:
    kinds: dict[str, Any] = {"popular": api.PopularRequest, "latest": api.LatestRequest}
    answer = getattr(engine("blend").lists, name)(read(kinds[name], {**asked, **who}))
    written(answer)
    check(answer, asked, seen_by(who))
    if not (asked["pin"] or asked.get("boost") or asked.get("bury")):
        scores = [item.score for item in answer.items]
        assert scores == sorted(scores, reverse=True)


@given(asked=options(), who=someone, query=st.text(min_size=1, max_size=20).filter(str.strip), personal=st.floats(0, 2))
@QUICK
def test_what_a_search_finds_obeys(asked: Any, who: Any, query: str, personal: float) -> None:
    asked.setdefault("exclude_seen", False)
    answer = engine("blend").lists.search(
        read(api.SearchRequest, {**asked, **who, "query": query, "personal": personal})
    )
    written(answer)
    check(answer, asked, seen_by(who))
    for item in answer.items:
        assert item.score == pytest.approx(item.lexical + item.semantic + item.personal)


@pytest.mark.parametrize("kind", ["blend", "text_encoder"])
@given(asked=options(), item_id=st.sampled_from(ITEMS))
@QUICK
def test_similar_items_obey(kind: str, asked: Any, item_id: str) -> None:
    answer = engine(kind).lists.similar(read(api.SimilarRequest, {**asked, "item_id": item_id}))
    written(answer)
    shown = check(answer, asked, set())
    assert item_id not in shown or item_id in [pin["item_id"] for pin in asked["pin"]]
