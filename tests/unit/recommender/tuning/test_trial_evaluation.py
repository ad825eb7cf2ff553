"""A trial is evaluated as it would be served, on the validation window alone, and compared query by query."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.settings.models import BlendSettings, ItemKnnSettings, NeighbourSettings
from recommender.bundle.loading import load_ranker
from recommender.errors import BundleError
from recommender.evaluation.evaluation import evaluate_ranker
from recommender.fitting.context import FitContext
from recommender.inputs.queries import read_queries
from recommender.ranking import blend_training
from recommender.ranking.blend import Blend
from recommender.ranking.blend_training import fit_blend
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.tuning.trial_evaluation import evaluate_on_validation, measure_gain, read_ndcg, write_ndcg
from tests.unit.recommender.ranking.test_choice_over_time import N_USERS, SUMMER, WINTER, shop_of
from tests.unit.recommender.tiny_shop import QUICK, save_random_vectors, write_training_set

K = 5
MEAN = BlendSettings(kind="mean")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    training = write_training_set(folder / "training")
    save_random_vectors(training, folder / "vectors")
    fit_sequence(FitContext(training, 1, k=K, threads=1), folder / "vectors", folder / "sequence", QUICK, 6)
    fit_as(folder, MEAN)
    return folder


def parts_of(shop):
    return FitContext(shop / "training", 1, K, 1), shop / "vectors", shop / "sequence", shop / "blend"


def fit_as(shop, blend):
    fit_blend(*parts_of(shop), (NeighbourSettings(regularisation=1.0), ItemKnnSettings()), blend)


def evaluated(shop, blend=MEAN):
    return evaluate_on_validation(*parts_of(shop), blend)


def test_it_is_the_blend_that_is_evaluated(shop):
    ranker = load_ranker(shop / "vectors", shop / "sequence", shop / "blend")
    alone = load_ranker(shop / "vectors", shop / "sequence", None)
    queries = read_queries(shop / "training", "validation")
    got = evaluated(shop)
    assert np.array_equal(got, evaluate_ranker(ranker, queries, K).per_query["ndcg"])
    assert not np.array_equal(got, evaluate_ranker(alone, queries, K).per_query["ndcg"])


def test_the_test_window_has_no_part_in_it(shop):
    before = evaluated(shop)
    file = shop / "training" / "queries.parquet"
    whole = pq.read_table(file)
    pq.write_table(whole.filter([split != "test" for split in whole["split"].to_pylist()]), file)
    try:
        assert np.array_equal(evaluated(shop), before)
    finally:
        pq.write_table(whole, file)


def test_where_there_are_many_queries_every_trial_is_evaluated_on_the_same(shop, monkeypatch):
    everything = evaluated(shop)
    monkeypatch.setattr("recommender.tuning.trial_evaluation.MAX_QUERIES", 15)
    assert len(evaluated(shop)) == 15 < len(everything)
    assert np.array_equal(evaluated(shop), evaluated(shop))


@pytest.mark.parametrize(("late_fashion", "network_wins"), [(WINTER, False), (SUMMER, True)])
def test_a_kind_that_learns_the_windows_fashion_by_heart_wins_only_where_it_lasts(tmp_path, late_fashion, network_wins):
    """By the queries that it was fitted on, the network wins in both."""
    shop, found = shop_of(tmp_path, late_fashion), {}
    for kind in ("weighted", "network"):
        fit_as(shop, BlendSettings(kind=kind))
        found[kind] = evaluated(shop, BlendSettings(kind=kind))
        assert len(found[kind]) == N_USERS
    assert (found["network"].mean() > found["weighted"].mean()) == network_wins


def test_what_is_judged_in_the_later_half_taught_the_blend_nothing(tmp_path, monkeypatch):
    shop = shop_of(tmp_path, WINTER)
    fit_as(shop, BlendSettings(kind="weighted"))
    taught = []

    def weigh(some):
        taught.append(some.n_targets.tolist())
        return Blend("weighted", {"neighbours": 1.0})

    monkeypatch.setitem(blend_training.WEIGHED, "weighted", weigh)
    got = evaluated(shop, BlendSettings(kind="weighted"))
    assert taught == [[2] * N_USERS]  # of four targets each, two in the earlier half
    ranker = load_ranker(shop / "vectors", shop / "sequence", shop / "blend")
    ranker.blend = Blend("weighted", {"neighbours": 1.0})
    late = evaluate_ranker(ranker, read_queries(shop / "training", "validation_late"), K).per_query["ndcg"]
    assert np.array_equal(got, late)


def test_without_halves_nobody_is_judged_by_what_they_taught(shop, monkeypatch):
    everybody, taught, judged = read_queries(shop / "training", "validation").user_ids, [], []

    def of(standard, queries, *given):
        taught.append(queries.user_ids)
        return queries

    def evaluate(ranker, queries, k):
        judged.append(queries.user_ids)
        return evaluate_ranker(ranker, queries, k)

    monkeypatch.setitem(blend_training.WEIGHED, "mean", lambda some: Blend("mean", {"neighbours": 1.0}))
    monkeypatch.setattr("recommender.tuning.trial_evaluation.Candidates.of", of)
    monkeypatch.setattr("recommender.tuning.trial_evaluation.evaluate_ranker", evaluate)
    assert len(evaluated(shop)) == len(everybody)
    assert len(judged) == 5
    assert sorted(user for fold in judged for user in fold) == sorted(everybody)
    for learned, asked in zip(taught, judged, strict=True):
        assert sorted([*learned, *asked]) == sorted(everybody)


def test_a_gain_is_beyond_noise_only_where_most_queries_share_it():
    before = np.linspace(0.1, 0.5, 50)
    sure = measure_gain([before, before], [before + 0.02, before + 0.04], 1, confirmed=True)
    assert sure.gain == pytest.approx(0.03)
    assert (sure.before, sure.after) == pytest.approx((0.3, 0.33))
    assert (sure.n_seeds, sure.n_queries, sure.is_beyond_noise) == (2, 50, True)
    wild = np.where(np.arange(50) % 2 == 0, 0.5, -0.48)
    unsure = measure_gain([before], [before + wild], 1, confirmed=False)
    assert unsure.gain > 0
    assert not unsure.is_beyond_noise


def test_an_evaluation_is_kept_and_a_lost_one_is_named(tmp_path):
    file = tmp_path / "search" / "trial-000-seed-7.npy"
    write_ndcg(file, np.array([0.5, 0.25]))
    assert read_ndcg(file).tolist() == [0.5, 0.25]
    with pytest.raises(BundleError, match="trial-001"):
        read_ndcg(tmp_path / "trial-001.npy")
