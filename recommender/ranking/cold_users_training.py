"""Learns how users without a history are ranked, from what the training users took and from their attributes.

Chosen on validation: what an item's share is (of all users, the same with long histories counting less, or recently),
and how much users' texts count. Half of that window's users are held out of the regression for that, and are ranked for
as if they had no history. Where these are few, all users of the window judge the shares; of too few no texts are tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from core import schema
from recommender.fitting.context import FitContext
from recommender.inputs.catalogue import Catalogue, read_training_table
from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import window_counts
from recommender.inputs.queries import Queries, sample_places, sample_queries
from recommender.metrics.ranking_evaluation import NdcgOfScores
from recommender.ranking.cold_users import ColdUserWeights, Encode, window_shares

RANK = 16
# Of the regression, per user.
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1)
WEIGHTS = (0.5, 1.0, 2.0, 4.0)
# Fewer are too few to learn from, or to choose by.
MIN_USERS = 50
# Of fewer nothing is chosen, as of a blend's.
MIN_JUDGING = 20
# From so many on what ranks best in the mean is taken, however sure that is.
ENOUGH_JUDGING = 200
# Enough for a steady regression, and a choice; the solution is dense in the users' texts.
MAX_USERS = 20_000
MAX_QUERIES = 1000
# By how many texts have to rank better, and shares of few users: the best of a dozen tries is always a little better.
STANDARD_ERRORS = 2.0
# Of so many what users' vectors sum to is held at once.
ITEMS_PER_PASS = 1 << 13
RECENT_COUNTS = "item_popularity"
RECENT = "recent_"
# What is evaluated is called so where its scores are refused.
COLD = "cold-start users' weights"


@dataclass(frozen=True)
class ColdUserChoices:
    """What was chosen on validation.

    Attributes:
        shares: Name of what an item's share is.
        ridge: Of the regression; 0 where users' texts are left out.
        weight: Of what texts add to the shares.
    """

    shares: str = "counted"
    ridge: float = 0.0
    weight: float = 0.0


@dataclass(frozen=True)
class TrainingUsers:
    """The users of the training sequences who took a known item, row by row.

    Attributes:
        ids: Shape (n,), str.
        texts: The attributes of each, "" for none.
        taken: 1 / sqrt(known items of the user) where the user took the item. Shape (n, n_items).
    """

    ids: np.ndarray
    texts: list[str]
    taken: csr_array

    @classmethod
    def read(cls, training: Path, ids: IdMap) -> TrainingUsers:
        """Read the sequences; a user's may lie in several pieces.

        Raises:
            TrainingDataError: the table is missing or damaged.
        """
        columns = [schema.USER_ID, schema.HISTORY_ITEMS, schema.ATTRIBUTES]
        table = read_training_table(training, "sequences", columns)
        items: dict[str, set[int]] = {}
        texts: dict[str, str] = {}
        for user, history, text in zip(*(table.column(name).to_pylist() for name in columns), strict=True):
            items.setdefault(user, set()).update(ids.known_indices(history or []))
            texts[user] = (text or "").strip()
        rows = [(user, sorted(known)) for user, known in items.items() if known]
        lengths = np.array([len(known) for _, known in rows], dtype=np.int64)
        places = np.concatenate([np.zeros(0, dtype=np.int64), *(np.array(known) - 1 for _, known in rows)])
        taken = csr_array(
            (np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths), places, np.append(0, lengths.cumsum())),
            shape=(len(rows), len(ids)),
        )
        return cls(np.array([user for user, _ in rows], dtype=object), [texts[user] for user, _ in rows], taken)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> TrainingUsers:
        """Some of the users."""
        return TrainingUsers(self.ids[rows], [self.texts[row] for row in rows], self.taken[rows])

    def counted_shares(self) -> np.ndarray:
        """The share of the users who took each item. Shape (n_items,), float64."""
        return np.asarray((self.taken > 0).sum(axis=0)).ravel() / max(len(self), 1)

    def damped_shares(self) -> np.ndarray:
        """The same, where a user with n items counts 1 / sqrt(n). Shape (n_items,), float64."""
        return np.asarray(self.taken.sum(axis=0)).ravel() / max(len(self), 1)


def fit_cold_users(
    fit: FitContext, users: TrainingUsers, queries: Queries, items: Catalogue, encode: Encode | None
) -> tuple[ColdUserWeights, dict[str, float], ColdUserChoices]:
    """Choose the shares and, where they rank clearly better so, learn what users' texts add to them.

    Args:
        queries: Of the validation window.
        items: Counts what was common recently.
        encode: The encoder; None leaves texts out.
    Returns:
        The weights, the NDCG of each way on validation (no figures where the window has too few users), and what was
        chosen.
    """
    generator = np.random.default_rng([fit.seed, 3])
    held_out = _hold_out(users, queries, generator)
    # Nothing of the window is learned by the shares: all can judge them, where the half of them is not enough.
    judging = held_out if len(held_out) >= ENOUGH_JUDGING else sample_queries(queries, MAX_QUERIES, generator)
    if len(judging) < MIN_JUDGING:
        return ColdUserWeights.of_shares(users.counted_shares()), {}, ColdUserChoices()
    evaluate = NdcgOfScores(judging, items.ids, fit.k, COLD)
    then = next((user.items_then for user in judging.users if user.items_then is not None), None)
    ways = all_shares(users, _counted(items) if then is None else then.of(items.ids).popularity)
    ndcgs = {name: evaluate(shares) for name, shares in ways.items()}
    figures = {f"cold_users_ndcg_{name}": float(values.mean()) for name, values in ndcgs.items()}
    base = choose_shares(ndcgs)
    shares, plain = ways[base].astype(np.float32), _plain(users, items, base)
    if len(held_out) < MIN_USERS:
        fit.progress(f"cold-start users: {base} shares, by {len(judging)} users; {_listed(figures)}")
        return plain, figures, ColdUserChoices(base)
    with_text = _with_text(users, generator)
    apart = np.isin(with_text.ids, np.array(held_out.user_ids, dtype=object))
    speaks = any(user.attributes.strip() for user in held_out.users)
    if encode is None or not speaks or (~apart).sum() < MIN_USERS:
        return plain, figures, ColdUserChoices(base)
    vectors = encode(with_text.texts)
    regression = _Regression(vectors[~apart], with_text.taken[~apart])
    tried = _try_texts(regression, shares, held_out, items.ids, fit.k, encode)
    ridge, weight = max(tried, key=lambda one: tried[one].mean())
    figures["cold_users_ndcg_profile"] = float(tried[ridge, weight].mean())
    without = ndcgs[base]
    if judging is not held_out:
        without = NdcgOfScores(held_out, items.ids, fit.k, COLD)(shares)
        figures["cold_users_ndcg_without_profile"] = float(without.mean())
    if not _is_surely_better(tried[ridge, weight], without, STANDARD_ERRORS):
        fit.progress(f"cold-start users: texts are left out, as they rank no better; {_listed(figures)}")
        return plain, figures, ColdUserChoices(base)
    fit.progress(
        f"cold-start users: {base} shares, texts count, ridge {ridge:g}, weight {weight:g}; {_listed(figures)}"
    )
    choices = ColdUserChoices(base, ridge, weight)
    return _of_texts(plain, vectors, with_text, choices), figures, choices


def choose_shares(ndcgs: Mapping[str, np.ndarray]) -> str:
    """The shares that rank best, of those that rank surely enough better than the counted ones; else the counted ones.

    The fewer judge, the more often the best of several ways is so by chance, and what is popular of all time is wrong
    least badly. How sure it has to be falls evenly with the number of judges: from two standard errors, at most up to
    `MIN_USERS` of them, to none at `ENOUGH_JUDGING`, from where on a mean is steady enough to go by. So one user more
    moves the threshold by a hundredth of a standard error or so, and a shop that grows finds no step at which another
    way wins by the same figures.

    Args:
        ndcgs: Of each way the NDCG of each user who judges; `counted` is one of them. Shapes (n,).
    """
    counted = ndcgs["counted"]
    share = (ENOUGH_JUDGING - len(counted)) / (ENOUGH_JUDGING - MIN_USERS)
    errors = STANDARD_ERRORS * min(max(share, 0.0), 1.0)
    sure = [name for name in ndcgs if _is_surely_better(ndcgs[name], counted, errors)]
    return max(sure, key=lambda name: float(ndcgs[name].mean()), default="counted")


def refit_cold_users(
    fit: FitContext, users: TrainingUsers, choices: ColdUserChoices, items: Catalogue, encode: Encode | None
) -> ColdUserWeights:
    """Count the shares and learn what users' texts add to them, by choices that were made before.

    Args:
        choices: Of the same training with its validation window.
        items: Counts what was common recently.
        encode: The encoder; None leaves texts out.
    """
    plain = _plain(users, items, choices.shares)
    if encode is None or not choices.ridge:
        return plain
    with_text = _with_text(users, np.random.default_rng([fit.seed, 3]))
    return _of_texts(plain, encode(with_text.texts), with_text, choices)


def all_shares(users: TrainingUsers, counts: np.ndarray) -> dict[str, np.ndarray]:
    """What an item's share may be, by name: of all users, with long histories counting less, or of a recent window.

    Args:
        counts: Events of each item in each window, the shortest first. Shape (n_items, n_windows).
    Returns:
        `recent_1` is the shortest window; windows without an event are left out. Shapes (n_items,), float64.
    """
    damped = users.damped_shares()
    windows = [window for window in range(1, counts.shape[1] + 1) if counts[:, window - 1].any()]
    recent = {f"{RECENT}{window}": window_shares(counts, window, damped) for window in windows}
    return {"counted": users.counted_shares(), "damped": damped, **recent}


def _plain(users: TrainingUsers, items: Catalogue, name: str) -> ColdUserWeights:
    """The shares of a name as of the training cut-off, and what they are made of anew at a later moment."""
    if not name.startswith(RECENT):
        return ColdUserWeights.of_shares(users.counted_shares() if name == "counted" else users.damped_shares())
    damped, window = users.damped_shares(), int(name.removeprefix(RECENT))
    # Of a window that has no event only what breaks its ties is left.
    return ColdUserWeights.of_shares(window_shares(_counted(items), window, damped), damped, window)


def _counted(items: Catalogue) -> np.ndarray:
    """Events of each item in each window before the training cut-off. Shape (n_items, n_windows)."""
    return window_counts(items.table.column(RECENT_COUNTS).to_pylist())


def _with_text(users: TrainingUsers, generator: np.random.Generator) -> TrainingUsers:
    """Those who say something of themselves; a sample where they are many."""
    rows = np.array([row for row, text in enumerate(users.texts) if text], dtype=np.int64)
    return users.take(sample_places(rows, MAX_USERS, generator))


def _try_texts(
    regression: _Regression, shares: np.ndarray, queries: Queries, ids: IdMap, k: int, encode: Encode
) -> dict[tuple[float, float], np.ndarray]:
    """NDCG of each query, by what the regression adds to the shares under each ridge and weight. Shapes (n,).

    All are tried on some queries before others are asked: memory does not grow with queries times catalogue.

    Args:
        shares: Shape (n_items,), float32.
    """
    centred = encode([user.attributes for user in queries.users]) - regression.mean
    silent = np.array([not user.attributes.strip() for user in queries.users])
    solved = {ridge: regression.solve(ridge) for ridge in RIDGES}
    found: dict[tuple[float, float], list[np.ndarray]] = {way: [] for way in product(RIDGES, WEIGHTS)}
    start = 0
    for some in queries.passes(len(ids)):
        rows, evaluate = slice(start, start + len(some)), NdcgOfScores(some, ids, k, COLD)
        start += len(some)
        for ridge, (left, right) in solved.items():
            added = (centred[rows] @ left) @ right
            added[silent[rows]] = 0.0
            for weight in WEIGHTS:
                found[ridge, weight].append(evaluate(shares + weight * added))
    return {way: np.concatenate(values) for way, values in found.items()}


def _of_texts(
    plain: ColdUserWeights, vectors: np.ndarray, with_text: TrainingUsers, choices: ColdUserChoices
) -> ColdUserWeights:
    """The shares, and the regression on the texts of all these users."""
    whole = _Regression(vectors, with_text.taken)
    left, right = whole.solve(choices.ridge)
    return replace(plain, mean=whole.mean, users=left, items=np.float32(choices.weight) * right)


class _Regression:
    """From users' text vectors to the items they took, of low rank.

    Source: Izenman 1975 (reduced-rank regression), with a ridge.
    """

    def __init__(self, vectors: np.ndarray, taken: csr_array) -> None:
        exact = vectors.astype(np.float64)
        centre = exact.mean(axis=0)
        self.mean = centre.astype(np.float32)
        self._centred, self._taken = exact - centre, taken
        self._square = self._centred.T @ self._centred
        self._pulls = self._multiply_pulls()

    def _multiply_pulls(self) -> np.ndarray:
        """What users' vectors sum to by item, times its own transpose, some items at a time. Shape (D, D)."""
        width, by_item = self._centred.shape[1], self._taken.T.tocsr()
        found = np.zeros((width, width))
        for start in range(0, by_item.shape[0], ITEMS_PER_PASS):
            pull = np.asarray(by_item[start : start + ITEMS_PER_PASS] @ self._centred)  # (I, D)
            found += pull.T @ pull
        return found

    def solve(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Shapes (D, R) and (R, n_items), float32."""
        n, width = self._centred.shape
        # The axes along which the fitted values vary most, by the small side: (D, D) instead of (n, n_items).
        half = np.linalg.cholesky(self._square + 1e-9 * n * np.eye(width))  # (D, D), its square the vectors'
        strong = self._square + ridge * n * np.eye(width)
        onto = np.linalg.solve(strong, half)  # (D, D): from what is pulled to the fitted values
        values, axes = np.linalg.eigh(onto.T @ self._pulls @ onto)
        rank = min(RANK, int((values > 1e-12 * max(values[-1], 1e-300)).sum()))
        axes = axes[:, ::-1][:, :rank]
        right = np.asarray(self._taken.T @ (self._centred @ (onto @ axes))).T  # (R, n_items): directions times lengths
        lengths = np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-300)
        right = right / lengths
        left = np.linalg.solve(strong, self._centred.T @ (self._taken @ right.T))
        return left.astype(np.float32), right.astype(np.float32)


def _hold_out(users: TrainingUsers, queries: Queries, generator: np.random.Generator) -> Queries:
    """The queries of users that training does not have, and half of the others; a sample where they are many."""
    learned = set(users.ids.tolist())
    of_learned = np.array([user_id in learned for user_id in queries.user_ids], dtype=bool)
    kept = ~of_learned | (generator.random(len(queries)) < 0.5)
    return sample_queries(queries.take(np.flatnonzero(kept)), MAX_QUERIES, generator)


def _is_surely_better(ndcg: np.ndarray, than: np.ndarray, errors: float) -> bool:
    """Whether the mean is higher by more than so many standard errors of the paired difference. Shapes (n,)."""
    gain = ndcg - than
    return bool(gain.mean() > errors * gain.std() / np.sqrt(len(gain)))


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
