"""Answers re-ranked for diversity and exposure: as the request asks, else as the recipe says."""

from __future__ import annotations

from typing import Any

import pytest

from core.settings.reranking import RerankSettings
from serving.api.recommend import Diversity, RecommendRequest
from serving.engine import Engine
from serving.errors import BadRequest, CapabilityMissing
from tests.unit.serving.fake_engine import ids_of, make


@pytest.fixture
def engine() -> Engine:
    return make()


def test_a_list_is_re_ranked_as_the_request_asks(engine: Engine) -> None:
    plain = engine.recommend(RecommendRequest(user_id="known", k=3))
    assert (ids_of(plain), plain.diversity) == (["i11", "i10", "i9"], None)
    asked = Diversity(kind="mmr", strength=0.9, item_floor=0.4)
    answer = engine.recommend(RecommendRequest(user_id="known", k=3, diversity=asked))
    # i10 is unlike i11; of items with few events i5 is the best: those of i0 to i5 are 15 of 66, of i0 to i4 10.
    assert ids_of(answer) == ["i11", "i4", "i3"]
    assert answer.diversity is not None
    assert answer.diversity.model_dump() == {
        "kind": "mmr", "strength": 0.9, "item_floor": 0.4, "provider_floor": 0.0, "n_changed": 2, "floors_met": True,
    }  # fmt: skip
    cold = engine.recommend(RecommendRequest(k=2, diversity=Diversity(kind="mmr", strength=0.9)))
    assert (cold.cold_start, ids_of(cold)) == (True, ["i0", "i1"])
    generated = engine.recommend(RecommendRequest(user_id="known", k=3, by="generative", diversity=asked))
    assert (ids_of(generated), generated.items[0].part) == (["i11", "i4", "i3"], "generative")


def test_the_recipe_re_ranks_where_the_request_says_nothing() -> None:
    engine = make(rerank=RerankSettings(item_floor=0.4))
    answer = engine.recommend(RecommendRequest(user_id="known", k=3))
    assert (ids_of(answer), answer.diversity is not None) == (["i11", "i4", "i3"], True)
    turned_off = engine.recommend(RecommendRequest(user_id="known", k=3, diversity=Diversity(item_floor=0.0)))
    assert (ids_of(turned_off), turned_off.diversity) == (["i11", "i10", "i9"], None)


def test_a_re_ranking_that_contradicts_itself_or_the_catalogue_is_refused(engine: Engine) -> None:
    def refused(error: type[Exception], **fields: Any) -> str:
        with pytest.raises(error) as caught:
            engine.recommend(RecommendRequest(k=3, diversity=Diversity(**fields)))
        return str(caught.value)

    assert "diversity.strength=0.5 with kind=none, expected kind=mmr or calibration" in refused(
        BadRequest, strength=0.5
    )
    assert "diversity.pool=20 with kind=none, expected kind=mmr or calibration, or a floor" in refused(
        BadRequest, pool=20
    )
    assert engine.recommend(RecommendRequest(k=3, diversity=Diversity(pool=20, item_floor=0.4))).diversity
    assert "expected kind=mmr." in refused(BadRequest, kind="calibration", similarity="text")
    assert "model=m:1, items with a brand=0" in refused(CapabilityMissing, provider_floor=0.5)
