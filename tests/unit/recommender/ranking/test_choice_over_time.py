"""What is chosen where fashions change within the validation window, and where they last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.settings.models import BlendKind, BlendSettings, ItemKnnSettings, NeighbourSettings, SequenceSettings
from core.storage import file_digest
from recommender.errors import TrainingDataError
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.inputs.queries import read_queries
from recommender.ranking.blend import Blend
from recommender.ranking.blend_training import fit_blend, options_of
from recommender.ranking.candidates import Candidates
from recommender.ranking.choice import MIN_LEARNED, MIN_QUERIES, Halves, Option, Way
from recommender.retrieval.sequence.fit import fit_sequence
from tests.unit.recommender.tiny_shop import (
    N_ITEMS,
    history,
    item,
    save_random_vectors,
    write,
    write_training_set,
)

N_USERS = 120
# What everybody takes in the earlier and in the later half of a window, told by the price alone.
SUMMER, WINTER = range(2, N_ITEMS, 6), range(5, N_ITEMS, 6)
PRICES = {**{item(n): 1.0 for n in SUMMER}, **{item(n): 100.0 for n in WINTER}}


def shop_of(folder: Path, late_fashion: range, n_late: int = N_USERS) -> Path:
    """Users go on with their walk, and in each half of the window everybody takes something of its fashion too.

    Args:
        late_fashion: That of the later half; the earlier one's is `SUMMER`.
        n_late: How many users are asked in the later half.
    """
    training, vectors = write_training_set(folder / "training", n_users=N_USERS), folder / "vectors"
    save_random_vectors(training, vectors)
    settings = SequenceSettings(width=8, max_epochs=1, learning_rate=1e-6, n_negatives=6)
    fit_sequence(FitContext(training, 1, k=5, threads=1), vectors, folder / "sequence", settings, 6)
    generator, rows = np.random.default_rng(7), []

    def new_of(fashion: range, seen: list[str]) -> str:
        return str(generator.choice([item(n) for n in fashion if item(n) not in seen]))

    for user, row in enumerate(asked_of(training)):
        walk, seen = row["history_items"], list(row["history_items"])
        follows = [item(int(walk[-1][1:]) + step) for step in range(1, 20)]
        halves = []
        for fashion in (SUMMER, late_fashion):
            halves.append([next(one for one in follows if one not in seen)])
            halves[-1].append(new_of(fashion, [*seen, *halves[-1]]))
            seen += halves[-1]
        early, late = halves
        whole = {"targets": [*early, *late], "n_early_targets": len(early)}
        rows.append({"user_id": f"u{user}", "split": "validation", **history(walk), **whole})
        if user < n_late:
            then = {**history([*walk, *early]), "targets": late}
            rows.append({"user_id": f"u{user}", "split": "validation_late", **then})
    write(training, "queries", rows)
    prices = [{"item_id": item(n), "item_price": PRICES.get(item(n), 10.0)} for n in range(N_ITEMS)]
    write(training, "items_then", [{**one, "split": w} for w in ("validation", "validation_late") for one in prices])
    return folder


def asked_of(training: Path) -> list[dict[str, Any]]:
    return [{"history_items": list(user.items)} for user in read_queries(training, "validation").users]


def fit(shop: Path, name: str = "blend", held: Path | None = None) -> FitSummary:
    return fit_blend(
        FitContext(shop / "training", 1, k=5, threads=1, held=held),
        shop / "vectors",
        shop / "sequence",
        shop / name,
        (NeighbourSettings(regularisation=1.0), ItemKnnSettings()),
        BlendSettings(),
    )


def test_what_was_learned_of_a_fashion_that_passes_is_not_chosen(tmp_path: Path) -> None:
    """Over users of the whole window it is told at once: all of them take what costs little, or much."""
    shop = shop_of(tmp_path, WINTER)
    summary = fit(shop)
    assert summary.choices["correction_judged_by"] == "time"
    assert summary.metrics["later_ndcg_at_5_network"] < summary.metrics["later_ndcg_at_5_uncorrected"]
    assert Blend.load(shop / "blend").kind not in ("network", "trees")


def test_what_was_learned_of_a_fashion_that_lasts_is_chosen_and_a_refit_holds_it(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, SUMMER)
    assert fit(shop).choices["correction_judged_by"] == "time"
    assert Blend.load(shop / "blend").kind in ("network", "trees")
    again = fit(shop, "again", held=shop / "blend")
    assert again.choices["correction_judged_by"] == "time"
    assert Blend.load(shop / "again") == Blend.load(shop / "blend")


def test_equal_input_gives_equal_files(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, SUMMER)
    one, two = fit(shop, "one"), fit(shop, "two")
    assert (one.choices, one.metrics) == (two.choices, two.metrics)
    names = {file.name for file in (shop / "one").iterdir()} - {"summary.json"}
    assert "correction.json" in names
    for name in names:
        assert file_digest(shop / "one" / name) == file_digest(shop / "two" / name)


def test_a_window_without_halves_is_judged_by_other_users_who_cannot_tell_that_a_fashion_passes(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, WINTER, n_late=0)
    rows = pq.read_table(shop / "training" / "queries.parquet").to_pylist()
    write(shop / "training", "queries", [{**row, "n_early_targets": None} for row in rows])
    assert fit(shop).choices["correction_judged_by"] == "users"
    assert Blend.load(shop / "blend").kind in ("network", "trees")


@pytest.mark.parametrize(("n_late", "n_early"), [(0, N_USERS), (MIN_QUERIES - 1, N_USERS), (N_USERS, MIN_LEARNED - 1)])
def test_where_a_half_has_too_few_users_to_judge_by_other_users_of_the_window_do(
    tmp_path: Path, n_late: int, n_early: int
) -> None:
    shop = shop_of(tmp_path, WINTER, n_late)
    rows = pq.read_table(shop / "training" / "queries.parquet").to_pylist()
    late_ones = {f"u{n}" for n in range(n_early, N_USERS)}
    write(
        shop / "training",
        "queries",
        [{**row, "n_early_targets": 0} if row["user_id"] in late_ones else row for row in rows],
    )
    summary = fit(shop)
    assert summary.choices["correction_judged_by"] == "users"
    assert not any(name.startswith("later_") for name in summary.metrics)
    assert Blend.load(shop / "blend").kind in ("network", "trees")


def test_a_small_window_is_corrected_by_nothing(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, SUMMER)
    rows = pq.read_table(shop / "training" / "queries.parquet").to_pylist()
    few = {f"u{n}" for n in range(MIN_LEARNED - 1)}
    write(shop / "training", "queries", [row for row in rows if row["user_id"] in few])
    assert fit(shop).choices["correction_judged_by"] == "nothing"
    assert Blend.load(shop / "blend").kind not in ("network", "trees")


@pytest.mark.parametrize("kind", ["network", "trees"])
def test_a_correction_that_is_asked_for_is_learned_where_all_targets_are_of_one_fold(kind: BlendKind) -> None:
    n = 8
    scores = np.random.default_rng(1).normal(size=(n, 3, 2)).astype(np.float32)
    places, wanted = np.tile(np.arange(3), (n, 1)), np.zeros((n, 3), dtype=bool)
    features = np.zeros((n * 3, 1), dtype=np.float32)
    ones = np.ones(n, dtype=int)

    def options(wanted: np.ndarray) -> list[Option]:
        candidates = Candidates(("sequence", "text"), places, scores, wanted, ones, ones, features)
        settings = BlendSettings(kind=kind)
        return options_of(settings, candidates, FitContext(Path(), 1, k=2, threads=1), ("one",), correct=True)

    with pytest.raises(TrainingDataError, match="among their candidates=0"):
        options(wanted)
    wanted[3, 1] = True
    (option,) = options(wanted)
    assert option.way.correction is not None


def test_a_way_is_judged_by_what_came_later_and_fitted_on_the_whole_window_then() -> None:
    n = 6
    scores, places = np.stack([np.eye(n), np.eye(n)[::-1]], axis=2).astype(np.float32), np.tile(np.arange(n), (n, 1))
    ones, nothing = np.ones(n, dtype=int), np.zeros((n * n, 0), dtype=np.float32)

    def wanting(targets: np.ndarray) -> Candidates:
        return Candidates(("sequence", "text"), places, scores, targets, ones, ones, nothing)

    same, other = np.eye(n, dtype=bool), np.eye(n, dtype=bool)[::-1]
    halves = Halves(whole=wanting(same | other), early=wanting(same), late=wanting(other))
    fitted_on: list[int] = []

    def fit_way(candidates: Candidates) -> Way:
        fitted_on.append(int(candidates.wanted.sum()))
        best = "sequence" if candidates.wanted.sum() == n else "text"
        return Way(Blend("weighted", {best: 1.0}))

    found = halves.forward(fit_way, k=1, level=1)
    assert sorted(fitted_on) == [n, 2 * n]
    assert found.way.blend.parts == ("text",)  # that of the whole window
    assert found.ndcg.tolist() == [0.0] * n  # that of the earlier half, asked about the later one
