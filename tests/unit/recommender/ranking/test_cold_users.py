"""Cold-start users: popularity, and what users with similar attributes took."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from core import schema
from recommender.errors import BundleError
from recommender.fitting.context import FitContext
from recommender.inputs.item_moments import CountedItems
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries, read_queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import NdcgOfScores
from recommender.ranking.cold_users import ColdUsers, ColdUserWeights, Encode
from recommender.ranking.cold_users_training import (
    RANK,
    RIDGES,
    WEIGHTS,
    ColdUserChoices,
    TrainingUsers,
    _Regression,
    choose_shares,
    fit_cold_users,
    refit_cold_users,
)
from recommender.ranking.ranker import Ranker
from tests.unit.recommender.ranking.test_cold_items import model_of
from tests.unit.recommender.tiny_shop import (
    N_ITEMS,
    catalogue_row,
    history,
    item,
    random_vectors,
    write,
    write_training_set,
)

COOK, READER = UserState(attributes="cook"), UserState(attributes="reader")
HALF = N_ITEMS // 2


def encode(texts: Sequence[str]) -> np.ndarray:
    """Cooks and readers are told apart; any other text is noise of its own."""
    known = {"cook": [1.0, 0.0, 0.0], "reader": [0.0, 1.0, 0.0]}
    rows = [known.get(text) or np.random.default_rng([*text.encode()]).normal(size=3) for text in texts]
    return np.array(rows, dtype=np.float32)


def write_walks(folder: Path, told: Sequence[str]) -> None:
    """As many users as texts: every second one takes four items of the first half, the others of the second."""
    generator = np.random.default_rng(7)
    sequences, queries = [], []
    for number, text in enumerate(told):
        taken = [item(n + HALF * (number % 2)) for n in generator.permutation(HALF)[:5]]
        row = {"user_id": f"u{number}", **history(taken[:4]), "attributes": text}
        sequences.append(row)
        queries.append({**row, "split": "validation", "targets": taken[4:]})
    write(folder, "sequences", sequences)
    write(folder, "queries", queries)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    folder = write_training_set(tmp_path / "training")
    write_walks(folder, ["cook", "reader"] * 150)
    return folder


def fit(training: Path, encoder: Encode | None = encode) -> tuple[ColdUserWeights, dict[str, float], ItemVectors]:
    vectors = random_vectors(training)
    users, queries = TrainingUsers.read(training, vectors.ids), read_queries(training, "validation")
    weights, figures, _ = fit_cold_users(FitContext(Path(), 1, k=5), users, queries, vectors.catalogue, encoder)
    return weights, figures, vectors


def test_what_is_told_of_users_ranks_for_them(training: Path) -> None:
    weights, figures, vectors = fit(training)
    assert weights.read_texts
    assert figures["cold_users_ndcg_profile"] > 1.5 * figures["cold_users_ndcg_damped"]
    scores = ColdUsers(weights, encode).scores([COOK, READER])
    of_cooks = np.array([int(name[1:]) < HALF for name in vectors.ids])
    assert scores[0, of_cooks].min() > scores[0, ~of_cooks].max()
    assert scores[1, ~of_cooks].min() > scores[1, of_cooks].max()


def test_texts_that_tell_nothing_are_left_out(tmp_path: Path) -> None:
    folder = write_training_set(tmp_path / "training")
    write_walks(folder, [f"noise {number}" for number in range(300)])
    weights, figures, _ = fit(folder)
    assert not weights.read_texts
    assert "cold_users_ndcg_profile" in figures
    cold_users = ColdUsers(weights, encode)
    assert not cold_users.reads(COOK)
    np.testing.assert_array_equal(cold_users.scores([COOK]), cold_users.scores([UserState()]))


def test_no_encoder_is_asked_where_nothing_is_told(tmp_path: Path) -> None:
    def never(texts: Sequence[str]) -> np.ndarray:
        raise AssertionError(texts)

    folder = write_training_set(tmp_path / "training")
    write_walks(folder, [""] * 300)
    weights, figures, _ = fit(folder, never)
    assert not weights.read_texts
    assert set(figures) == {"cold_users_ndcg_counted", "cold_users_ndcg_damped"}
    write_walks(folder, ["cook", "reader"] * 150)
    assert not fit(folder, None)[0].read_texts


def test_too_few_who_ask_leave_counts(training: Path) -> None:
    write(training, "queries", [{"user_id": "u0", "split": "validation", **history([]), "targets": [item(0)]}])
    weights, figures, vectors = fit(training)
    assert figures == {}
    users = TrainingUsers.read(training, vectors.ids)
    np.testing.assert_allclose(weights.shares, users.counted_shares(), rtol=1e-6)


def test_shares_count_users_and_damped_ones_count_long_histories_less(tmp_path: Path) -> None:
    folder = write_training_set(tmp_path / "training")
    pieces = [
        {"user_id": "much", **history([item(0), item(1), item(2)])},
        {"user_id": "much", **history([item(3), item(0)])},
        {"user_id": "little", **history([item(0), "unheard of"])},
        {"user_id": "nothing", **history(["unheard of"])},
    ]
    write(folder, "sequences", pieces)
    ids = random_vectors(folder).ids
    users = TrainingUsers.read(folder, ids)
    assert users.ids.tolist() == ["much", "little"]
    place = {name: ids.index(name) - 1 for name in (item(0), item(3), item(4))}
    counted, damped = users.counted_shares(), users.damped_shares()
    assert [counted[place[item(n)]] for n in (0, 3, 4)] == [1.0, 0.5, 0.0]
    assert [damped[place[item(n)]] for n in (0, 3, 4)] == pytest.approx([0.75, 0.25, 0.0])


def test_long_histories_count_less_where_that_ranks_better(tmp_path: Path) -> None:
    """Few users with much take what nobody asks for; many with little take what they go on with."""
    folder = write_training_set(tmp_path / "training")
    much = [{"user_id": f"m{n}", **history([item(k) for k in range(12)])} for n in range(60)]
    little = [{"user_id": f"l{n}", **history([item(12 + n % 6), item(12 + (n + 1) % 6)])} for n in range(120)]
    write(folder, "sequences", [*much, *little])
    asked = [
        {"user_id": f"new{n}", "split": "validation", **history([]), "targets": [item(12 + n % 6)]} for n in range(60)
    ]
    write(folder, "queries", asked)
    weights, figures, vectors = fit(folder)
    assert figures["cold_users_ndcg_damped"] > figures["cold_users_ndcg_counted"]
    users = TrainingUsers.read(folder, vectors.ids)
    np.testing.assert_allclose(weights.shares, users.damped_shares(), rtol=1e-6)


def test_what_was_common_of_late_is_taken_where_that_ranks_better(tmp_path: Path) -> None:
    folder = write_training_set(tmp_path / "training")
    write_walks(folder, [""] * 300)
    rows = [{**catalogue_row(item(n), 10), "item_popularity": [0, 5 if n in (3, 4) else 0, 7]} for n in range(N_ITEMS)]
    write(folder, "catalogue", rows)
    asked = [{"user_id": f"new{n}", "split": "validation", **history([]), "targets": [item(3)]} for n in range(60)]
    write(folder, "queries", asked)
    weights, figures, vectors = fit(folder)
    # Nothing happened in the shortest window.
    assert set(figures) == {f"cold_users_ndcg_{name}" for name in ("counted", "damped", "recent_2", "recent_3")}
    assert figures["cold_users_ndcg_recent_2"] > figures["cold_users_ndcg_damped"]
    best = Ranker(vectors, model_of(vectors), cold_users=ColdUsers(weights, encode)).top_k([UserState()], 2)
    assert {name for name, _ in best[0]} == {item(3), item(4)}
    users = TrainingUsers.read(folder, vectors.ids)
    assert weights.shares.sum() == pytest.approx(users.damped_shares().sum())


def counted_then(counts: dict[int, list[int]]) -> CountedItems:
    rows = [{**catalogue_row(item(n), 10), "item_popularity": counts.get(n, [0, 0])} for n in range(N_ITEMS)]
    return CountedItems(pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES["catalogue"]))


def test_a_recent_window_ends_when_the_user_asks(training: Path, tmp_path: Path) -> None:
    rows = [{**catalogue_row(item(n), 10), "item_popularity": [5 if n == 3 else 0, 7]} for n in range(N_ITEMS)]
    write(training, "catalogue", rows)
    vectors = random_vectors(training)
    users = TrainingUsers.read(training, vectors.ids)
    refit_cold_users(FitContext(training), users, ColdUserChoices("recent_1"), vectors.catalogue, None).save(tmp_path)
    weights = ColdUserWeights.load(tmp_path)
    ranker = Ranker(vectors, model_of(vectors), cold_users=ColdUsers(weights, encode, vectors.ids))
    assert ranker.reads_items_then

    def first(user: UserState) -> str:
        return ranker.top_k([user], 1)[0][0][0]

    later = UserState(items_then=counted_then({7: [4, 4], 3: [1, 9]}))
    quiet = UserState(items_then=counted_then({7: [0, 4]}))
    assert [first(UserState()), first(later)] == [item(3), item(7)]
    np.testing.assert_allclose(ranker.scores([later]).sum(), users.damped_shares().sum(), rtol=1e-5)
    np.testing.assert_allclose(ranker.scores([quiet, later])[0], users.damped_shares(), rtol=1e-5)


def test_shares_of_all_time_do_not_change_with_the_moment(training: Path) -> None:
    vectors = random_vectors(training)
    users = TrainingUsers.read(training, vectors.ids)
    weights = refit_cold_users(FitContext(training), users, ColdUserChoices("damped"), vectors.catalogue, None)
    cold_users = ColdUsers(weights, encode, vectors.ids)
    assert not cold_users.reads_items_then
    later = UserState(items_then=counted_then({7: [4, 4]}))
    np.testing.assert_array_equal(cold_users.scores([later]), cold_users.scores([UserState()]))


def test_the_window_is_chosen_by_the_counts_of_the_moment_that_validation_asks_at(training: Path) -> None:
    rows = [{**catalogue_row(item(n), 10), "item_popularity": [5 if n == 3 else 0, 7]} for n in range(N_ITEMS)]
    write(training, "catalogue", rows)
    vectors = random_vectors(training)
    users, queries = TrainingUsers.read(training, vectors.ids), read_queries(training, "validation")
    then = counted_then({7: [4, 4]})
    asking = Queries(
        tuple(UserState(items_then=then) for _ in queries.users),
        tuple((item(7),) for _ in queries.users),
        tuple(f"new{n}" for n in range(len(queries))),
    )
    fit = FitContext(Path(), 1, k=5)
    weights, figures, choices = fit_cold_users(fit, users, asking, vectors.catalogue, None)
    assert choices.shares == "recent_1"
    assert figures["cold_users_ndcg_recent_1"] == 1.0
    assert weights.shares.argmax() == vectors.ids.index(item(3)) - 1


def test_a_window_that_was_chosen_may_be_empty_where_it_is_fitted_again(training: Path) -> None:
    """A review that is newer than every event closes the shortest window after them."""
    items, fit = random_vectors(training).catalogue, FitContext(training)
    users = TrainingUsers.read(training, items.ids)
    weights = refit_cold_users(fit, users, ColdUserChoices("recent_1"), items, None)
    np.testing.assert_array_equal(weights.shares, users.damped_shares().astype(np.float32))


def test_the_regression_is_the_ridge_of_low_rank() -> None:
    generator = np.random.default_rng(3)
    vectors, taken = generator.normal(size=(90, 6)), (generator.random((90, 40)) < 0.2).astype(float)
    regression = _Regression(vectors.astype(np.float32), csr_array(taken))
    centred = vectors - vectors.mean(axis=0)
    full = np.linalg.solve(centred.T @ centred + 0.1 * 90 * np.eye(6), centred.T @ taken)
    left, right = regression.solve(0.1)
    assert left.shape == (6, 6)  # no more than the texts have
    np.testing.assert_allclose(left @ right, full, atol=1e-5)
    wide = _Regression(generator.normal(size=(90, 50)).astype(np.float32), csr_array(taken))
    left, right = wide.solve(0.1)
    assert (left.shape, right.shape) == ((50, RANK), (RANK, 40))
    pull = wide._centred.T @ taken
    fitted = wide._centred @ np.linalg.solve(wide._square + 9.0 * np.eye(50), pull)
    best = np.linalg.svd(fitted)[1][RANK:]
    np.testing.assert_allclose(np.linalg.norm(fitted - wide._centred @ left @ right), np.linalg.norm(best), rtol=1e-3)


@pytest.mark.parametrize(
    ("n_users", "wanted", "shares"),
    [(19, 7, "counted"), (20, 7, "recent_1"), (80, 7, "recent_1"), (30, 20, "counted"), (30, None, "counted")],
)
def test_few_users_judge_what_is_popular_and_change_it_only_where_they_are_sure(
    training: Path, n_users: int, wanted: int | None, shares: str
) -> None:
    """A shop that turns over: of all time nothing is popular that can still be had. Texts are not tried by so few."""
    vectors = random_vectors(training)
    users = TrainingUsers.read(training, vectors.ids)
    then = counted_then({7: [4, 4]})
    names = users.ids[:n_users].tolist()
    strangers = (UserState(items_then=then, attributes="cook"),) * n_users
    targets = tuple((item(n if wanted is None else wanted),) for n in range(n_users))
    asking = Queries(strangers, targets, tuple(names))
    encoder = None if n_users < 80 else encode
    _, figures, choices = fit_cold_users(FitContext(Path(), 1, k=3), users, asking, vectors.catalogue, encoder)
    assert choices == ColdUserChoices(shares)
    assert bool(figures) == (n_users >= 20)
    assert "cold_users_ndcg_profile" not in figures


def judged(n: int, gain: float, deviation: float = 0.2) -> dict[str, np.ndarray]:
    """Ways that so many users judge: `damped` is better by so much, with so much between users."""
    spread = np.where(np.arange(n) % 2 == 0, deviation, -deviation)
    spread = spread - spread.mean()
    return {"counted": np.full(n, 0.3), "damped": 0.3 + gain + spread, "recent_1": np.full(n, 0.2)}


def least_gain(n: int) -> float:
    """From which gain on so many users have another way taken."""
    low, high = 0.0, 0.2
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if choose_shares(judged(n, middle)) == "damped" else (middle, high)
    return high


def test_how_sure_another_share_has_to_be_falls_with_every_user_who_judges_and_never_by_a_step() -> None:
    least = np.array([least_gain(n) for n in range(20, 241, 2)])
    steps = -np.diff(least)
    assert steps.min() >= -1e-4, "more who judge never ask for more"
    # As two standard errors fall with the number of users, where they are the fewest; and not more anywhere.
    assert steps.max() <= 2 * 0.2 * (20**-0.5 - 22**-0.5) + 1e-4
    assert least_gain(49) - least_gain(51) < 0.002
    assert least_gain(199) - least_gain(201) < 0.002
    assert least_gain(50) == pytest.approx(2 * 0.2 / 50**0.5, abs=1e-4)
    assert least_gain(125) == pytest.approx(0.2 / 125**0.5, rel=0.02)
    assert least_gain(200) < 1e-4


def test_all_users_judge_shares_also_where_the_half_of_them_is_enough_for_texts(training: Path) -> None:
    """80 of 160 are held out: of so few the best mean is none that has to be taken."""
    vectors = random_vectors(training)
    users = TrainingUsers.read(training, vectors.ids)
    then = counted_then({7: [4, 4]})
    names = tuple(users.ids[:160].tolist())
    # Who takes what is popular of late, here and there, against who takes what is popular of all time.
    targets = tuple((item(7 if n % 2 else 0),) for n in range(160))
    asking = Queries((UserState(items_then=then, attributes="cook"),) * 160, targets, names)
    told: list[str] = []
    _, figures, _ = fit_cold_users(
        FitContext(Path(), 1, k=1, progress=told.append), users, asking, vectors.catalogue, encode
    )
    assert figures["cold_users_ndcg_recent_1"] == 0.5  # of all, not of those who are held out
    assert {"cold_users_ndcg_profile", "cold_users_ndcg_without_profile"} <= set(figures)


def test_the_regression_holds_no_matrix_of_its_vectors_and_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    n_users, n_items, width = 300, 20_000, 200
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(n_users, width)).astype(np.float32)
    rows, columns = np.repeat(np.arange(n_users), 5), generator.integers(0, n_items, 5 * n_users)
    taken = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_users, n_items))
    monkeypatch.setattr("recommender.ranking.cold_users_training.ITEMS_PER_PASS", 500)
    tracemalloc.start()
    try:
        left, right = _Regression(vectors, taken).solve(0.1)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (left.shape, right.shape) == ((width, RANK), (RANK, n_items))
    assert most < width * n_items * 8 / 2


def test_texts_are_tried_on_a_pass_of_users_at_a_time_with_the_same_figures(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, figures, _ = fit(training)
    monkeypatch.setattr("recommender.inputs.queries.SCORES_PER_PASS", 9 * N_ITEMS)
    asked: list[int] = []
    evaluate = NdcgOfScores.__call__

    def counting(self: NdcgOfScores, scores: np.ndarray) -> np.ndarray:
        asked.extend([len(scores)] if scores.ndim == 2 else [])
        return evaluate(self, scores)

    monkeypatch.setattr(NdcgOfScores, "__call__", counting)
    in_passes, others, _ = fit(training)
    assert weights.read_texts
    assert others == pytest.approx(figures, abs=1e-6)
    assert len(asked) > len(RIDGES) * len(WEIGHTS) * 10
    assert max(asked) == 9
    np.testing.assert_allclose(in_passes.users @ in_passes.items, weights.users @ weights.items, atol=1e-6)


def test_the_ranker_asks_them_for_whom_it_knows_nothing_of(training: Path) -> None:
    weights, _, vectors = fit(training)
    ranker = Ranker(vectors, model_of(vectors), cold_users=ColdUsers(weights, encode))
    strange = UserState(items=("unheard of",), values=(None,), attributes="cook")
    users = [UserState.from_history([item(3)]), COOK, strange, UserState(), UserState(attributes="  ")]
    answered = ["sequence", "profile", "profile", "popularity", "popularity"]
    assert [ranker.answered_by(user) for user in users] == answered
    scores = ranker.scores(users)
    np.testing.assert_array_equal(scores[1], scores[2])
    np.testing.assert_allclose(scores[3], weights.shares, rtol=1e-6)
    assert not np.allclose(scores[1], scores[3])
    best = [name for name, _ in ranker.top_k([COOK], 3)[0]]
    assert set(ranker.parts_of(COOK, [item(n) for n in range(HALF)])) <= {"profile", "popularity"}
    assert "profile" in ranker.parts_of(COOK, best)
    assert ranker.parts_of(UserState(), best) == ["popularity"] * 3


def test_they_are_kept_and_read_again(training: Path, tmp_path: Path) -> None:
    weights, _, _ = fit(training)
    for kept in (weights, ColdUserWeights.of_shares(weights.shares)):
        kept.save(tmp_path)
        again = ColdUserWeights.load(tmp_path)
        assert (again.read_texts, again.window) == (kept.read_texts, kept.window)
        np.testing.assert_array_equal(ColdUsers(again, encode).scores([COOK]), ColdUsers(kept, encode).scores([COOK]))
    (tmp_path / "newcomers.safetensors").write_text("no tensors")
    with pytest.raises(BundleError, match="Cannot load cold-start users' weights"):
        ColdUserWeights.load(tmp_path)


def test_equal_seeds_learn_equal_weights(training: Path) -> None:
    one, two = fit(training)[0], fit(training)[0]
    np.testing.assert_array_equal(one.items, two.items)


def test_queries_without_texts_are_answered_by_shares(training: Path) -> None:
    vectors = random_vectors(training)
    users, queries = TrainingUsers.read(training, vectors.ids), read_queries(training, "validation")
    silent = Queries(tuple(UserState(items=user.items) for user in queries.users), queries.targets, queries.user_ids)
    assert not fit_cold_users(FitContext(Path(), 1, k=5), users, silent, vectors.catalogue, encode)[0].read_texts
