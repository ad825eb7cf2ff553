"""Rating prediction beside a tuned matrix factorisation: `python -m benchmarks.rating --data FOLDER --source recbole`.

The data go through the product's own reader and data gate; the scorer is the product's own fit. The peer is cornac's
MF, in a virtual environment that the benchmark makes (`--peer-env`); its rank, learning rate, penalty and epochs are
chosen on validation, by RMSE for its RMSE and by MAE for its MAE. Every model learns from the training ratings.
The least absolute error is the median's: the scorer has one, and the peer's is found in the same way, by the cut points
that fit its validation predictions.

time: the product's global time split. A factorisation knows a user as of the training cut-off, and so do the first
rows; "live" is the scorer that knows the user as of just before each rating, as the service answers.
random: a tenth of all ratings is validation and a fifth is test, drawn by the seed; the scorer knows the user's
training ratings, as the factorisation does, and in training those of the nine folds that the rating is not in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import options
from benchmarks.harness.datasets import Dataset, open_dataset
from benchmarks.harness.models import Fits
from benchmarks.harness.rating_splits import SPLITS, users_at_cutoff, write_random_split
from benchmarks.harness.tables import mean_and_deviation, print_table
from benchmarks.peers.environment import make_environment, run_peer
from core import schema
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.rated_pairs import RatedPairs
from recommender.inputs.user import UserState
from recommender.metrics.ratings import auc, expected_calibration_error, mae, rmse
from recommender.scoring.median import RatingMedian

PEER = "cornac==3.0.1"
PEER_SCRIPT = "rating.py"
MEASURES = ("RMSE", "MAE", "MAE of the median", "AUC", "ECE")

Row = dict[str, float | None]


@dataclass(frozen=True)
class Prepared:
    """What every fit starts from.

    Attributes:
        data: Its time split is one protocol, and what the other is drawn from.
        vectors: Item vectors, encoded once.
        peer: The Python of the peer's environment; None leaves the peer out.
    """

    data: Dataset
    vectors: Path
    peer: Path | None


def main(arguments: list[str] | None = None) -> None:
    """Prepare once, then fit and evaluate once per protocol and seed."""
    parser = options.command(__doc__)
    options.add_source(parser, kind="recbole")
    options.add_fits(parser)
    options.add_recipe(parser)
    options.add_peer(parser)
    parser.add_argument("--protocol", choices=("time", "random", "both"), default="both")
    parser.add_argument("--max-history", type=int, default=200, help="the longest history (default: 200)")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen, f"features.max_history={chosen.max_history}")
    with open_dataset(recipe, chosen.cache) as data:
        peer = None if chosen.no_peer else make_environment(chosen.peer_env or data.work / "peer", [PEER])
        prepared = Prepared(data, data.work / "vectors", peer)
        Fits(recipe, recipe.seed, chosen.threads).embed(data.time_split()[0], prepared.vectors)
        for protocol in ("time", "random") if chosen.protocol == "both" else (chosen.protocol,):
            fits = [Fits(recipe, seed, chosen.threads) for seed in options.seeds_of(chosen)]
            runs = [evaluate_seed(prepared, protocol, one) for one in fits]
            history = f"histories of at most {recipe.features.max_history} entries"
            print(f"\n{protocol} split, {len(runs)} seeds, {history}")
            _print_results(runs)


def evaluate_seed(prepared: Prepared, protocol: str, fits: Fits) -> dict[str, Row]:
    """Fit the scorer and the peer with one seed: every model's measures on the test ratings."""
    work = prepared.data.work / f"{protocol}-{fits.seed}"
    training, _ = prepared.data.time_split()
    max_history = fits.recipe.features.max_history
    if protocol == "random":
        write_random_split(training, work / "training", fits.seed, max_history)
        training = work / "training"
    _write_vectors(prepared.vectors, training, work / "vectors", fits.recipe.seed)
    scorer = fits.fit_scorer(training, work / "vectors", work / "scorer")
    pairs = RatedPairs.read(training, "test")
    users: tuple[UserState, ...] = pairs.users
    if protocol == "time":
        at_cutoff, unknown = users_at_cutoff(training, max_history), UserState()
        users = tuple(at_cutoff.get(user_id, unknown) for user_id in pairs.user_ids)
    like_from = scorer.baseline.like_from
    biased = scorer.input(users, pairs.item_ids).baseline.clamp(*schema.RATING_RANGE).numpy()
    p_like, ratings = scorer.predict(users, pairs.item_ids)
    found = {
        "global mean": _measure(np.full(len(pairs), scorer.baseline.global_mean), pairs, like_from),
        "user + item bias": _measure(biased, pairs, like_from),
        "pair scorer": _measure(ratings, pairs, like_from, p_like, scorer.median),
    }
    if prepared.peer is not None:
        found["tuned MF (cornac)"] = _evaluate_peer(prepared.peer, training, work, fits.seed, like_from)
    if protocol == "time":
        p_like, ratings = scorer.predict(pairs.users, pairs.item_ids)
        found["pair scorer, live"] = _measure(ratings, pairs, like_from, p_like, scorer.median)
    return found


def _write_vectors(encoded: Path, training: Path, target: Path, seed: int) -> None:
    """The encoded item vectors with the catalogue of a training set, which counts that set's training ratings."""
    target.mkdir(parents=True)
    ItemVectors(Catalogue.read(training, seed), ItemVectors.load(encoded).text).save(target)


def _evaluate_peer(peer: Path, training: Path, work: Path, seed: int, like_from: float) -> Row:
    parts = [RatedPairs.read(training, split) for split in SPLITS]
    _, user = np.unique([one for part in parts for one in part.user_ids], return_inverse=True)
    _, item = np.unique([one for part in parts for one in part.item_ids], return_inverse=True)
    rating = np.concatenate([part.ratings for part in parts])
    split = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    source, target = work / "in.npz", work / "out.npz"
    np.savez(source, user=user, item=item, rating=rating, split=split)
    run_peer(peer, PEER_SCRIPT, source, target, str(seed))
    answer = np.load(target)
    first, second = answer["settings"]
    print(f"peer: {answer['n_tried']} settings tried; best by RMSE: {first}; by MAE: {second}")
    median = RatingMedian.fit(answer["by_mae_validation"], parts[1].ratings)
    by_rmse = _measure(answer["by_rmse"], parts[2], like_from)
    by_mae = _measure(answer["by_mae"], parts[2], like_from, median=median)
    return {**by_rmse, **{name: by_mae[name] for name in ("MAE", "MAE of the median")}}


def _measure(
    ratings: np.ndarray,
    pairs: RatedPairs,
    like_from: float,
    p_like: np.ndarray | None = None,
    median: RatingMedian | None = None,
) -> Row:
    """Errors of the ratings; a model without probabilities orders by its ratings."""
    likes = pairs.ratings >= like_from
    return {
        "RMSE": rmse(ratings, pairs.ratings),
        "MAE": mae(ratings, pairs.ratings),
        "MAE of the median": None if median is None else mae(median(ratings), pairs.ratings),
        "AUC": auc(ratings if p_like is None else p_like, likes),
        "ECE": None if p_like is None else expected_calibration_error(p_like, likes),
    }


def _print_results(runs: list[dict[str, Row]]) -> None:
    rows = []
    for model in runs[0]:
        values = [[value for run in runs if (value := run[model][measure]) is not None] for measure in MEASURES]
        rows.append([model, *(mean_and_deviation(of_measure) if of_measure else "-" for of_measure in values)])
    print_table(["model", *MEASURES], rows)
    print("limit: RMSE and MAE (of the median) of the pair scorer not above the tuned MF's")


if __name__ == "__main__":
    main()
