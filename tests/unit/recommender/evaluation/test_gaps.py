"""Gaps between groups: which are more than noise."""

import numpy as np
import pytest

from recommender.evaluation.gaps import ITEM_POPULARITY, audit_gaps
from recommender.evaluation.names import gap_warnings
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import RankingEvaluation
from recommender.metrics.significance import Clusters, group_range_p_value, holm
from tests.unit.recommender.tiny_shop import catalogue_of, catalogue_row

IDS = IdMap(tuple("abcdef"))


def evaluated(ndcg, lists=None) -> RankingEvaluation:
    made = np.array(lists if lists is not None else [[1]] * len(ndcg))
    return RankingEvaluation(1, {"ndcg": np.array(ndcg)}, made, np.zeros(made.shape, dtype=bool), 6)


def queries(n: int, targets=("b",)) -> Queries:
    return Queries((UserState(),) * n, (tuple(targets),) * n)


def test_a_gap_that_lots_never_give_is_beyond_noise_and_one_that_they_often_give_is_not():
    generator = np.random.default_rng(0)
    noise = generator.random(200)
    gender, shirt = ["F"] * 80 + ["M"] * 120, generator.choice(["red", "blue", "green"], 200).tolist()
    ndcg = noise * 0.2 + np.array([0.3] * 80 + [0.0] * 120)
    rows = audit_gaps(evaluated(ndcg), queries(200), IDS, 1, {"gender": gender, "shirt": shirt})
    by_gender, by_shirt = rows
    assert (by_gender["grouping"], by_gender["metric"]) == ("gender", "ndcg_at_1")
    assert (by_gender["best"], by_gender["worst"], by_gender["beyond_noise"]) == ("F", "M", True)
    assert by_gender["gap"] == pytest.approx(ndcg[:80].mean() - ndcg[80:].mean())
    assert 0.25 < by_gender["low"] < by_gender["gap"] < by_gender["high"] < 0.35
    assert by_gender["groups"]["F"]["n"] == 80
    assert by_gender["p_value"] == pytest.approx(1 / 2001)
    assert by_gender["adjusted_p_value"] == pytest.approx(2 / 2001)  # two groupings
    assert (by_shirt["beyond_noise"], by_shirt["adjusted_p_value"] > 0.05) == (False, True)
    (warning,) = gap_warnings({"gaps": rows})
    assert warning.startswith("ndcg_at_1 differs by gender beyond noise: F 0.")
    assert "(n = 80)" in warning
    assert "corrected for 2 groupings" in warning


def test_noise_alone_is_seldom_called_a_gap():
    """Of forty shops without any gap about one in twenty may be warned of."""
    generator = np.random.default_rng(3)
    warned = 0
    for shop in range(40):
        ndcg = np.where(generator.random(60) < 0.2, generator.random(60), 0.0)  # most users have no hit
        group = generator.choice(list("abcde"), 60).tolist()
        warned += bool(gap_warnings({"gaps": audit_gaps(evaluated(ndcg), queries(60), IDS, shop, {"group": group})}))
    assert warned <= 6


def test_small_groups_take_no_part():
    rows = audit_gaps(evaluated([1.0] * 12 + [0.0] * 9), queries(21), IDS, 1, {"group": ["a"] * 12 + ["b"] * 9})
    assert rows == []
    assert gap_warnings({}) == []


def test_wanted_items_are_grouped_by_popularity_and_drawn_by_user():
    catalogue = catalogue_of([catalogue_row(name, n) for name, n in zip("abcdef", [0, 1, 1, 2, 3, 5], strict=True)])
    place = catalogue.ids.index
    asked = Queries((UserState(),) * 40, (("f", "b"),) * 40)
    model = evaluated([0.0] * 40, [[place("f")]] * 30 + [[place("a")]] * 10)
    (row,) = audit_gaps(model, asked, catalogue.ids, 1, catalogue=catalogue)
    assert (row["grouping"], row["metric"], row["best"], row["worst"]) == (
        ITEM_POPULARITY, "recall_at_1", "popular third", "rare third",
    )  # fmt: skip
    assert (row["gap"], row["beyond_noise"]) == (0.75, True)
    assert row["groups"]["popular third"] == {"n": 40, "mean": 0.75}


def test_values_of_one_user_are_drawn_together():
    """Ten users with a hundred equal values each are ten draws, not a thousand: the interval is wide."""
    users = np.repeat(np.arange(10), 100)
    group = np.repeat(np.arange(10) % 2, 100)
    values = np.repeat(np.random.default_rng(0).random(10), 100)
    together = Clusters.of(values, group, users)
    apart = Clusters.of(values, group, np.arange(1000))
    assert (together.spans_groups, apart.spans_groups) == (True, False)
    wide, narrow = (np.ptp(one.interval(0, 1, seed=1)) for one in (together, apart))
    assert wide > 4 * narrow
    assert together.range_p_value(seed=1) > apart.range_p_value(seed=1)


def test_lots_are_of_the_groups_own_sizes():
    values = np.array([1.0, 0.0, 0.0, 0.0])
    # Whoever is drawn, one value stands alone: 1 - 0, or 1/3 with the sign turned. The first is one draw in four.
    assert group_range_p_value(values, np.array([0, 1, 1, 1]), seed=0) == pytest.approx(0.25, abs=0.03)
    assert group_range_p_value(values, np.array([1, 0, 1, 1]), seed=0) == 1.0
    assert holm(np.array([])).tolist() == []
