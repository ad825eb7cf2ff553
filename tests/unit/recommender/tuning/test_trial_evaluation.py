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
from recommender.ranking.blend_training import fit_blend
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.tuning.trial_evaluation import evaluate_on_validation, measure_gain, read_ndcg, write_ndcg
from tests.unit.recommender.tiny_shop import QUICK, save_random_vectors, write_training_set

K = 5


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    training = write_training_set(folder / "training")
    save_random_vectors(training, folder / "vectors")
    fit_sequence(FitContext(training, 1, k=K, threads=1), folder / "vectors", folder / "sequence", QUICK, 6)
    neighbours, blend = NeighbourSettings(regularisation=1.0), BlendSettings(kind="mean")
    parts = (folder / "vectors", folder / "sequence", folder / "blend")
    fit_blend(FitContext(training, 1, K, 1), *parts, (neighbours, ItemKnnSettings()), blend)
    return folder


def evaluated(shop):
    context = FitContext(shop / "training", 1, K, 1)
    return evaluate_on_validation(context, shop / "vectors", shop / "sequence", shop / "blend")


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
