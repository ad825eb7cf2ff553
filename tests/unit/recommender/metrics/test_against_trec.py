"""Every ranking metric against TREC's own code, on random rankings: several targets, short lists, misses, ties."""

import ir_measures
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking import ranking_auc
from recommender.metrics.ranking_evaluation import evaluate_ranker

K, N_ITEMS, N_USERS = 10, 30, 80
ITEMS = [f"i{n}" for n in range(N_ITEMS)]
# precision is over k even where a list is short; map is over min(targets, k), TREC's over all targets.
PEERS = {
    "ndcg": ir_measures.nDCG @ K,
    "recall": ir_measures.R @ K,
    "precision": ir_measures.P @ K,
    "mrr": ir_measures.RR @ K,
    "hit_rate": ir_measures.Success @ K,
    "map": ir_measures.AP @ K,
}


class Random:
    """Few different scores, so that many are equal; some users have fewer than k items left."""

    def __init__(self) -> None:
        generator = np.random.default_rng(5)
        self.ids = IdMap(tuple(ITEMS))
        self.table = generator.integers(0, 8, (N_USERS, N_ITEMS)).astype(np.float32)
        for row in range(0, N_USERS, 7):
            self.table[row, generator.choice(N_ITEMS, N_ITEMS - 4, replace=False)] = -np.inf

    def scores(self, users):
        return self.table[: len(users)].copy()


@pytest.fixture(scope="module")
def queries() -> Queries:
    generator = np.random.default_rng(6)
    wanted = [generator.choice(N_ITEMS, generator.integers(1, 15), replace=False) for _ in range(N_USERS)]
    targets = [tuple(ITEMS[n] for n in one) for one in wanted]
    targets[3] = ("unknown", targets[3][0])
    return Queries((UserState(),) * N_USERS, tuple(targets))


@pytest.fixture(scope="module")
def evaluation(queries):
    return evaluate_ranker(Random(), queries, K)


@pytest.fixture(scope="module")
def trec(queries, evaluation) -> dict[str, np.ndarray]:
    """TREC's value of each metric and user, for the very lists that were evaluated; a place's score is k - place."""
    qrels = [ir_measures.Qrel(str(u), item, 1) for u, wanted in enumerate(queries.targets) for item in wanted]
    run = [
        ir_measures.ScoredDoc(str(user), ITEMS[index - 1], float(K - place))
        for user, row in enumerate(evaluation.lists)
        for place, index in enumerate(row)
        if index
    ]
    values = {name: np.zeros(N_USERS) for name in PEERS}
    names = {str(peer): name for name, peer in PEERS.items()}
    for one in ir_measures.iter_calc(list(PEERS.values()), qrels, run):
        values[names[str(one.measure)]][int(one.query_id)] = one.value
    return values


@pytest.mark.parametrize("name", ["ndcg", "recall", "precision", "mrr", "hit_rate"])
def test_a_metric_is_trecs(name, evaluation, trec):
    np.testing.assert_allclose(evaluation.per_query[name], trec[name], atol=1e-6)
    assert 0 < evaluation.per_query[name].mean() < 1


def test_map_is_trecs_but_for_its_denominator(evaluation, trec, queries):
    ours = evaluation.per_query["map"] * np.minimum(queries.n_targets, K) / queries.n_targets
    np.testing.assert_allclose(ours, trec["map"], atol=1e-6)


def test_f1_is_the_harmonic_mean_of_trecs_two(evaluation, trec):
    both = trec["precision"] + trec["recall"]
    by_trec = np.divide(2 * trec["precision"] * trec["recall"], both, out=np.zeros(N_USERS), where=both > 0)
    np.testing.assert_allclose(evaluation.per_query["f1"], by_trec, atol=1e-6)


def test_the_lists_hold_ties_and_are_partly_short(evaluation):
    assert (evaluation.lists == 0).any()
    assert len(np.unique(Random().table)) < 10


def test_auc_is_scikit_learns():
    generator = np.random.default_rng(7)
    for n_targets in (1, 3, 9):
        scores = generator.integers(0, 12, N_ITEMS).astype(np.float32)
        targets = generator.choice(N_ITEMS, n_targets, replace=False)
        truth = np.isin(np.arange(N_ITEMS), targets)
        assert ranking_auc(scores, targets.tolist(), n_targets) == pytest.approx(roc_auc_score(truth, scores))


def test_auc_counts_what_is_not_ranked_as_last():
    scores = np.array([2.0, 1.0, -np.inf, 3.0])
    assert ranking_auc(scores, [0], 1) == 0.5
    assert ranking_auc(scores, [0], 2) == 0.25  # the other target is unknown
    assert ranking_auc(scores, [2], 1) == 0
