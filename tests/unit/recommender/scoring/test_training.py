"""Fitting the pair scorer on a small shop with a known law: users like items of their own kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from core import schema
from core.settings.models import ScorerSettings
from core.storage import file_digest
from recommender.errors import BundleError, NotFinite
from recommender.evaluation.scorer import evaluate_scorer
from recommender.fitting.context import FitContext
from recommender.inputs.catalogue import CATALOGUE_FILE, Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.rated_pairs import RatedPairs
from recommender.inputs.user import UserState
from recommender.scoring.factors import Ratings, fit_factors
from recommender.scoring.scorer import Calibration, PairScorer
from recommender.scoring.training import fit_baseline, fit_calibration, fit_scorer, learn_factors, with_unknown_users
from tests.unit.recommender.tiny_shop import write

N_ITEMS = 20

SETTINGS = ScorerSettings(hidden=8, max_epochs=4, batch_size=64, learning_rate=3e-3, factors=4, factor_steps=5)


def write_shop(folder: Path, n_train: int, n_validation: int = 60, n_test: int = 60) -> tuple[Path, Path]:
    """Items of two kinds; a user of kind k gives 5 to items of that kind and 2 to the others. Training set, vectors."""
    random = np.random.default_rng(1)
    training, vectors = folder / "training", folder / "vectors"
    training.mkdir(parents=True)
    vectors.mkdir()
    catalogue = [
        {
            schema.ITEM_ID: f"i{item}",
            schema.ITEM_TEXT: f"item {item}",
            schema.ITEM_N_EVENTS: 1,
            schema.ITEM_MEAN_RATING: 3.5,
            schema.ITEM_N_RATINGS: 5,
        }
        for item in range(N_ITEMS)
    ]
    pairs = []
    for row in range(n_train + n_validation + n_test):
        kind, item = random.integers(2), random.integers(N_ITEMS)
        history = random.choice(N_ITEMS, size=6, replace=False).tolist()
        pairs.append(
            {
                schema.USER_ID: f"u{row}",
                schema.ITEM_ID: f"i{item}",
                schema.RATING: 5.0 if item % 2 == kind else 2.0,
                schema.SPLIT: "train" if row < n_train else "validation" if row < n_train + n_validation else "test",
                schema.HISTORY_ITEMS: [f"i{seen}" for seen in history],
                schema.HISTORY_VALUES: [5.0 if seen % 2 == kind else 2.0 for seen in history],
                schema.MEAN_RATING: 3.5,
                schema.N_RATINGS: 6,
                schema.ITEM_MEAN_RATING: 3.5,
                schema.ITEM_N_RATINGS: 5,
            }
        )
    write(training, "catalogue", catalogue)
    write(training, "pairs", pairs)
    items = Catalogue.read(training, seed=5)
    rows = np.array([[1.0, 0.1] if int(item[1:]) % 2 else [-1.0, 0.1] for item in items.ids])
    ItemVectors.from_rows(items, rows / math.hypot(1.0, 0.1)).save(vectors)
    return training, vectors


def test_it_learns_the_law_and_beats_the_baselines(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=400)
    lines: list[str] = []
    summary = fit_scorer(
        FitContext(training, 1, threads=1, progress=lines.append), vectors, tmp_path / "scorer", SETTINGS
    )
    assert summary is not None
    assert summary.metrics["rmse"] < summary.metrics["baseline_rmse"]
    assert 0 <= summary.best_epoch <= summary.epochs <= 4
    assert lines[0].startswith("pair scorer epoch 1/4: loss")
    evaluated = evaluate_scorer(PairScorer.load(tmp_path / "scorer", ItemVectors.load(vectors)), training, "test")
    models = evaluated["models"]
    assert evaluated["n_pairs"] == 60
    assert models["pair_scorer"]["auc"] > 0.95
    assert models["pair_scorer"]["accuracy"] > 0.9
    assert models["pair_scorer"]["rmse"] < 0.8 * models["user_item_bias"]["rmse"]
    assert models["pair_scorer"]["mae_of_median"] <= models["pair_scorer"]["mae"]
    assert models["global_mean"]["auc"] == pytest.approx(0.5)


def test_one_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=220)
    digests = []
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        fit_scorer(FitContext(training, seed, threads=1), vectors, tmp_path / name, SETTINGS)
        files = sorted((tmp_path / name).glob("scorer.*"))
        assert [file.name for file in files] == ["scorer.json", "scorer.safetensors"]
        digests.append([file_digest(file) for file in files])
    assert digests[0] == digests[1]
    assert digests[0][1] != digests[2][1]


def of_users(training: Path, n_users: int) -> None:
    """Have all ratings of the training set given by so many users, all but the last ones by the first."""
    path = training / "pairs.parquet"
    table = pq.read_table(path)
    users = [f"u{max(n_users - 1 - row, 0)}" for row in range(len(table))]
    place = table.schema.get_field_index(schema.USER_ID)
    pq.write_table(table.set_column(place, table.schema.field(place), [users]), path)


def test_ratings_of_one_user_make_no_scorer_and_say_so(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=250)
    of_users(training, 1)
    lines: list[str] = []
    fit = FitContext(training, 1, threads=1, progress=lines.append)
    assert fit_scorer(fit, vectors, tmp_path / "scorer", SETTINGS) is None
    assert not (tmp_path / "scorer").exists()
    assert lines == ["pair scorer: none, for all 250 rated training pairs are of one user"]


def test_ratings_of_two_users_make_a_scorer(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=250)
    of_users(training, 2)
    assert fit_scorer(FitContext(training, 1, threads=1), vectors, tmp_path / "scorer", SETTINGS) is not None


def test_too_few_ratings_make_no_scorer_and_say_so(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=199)
    lines: list[str] = []
    assert (
        fit_scorer(FitContext(training, 1, threads=1, progress=lines.append), vectors, tmp_path / "scorer", SETTINGS)
        is None
    )
    assert not (tmp_path / "scorer").exists()
    assert lines == ["pair scorer: none, for 199 rated training pairs are fewer than 200"]


def test_without_a_validation_window_a_tenth_is_held_out(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=250, n_validation=0, n_test=0)
    lines: list[str] = []
    assert fit_scorer(FitContext(training, 1, threads=1, progress=lines.append), vectors, tmp_path / "scorer", SETTINGS)
    assert "a tenth of the training pairs is held out instead" in lines[0]
    scorer = PairScorer.load(tmp_path / "scorer", ItemVectors.load(vectors))
    assert evaluate_scorer(scorer, training, "test") == {"n_pairs": 0}


@pytest.mark.parametrize("n_validation", [0, 60])
def test_what_is_held_out_of_training_is_not_read_by_the_catalogue(tmp_path: Path, n_validation: int) -> None:
    """The catalogue's ratings are of the cut-off: held-out training pairs are among them, later ones are not."""
    training, vectors = write_shop(tmp_path, n_train=250, n_validation=n_validation)
    found = []
    for name in ("even", "uneven"):
        summary = fit_scorer(FitContext(training, 1, threads=1), vectors, tmp_path / name, SETTINGS)
        assert summary is not None
        found.append((summary.metrics, summary.choices))
        counted_by(vectors, lambda item: {schema.ITEM_MEAN_RATING: 1.0 + item % 5, schema.ITEM_N_RATINGS: 50})
    assert (found[0] == found[1]) == (n_validation == 0)


def counted_by(vectors: Path, columns: Callable[[int], dict[str, float]]) -> None:
    """Put other numbers into a catalogue, by the number of each item."""
    rows = pq.read_table(vectors / CATALOGUE_FILE).to_pylist()
    write(vectors, "catalogue", [row | columns(int(row[schema.ITEM_ID][1:])) for row in rows])


def test_the_random_state_of_the_process_is_left_alone(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=220)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit_scorer(FitContext(training, 1, threads=1), vectors, tmp_path / "scorer", SETTINGS)
    assert torch.equal(torch.rand(1), expected)


def test_the_baseline_is_of_the_training_ratings(tmp_path: Path) -> None:
    training, _ = write_shop(tmp_path, n_train=220)
    pairs = RatedPairs.read(training, "train")
    baseline = fit_baseline(pairs, like_from=4.0)
    assert baseline.global_mean == pytest.approx(pairs.ratings.mean())
    assert baseline.like_share == pytest.approx((pairs.ratings == 5).mean())


def test_some_pairs_are_learned_once_more_with_a_stranger(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=220)
    pairs, ids = RatedPairs.read(training, "train"), ItemVectors.load(vectors).ids
    factors, opinions = learn_factors(pairs, ids, SETTINGS, seed=1)
    everyone, of_everyone = with_unknown_users(pairs, opinions, share=0.25, seed=1)
    assert len(everyone) == len(of_everyone) == 220 + 55
    assert everyone.users[:220] == pairs.users
    assert set(everyone.users[220:]) == {UserState()}
    assert everyone.ratings[220:].mean() == pytest.approx(pairs.ratings.mean(), abs=0.4)
    assert np.array_equal(of_everyone[:220], opinions[0])
    known = {(item, tuple(opinion)) for item, opinion in zip(pairs.item_ids, opinions[1].tolist(), strict=True)}
    assert {(i, tuple(o)) for i, o in zip(everyone.item_ids[220:], of_everyone[220:].tolist(), strict=True)} <= known
    indices = [ids.index(item) for item in pairs.item_ids]
    of_all = factors.opinions([UserState()] * 220, indices, ids)
    assert np.abs(opinions[1] - of_all)[:, 0].mean() < 0.2, "other parts of the users, the same shop"


def test_no_rating_of_a_user_teaches_the_factors_that_predict_for_the_user(tmp_path: Path) -> None:
    """A user whose ratings are turned round changes the opinions of the others alone, and of their own by history."""
    training, vectors = write_shop(tmp_path, n_train=220)
    pairs, ids = RatedPairs.read(training, "train"), ItemVectors.load(vectors).ids
    turned = replace(pairs, ratings=np.where(np.arange(220) == 7, 6 - pairs.ratings, pairs.ratings))
    (_, before), (_, after) = (learn_factors(one, ids, SETTINGS, seed=1) for one in (pairs, turned))
    assert np.array_equal(before[:, 7], after[:, 7])
    assert not np.array_equal(before, after)


def test_calibration_finds_the_slope_that_made_the_likes() -> None:
    logits = torch.linspace(-4, 4, 4001).unsqueeze(1)
    truth = torch.sigmoid(0.5 * logits[:, 0] - 0.3)
    likes = (torch.rand(len(logits), generator=torch.Generator().manual_seed(0)) < truth).float()
    calibration = fit_calibration(logits, likes)
    assert calibration.slope == pytest.approx(0.5, abs=0.08)
    assert calibration.offset == pytest.approx(-0.3, abs=0.12)


def test_calibration_never_turns_the_order() -> None:
    logits = torch.tensor([[-1.0], [1.0], [2.0], [-2.0]])
    assert fit_calibration(logits, torch.tensor([1.0, 0.0, 0.0, 1.0])) == Calibration()
    assert fit_calibration(logits, torch.ones(4)) == Calibration()


def test_a_fit_that_diverges_ends_at_once_and_leaves_no_component(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=220)
    wild = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(NotFinite, match=r"Cannot fit pair scorer: loss=(nan|inf), .* \(epoch 1\)"):
        fit_scorer(FitContext(training, 1, threads=1), vectors, tmp_path / "scorer", wild)
    assert not (tmp_path / "scorer").exists()


def test_ratings_that_lead_nowhere_name_the_factorisation() -> None:
    ratings = Ratings(torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([4.0, math.nan], dtype=torch.float64))
    with pytest.raises(NotFinite, match=r"Cannot fit matrix factorisation: global_mean has 1 numbers"):
        fit_factors(ratings, n_items=2, rank=2, n_steps=3, seed=1)


def test_an_answer_that_is_no_number_is_not_given(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=220)
    assert fit_scorer(FitContext(training, 1, threads=1), vectors, tmp_path / "scorer", SETTINGS)
    scorer = PairScorer.load(tmp_path / "scorer", ItemVectors.load(vectors))
    with torch.inference_mode():
        scorer.network.heads.bias.fill_(torch.nan)
    for ask in (lambda: scorer.score(UserState(), ["i1"]), lambda: evaluate_scorer(scorer, training, "test")):
        with pytest.raises(NotFinite, match="scores of pair scorer: scores=nan"):
            ask()


def test_a_modality_is_read_where_it_is_on(tmp_path: Path) -> None:
    training, vectors = write_shop(tmp_path, n_train=220)
    items = ItemVectors.load(vectors)
    pictured = replace(items, modality=torch.eye(len(items.text)))
    (tmp_path / "pictured").mkdir()
    pictured.save(tmp_path / "pictured")

    def fit(vectors: Path, use_modality: bool) -> PairScorer:
        settings = SETTINGS.model_copy(update={"use_modality": use_modality})
        assert fit_scorer(FitContext(training, 1, threads=1), vectors, tmp_path / "scorer", settings)
        return PairScorer.load(tmp_path / "scorer", ItemVectors.load(vectors))

    def answers(scorer: PairScorer) -> list[float]:
        return [pair.p_like for pair in scorer.score(UserState.from_history(["i1"]), ["i2", "i3"])]

    without = answers(fit(vectors, True))
    assert answers(fit(tmp_path / "pictured", False)) == without
    scorer = fit(tmp_path / "pictured", True)
    assert scorer.network.project.in_features == items.text.shape[1] + len(items.text)
    assert answers(scorer) != without
    with pytest.raises(BundleError, match="text_width="):
        PairScorer.load(tmp_path / "scorer", items)
