"""How parts are blended: what each kind weighs, and what comes back from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.storage import write_json
from recommender.errors import BundleError
from recommender.ranking.blend import CONFIG_FILE, Blend, ColdItems, standardised

BOTH = {"sequence": 1.0, "neighbours": 0.25}


def test_each_kind_weighs_as_it_says() -> None:
    lengths = np.array([0, 1, 10])
    assert Blend("none").weight_of("sequence", lengths).tolist() == [1, 1, 1]
    assert Blend("none").weight_of("neighbours", lengths).tolist() == [0, 0, 0]
    assert Blend("weighted", BOTH).weight_of("neighbours", lengths).tolist() == [0.25] * 3
    gate = Blend("gate", {"sequence": 1.0, "neighbours": 1.0}, slope=1.0, offset=-1.0)
    assert gate.weight_of("neighbours", lengths) == pytest.approx(1 / (1 + np.exp(1 - np.log1p(lengths))))
    assert gate.weight_of("sequence", lengths).tolist() == [1, 1, 1]


def test_a_share_is_a_parts_scores_times_the_weight_of_each_history() -> None:
    scores = {name: np.array([[1.0, -2.0], [3.0, 0.5]], dtype=np.float32) for name in ("neighbours", "sequence")}
    shares = Blend("weighted", {**BOTH, "text": 0.0}).shares(scores, np.array([1, 9]))
    assert shares["neighbours"].tolist() == [[0.25, -0.5], [0.75, 0.125]]
    assert shares["sequence"].tolist() == scores["sequence"].tolist()
    assert set(shares) == set(BOTH)  # a part of weight 0 is not asked
    gate = Blend("gate", {"sequence": 1.0, "neighbours": 1.0}, slope=1.0, offset=-1.0)
    first, second = gate.weight_of("neighbours", np.array([1, 9]))
    rows = scores["neighbours"]
    np.testing.assert_array_equal(
        gate.shares(scores, np.array([1, 9]))["neighbours"], [first * rows[0], second * rows[1]]
    )


def test_a_cold_item_is_lifted_beside_what_its_text_says() -> None:
    cosines = np.array([[0.5, -0.25]], dtype=np.float32)
    assert ColdItems(text_weight=2.0, lift=-1.0).part(cosines).tolist() == [[0.0, -1.5]]


def test_standardised_rows_have_mean_0_and_deviation_1_and_equal_scores_say_nothing() -> None:
    rows = standardised(np.array([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]]))
    assert rows[0].mean() == pytest.approx(0, abs=1e-6)
    assert rows[0].std() == pytest.approx(1)
    assert rows[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [0.1, 12.3456, 1.0, -7.7, 3e5])
@pytest.mark.parametrize("n_items", [300, 50_021])
def test_equal_scores_say_nothing_whatever_their_mean_is_rounded_to(value: float, n_items: int) -> None:
    assert not standardised(np.full((1, n_items), value, dtype=np.float32)).any()
    rounding = np.random.default_rng(0).choice([-1, 0, 1], n_items) * np.spacing(np.float32(value))
    assert not standardised((np.float32(value) + rounding)[None].astype(np.float32)).any()


def test_a_single_other_score_among_many_equal_ones_is_told() -> None:
    scores = np.full((1, 50_021), 0.1, dtype=np.float32)
    scores[0, 7] = 0.2
    rows = standardised(scores)[0]
    assert rows[7] == pytest.approx(np.sqrt(50_020), rel=1e-3)
    assert np.abs(np.delete(rows, 7)).max() < 0.01


def test_it_loads_back_equal(tmp_path: Path) -> None:
    blend = Blend("gate", BOTH, slope=0.5, offset=-1.0)
    blend.save(tmp_path)
    assert Blend.load(tmp_path) == blend
    write_json(tmp_path / CONFIG_FILE, {"kind": "gate", "steepness": 3})
    with pytest.raises(BundleError, match="steepness"):
        Blend.load(tmp_path)
