"""Lists made out of a ranker's best items."""

from collections.abc import Sequence

import numpy as np
import pytest

from core.settings.reranking import RerankSettings
from recommender.errors import RerankError
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.metrics.top_k import best_items
from recommender.reranking.reranker import Reranker
from recommender.reranking.traits import ItemTraits
from tests.unit.recommender.tiny_shop import catalogue_of, catalogue_row

# Twelve items, the best first: eight teas of two kinds by one brand, four cups; the last four are rarely taken.
NAMES = [f"i{n:02d}" for n in range(12)]
CATEGORIES = ["Tea > Green"] * 4 + ["Tea > Black"] * 4 + ["Cups"] * 4
BRANDS = ["Big"] * 10 + ["Small"] * 2
EVENTS = [50, 40, 30, 30, 20, 20, 20, 20, 1, 1, 1, 1]
USER = UserState.from_history(["i00", "i11"])


class Ranks:
    """Scores the items by their number, lowest first."""

    def __init__(self, vectors: ItemVectors) -> None:
        self.vectors, self.ids, self.asked = vectors, vectors.ids, 0

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        row = [-float(item[1:]) for item in self.ids]
        return np.tile(np.array(row, dtype=np.float32), (len(users), 1))

    def top_k(self, users, k, **filters):
        self.asked += 1
        return best_items(self.scores(users), users, self.ids, k, **filters)


def vectors(**columns) -> ItemVectors:
    rows = [
        {**catalogue_row(name, events), "category": category, "brand": brand}
        | {column: values[n] for column, values in columns.items()}
        for n, (name, events, category, brand) in enumerate(zip(NAMES, EVENTS, CATEGORIES, BRANDS, strict=True))
    ]
    catalogue = catalogue_of(rows)
    kinds = {"Tea > Green": [1.0, 0.0, 0.0], "Tea > Black": [0.8, 0.6, 0.0], "Cups": [0.0, 0.0, 1.0]}
    text = np.array([kinds[CATEGORIES[NAMES.index(name)]] for name in catalogue.ids])
    return ItemVectors.from_rows(catalogue, text)


def listed(settings: RerankSettings, k: int = 4, user: UserState = USER, **filters) -> list[str]:
    items = vectors()
    found = Reranker(items, settings).top_k(Ranks(items), user, k, **filters)
    return [item_id for item_id, _ in found.items]


def test_without_settings_the_list_is_the_rankers():
    assert listed(RerankSettings()) == ["i01", "i02", "i03", "i04"]
    assert RerankSettings().changes_nothing
    assert RerankSettings(kind="mmr", strength=0.0).changes_nothing
    assert not RerankSettings(provider_floor=0.1).changes_nothing


def test_mmr_brings_another_kind_forward_by_text_or_by_category():
    assert listed(RerankSettings(kind="mmr", strength=0.8), 3) == ["i01", "i08", "i04"]
    assert listed(RerankSettings(kind="mmr", strength=0.8, similarity="category"), 3) == ["i01", "i08", "i02"]
    two_levels = RerankSettings(kind="mmr", strength=0.8, similarity="category", category_levels=2)
    assert listed(two_levels, 3) == ["i01", "i04", "i08"]


def test_calibration_follows_the_history_and_without_one_everybodys_events():
    calibrated = RerankSettings(kind="calibration", strength=0.9)
    assert sorted(listed(calibrated)) == ["i01", "i02", "i08", "i09"]  # a tea and a cup were taken
    assert listed(calibrated, user=UserState()) == ["i00", "i01", "i02", "i03"]  # 2 % of all events are of cups


def test_the_pool_bounds_what_can_come_but_is_never_shorter_than_the_list():
    assert listed(RerankSettings(kind="mmr", strength=1.0, pool=4), 2) == ["i01", "i04"]
    assert len(listed(RerankSettings(kind="mmr", strength=1.0, pool=1), 4)) == 4


def test_under_exposed_is_what_holds_few_of_all_events():
    traits = ItemTraits.of(vectors().catalogue, category_levels=1, under_exposed=0.2)
    rare = {item for item, is_rare in zip(vectors().ids, traits.rare_items, strict=True) if is_rare}
    assert rare == {"i08", "i09", "i10", "i11"}  # 4 of 234; with the next ones it would be 84
    of_small = {item for item, is_rare in zip(vectors().ids, traits.rare_providers, strict=True) if is_rare}
    assert of_small == {"i10", "i11"}
    nobodys = ItemTraits.of(vectors(brand=[None] * 12).catalogue, category_levels=1, under_exposed=0.2)
    assert not nobodys.rare_providers.any()


def test_floors_put_rare_items_and_brands_into_the_last_places():
    assert listed(RerankSettings(item_floor=0.5)) == ["i01", "i02", "i08", "i09"]
    assert listed(RerankSettings(provider_floor=0.25)) == ["i01", "i02", "i03", "i10"]  # i11 is seen
    assert listed(RerankSettings(item_floor=0.5, provider_floor=0.25)) == ["i01", "i02", "i08", "i10"]


def test_a_floor_reaches_past_the_pool_and_says_where_it_cannot_be_met():
    items = vectors()
    reranker, ranker = Reranker(items, RerankSettings(item_floor=0.5, pool=4)), Ranks(items)
    found = reranker.top_k(ranker, USER, 4)
    assert ([item_id for item_id, _ in found.items], found.n_changed, found.floors_met, ranker.asked) == (
        ["i01", "i02", "i08", "i09"], 2, True, 2,
    )  # fmt: skip
    short = reranker.top_k(ranker, USER, 4, exclude=[["i08", "i09", "i10"]])
    assert ([item_id for item_id, _ in short.items], short.floors_met) == (["i01", "i02", "i03", "i04"], False)


def test_filters_hold_whatever_is_asked_for():
    items = vectors()
    allowed = np.array([item not in ("i08", "i01") for item in items.ids])
    for settings in (RerankSettings(kind="mmr", strength=1.0), RerankSettings(item_floor=1.0, pool=1)):
        found = listed(settings, 12, allowed=allowed, exclude=[["i09"]])
        assert not {"i00", "i11", "i01", "i08", "i09"} & set(found)
        assert len(found) == 7


@pytest.mark.parametrize(
    ("settings", "lacking", "sentence"),
    [
        (RerankSettings(kind="calibration"), {"category": [None] * 12}, "items with a category=0"),
        (RerankSettings(kind="mmr", similarity="category"), {"category": [None] * 12}, "items with a category=0"),
        (RerankSettings(provider_floor=0.1), {"brand": [None] * 12}, "items with a brand=0"),
    ],
)
def test_what_the_catalogue_lacks_is_said(settings, lacking, sentence):
    with pytest.raises(RerankError, match=sentence):
        Reranker(vectors(**lacking), settings)
    Reranker(vectors(**lacking), RerankSettings(kind="mmr", item_floor=0.1))
