"""What clients say of items shows at once: values, filters, and items that may not be shown."""

from __future__ import annotations

from typing import Any

import pytest

from core.overrides import Override
from serving.api.recommend import RecommendRequest
from serving.engine import Engine
from tests.unit.serving.fake_engine import make


@pytest.fixture
def engine() -> Engine:
    return make()


def listed(engine: Engine, **asked: Any) -> list[str]:
    request = RecommendRequest.model_validate({"user_id": "known", "k": 10, **asked})
    return [item.item_id for item in engine.recommend(request).items]


def test_values_that_clients_set_are_shown_and_filtered_by(engine: Engine) -> None:
    before = engine.recommend(RecommendRequest(user_id="known", k=10))
    said = {"title": "Cheap kettle", "price": 0.25, "category": "Sale > Today", "brand": "Acme"}
    assert engine.live.follow([Override("i9", said, {"colour": "blue"})])
    after = engine.recommend(RecommendRequest(user_id="known", k=10))
    (shown,) = [item for item in after.items if item.item_id == "i9"]
    assert (shown.label, shown.price, shown.category, shown.brand) == ("Cheap kettle", 0.25, "Sale > Today", "Acme")
    others = [item for item in before.items if item.item_id != "i9"]
    assert [item for item in after.items if item.item_id != "i9"] == others
    assert listed(engine, min_price=0.2, max_price=0.25) == ["i9"]
    assert listed(engine, categories=["Sale"]) == ["i9"]
    assert listed(engine, attributes=[{"name": "colour", "equals": "blue"}]) == ["i9"]
    engine.live.follow([Override("i8", {}, {"colour": "red"})])
    assert listed(engine, attributes=[{"name": "colour", "any_of": ["blue", "red"]}]) == ["i9", "i8"]


def test_an_item_that_may_not_be_shown_is_in_no_list(engine: Engine) -> None:
    assert listed(engine, k=3) == ["i11", "i10", "i9"]
    engine.live.follow([Override("i10", is_available=False), Override("i9", is_deleted=True)])
    assert listed(engine, k=3) == ["i11", "i8", "i7"]
    assert listed(engine, k=3, allow=["i10", "i9", "i8"]) == ["i8"]
    assert listed(engine, k=3, pin=[{"item_id": "i10", "position": 1}]) == ["i11", "i8", "i7"]
    engine.live.follow([Override("i10")])
    assert listed(engine, k=3) == ["i11", "i10", "i8"]


def test_what_is_taken_back_is_as_the_bundle_has_it(engine: Engine) -> None:
    before = engine.recommend(RecommendRequest(user_id="known", k=10)).items
    engine.live.follow([Override("i9", {"price": 0.25}, {"colour": "blue"})])
    engine.live.follow([Override("i9")])
    assert engine.recommend(RecommendRequest(user_id="known", k=10)).items == before


def test_items_of_no_interest_change_nothing(engine: Engine) -> None:
    before = engine.live.now
    assert not engine.live.follow([Override("unknown", {"price": 1.0})])
    assert not engine.live.follow([])
    assert engine.live.now is before


def test_what_the_platform_counts_is_no_attribute(engine: Engine) -> None:
    before = engine.live.now.catalogue.n_events.tolist()
    engine.live.follow([Override("i9", {}, {"item_n_events": "many", "item_id": "i1", "item_text": "no"})])
    assert listed(engine, k=1) == ["i11"]
    assert engine.live.now.catalogue.n_events.tolist() == before
    assert engine.live.now.catalogue.text("i9") == engine.bundle.catalogue.text("i9")
