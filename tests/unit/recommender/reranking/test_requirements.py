"""What re-ranking asks of a catalogue is looked at before anything is fitted."""

import pytest

from core.settings.reranking import RerankSettings
from recommender.errors import RerankError
from recommender.reranking.requirements import check_rerankable
from tests.unit.recommender.reranking.test_reranker import vectors

NONE = [None] * 12
K = 10


def check(settings: RerankSettings, k: int = K, **columns) -> None:
    check_rerankable(vectors(**columns).catalogue, settings, k)


@pytest.mark.parametrize(
    ("settings", "lacking", "sentence"),
    [
        (RerankSettings(kind="calibration"), {"category": NONE}, "items with a category=0"),
        (RerankSettings(kind="mmr", similarity="category"), {"category": NONE}, "items with a category=0"),
        (RerankSettings(kind="mmr"), {"item_text": [" "] * 12}, "items with words=0"),
        (RerankSettings(provider_floor=0.1), {"brand": NONE}, "items with a brand=0"),
    ],
)
def test_what_no_item_has_is_refused(settings, lacking, sentence):
    with pytest.raises(RerankError, match=sentence):
        check(settings, **lacking)
    check(settings)
    check(RerankSettings(), **lacking)


def test_a_floor_above_what_is_under_exposed_is_refused():
    check(RerankSettings(item_floor=0.4))  # four of the twelve are
    sentence = r"recipe\.rerank\.item_floor=0\.5, 5 of 10 places, and 4 under-exposed items of 12 items, expected at"
    with pytest.raises(RerankError, match=sentence + r" least 5 of them\. .*raise recipe\.rerank\.under_exposed=0\.2"):
        check(RerankSettings(item_floor=0.5))
    check(RerankSettings(item_floor=0.5, under_exposed=0.5))
    check(RerankSettings(provider_floor=0.2))
    with pytest.raises(RerankError, match=r"provider_floor=0\.3, 3 of 10 places, and 2 items of under-exposed brands"):
        check(RerankSettings(provider_floor=0.3))


def test_equally_taken_items_are_none_of_them_under_exposed():
    with pytest.raises(RerankError, match=r"item_floor=0\.1, 1 of 10 places, and 0 under-exposed items"):
        check(RerankSettings(item_floor=0.1), item_n_events=[5] * 12)


def test_two_floors_have_to_fit_into_the_list_together():
    # Four items are rarely taken, three others are of a brand that is: none counts for both.
    apart = {"item_n_events": [4, 4, 4, 300, 300, 300, 500, 500, 1, 1, 1, 1], "brand": ["Small"] * 3 + ["Big"] * 9}
    settings = RerankSettings(item_floor=0.6, provider_floor=0.6, under_exposed=0.007)
    with pytest.raises(RerankError, match=r"3 and 3 of 5 places, and 0 items that count for both, expected floors"):
        check(settings, 5, **apart)
    check(settings.model_copy(update={"item_floor": 0.4}), 5, **apart)
    check(settings.model_copy(update={"under_exposed": 0.01}), 5, **apart)  # now the three count for both
