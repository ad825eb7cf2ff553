"""Rating prediction beside a tuned matrix factorisation: `python -m benchmarks.rating --data FOLDER --source recbole`.

FOLDER is read by the product's own reader and rules; the scorer is the product's own fit. The peer is cornac's MF, its
rank, learning rate, penalty and epochs chosen on validation, by RMSE for its RMSE and by MAE for its MAE, in an
environment that the benchmark makes (`--peer-env`). Everybody learns from the training ratings; validation chooses.

time: the product's global time split. A factorisation knows a user as of the training cut-off, and so do the first
rows; "live" is the scorer that knows the user as of just before each rating, as the service answers.
random: of all ratings a tenth is validation and a fifth is test, dealt out by the seed; the scorer knows the user's
training ratings, as the factorisation does, and in training those of the nine tenths that the rating is not in.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers.environment import make_environment
from benchmarks.rating_splits import SPLITS, users_at_cutoff, write_random_split
from core import schema
from core.settings.loading import load_settings
from core.settings.tree import Recipe
from features.refresh import refresh_features
from features.training import build_training_set
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.rated_pairs import RatedPairs
from recommender.inputs.user import UserState
from recommender.metrics.ratings import auc, expected_calibration_error, mae, rmse
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.scoring.scorer import PairScorer
from recommender.scoring.training import fit_scorer
from validation.gate import validate
from validation.sources.ingest import ingest

PEER = "cornac==3.0.1"
PEER_SCRIPT = Path(__file__).with_name("peers") / "rating.py"
MEASURES = ("RMSE", "MAE", "AUC", "ECE")

Row = dict[str, float | None]


def main(arguments: list[str] | None = None) -> None:
    """Read, then fit and judge once per protocol and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--source", default="recbole", help="kind of the reader")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--protocol", choices=("time", "random", "both"), default="both")
    parser.add_argument("--max-history", type=int, default=200, help="entries of a history")
    parser.add_argument("--peer-env", type=Path, help="the peer's environment, made where there is none; default: new")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="of the recipe")
    chosen = parser.parse_args(arguments)
    given = [f"source.kind={chosen.source}", f"source.path={chosen.data}", f"features.max_history={chosen.max_history}"]
    recipe = load_settings(overrides=[f"recipe.{one}" for one in [*given, *chosen.set]]).recipe
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = None if chosen.no_peer else make_environment(chosen.peer_env or folder / "peer", [PEER])
        _prepare(recipe, folder, chosen.threads)
        for protocol in ("time", "random") if chosen.protocol == "both" else (chosen.protocol,):
            runs = [judge(folder, protocol, recipe, seed, chosen.threads, peer) for seed in range(chosen.seeds)]
            _print_table(protocol, runs, recipe)


def judge(folder: Path, protocol: str, recipe: Recipe, seed: int, threads: int, peer: Path | None) -> dict[str, Row]:
    """Fit the scorer and the peer with one seed: every model's measures on the test ratings.

    Args:
        folder: Holds `time`, the product's training set, and `vectors`.
        peer: The Python of the peer's environment.
    """
    training = folder / "time"
    max_history = recipe.features.max_history
    if protocol == "random":
        training = folder / f"random-{seed}"
        write_random_split(folder / "time", training, seed, max_history)
    target = folder / f"scorer-{protocol}-{seed}"
    vectors = folder / f"vectors-{protocol}-{seed}"
    _with_catalogue(folder, training, vectors, recipe)
    fit_scorer(FitContext(training, seed, threads=threads, progress=print), vectors, target, recipe.scorer)
    scorer = PairScorer.load(target, ItemVectors.load(vectors))
    pairs = RatedPairs.read(training, "test")
    users: tuple[UserState, ...] = pairs.users
    if protocol == "time":
        at_cutoff, stranger = users_at_cutoff(training, max_history), UserState()
        users = tuple(at_cutoff.get(user_id, stranger) for user_id in pairs.user_ids)
    like_from = scorer.baseline.like_from
    biased = scorer.input(users, pairs.item_ids).baseline.clamp(*schema.RATING_RANGE).numpy()
    p_like, ratings = scorer.predict(users, pairs.item_ids)
    found = {
        "global mean": _measure(np.full(len(pairs), scorer.baseline.global_mean), pairs, like_from),
        "user + item bias": _measure(biased, pairs, like_from),
        "pair scorer": _measure(ratings, pairs, like_from, p_like),
    }
    if peer is not None:
        found["tuned MF (cornac)"] = _evaluate_peer(peer, training, folder / f"peer-{protocol}-{seed}", seed, like_from)
    if protocol == "time":
        p_like, ratings = scorer.predict(pairs.users, pairs.item_ids)
        found["pair scorer, live"] = _measure(ratings, pairs, like_from, p_like)
    return found


def _prepare(recipe: Recipe, folder: Path, threads: int) -> None:
    """The product's own way from the source to a training set."""
    ingest(recipe.source, folder / "raw")
    validate(folder / "raw", folder / "clean", recipe.validation, folder / "docs")
    refresh_features(folder / "clean", folder / "feast", recipe.features)
    build_training_set(folder / "clean", folder / "feast", folder / "time", recipe.features, recipe.evaluation)
    embed_catalogue(
        FitContext(folder / "time", recipe.seed, threads=threads, progress=print), folder / "vectors", recipe.encoder
    )


def _with_catalogue(folder: Path, training: Path, target: Path, recipe: Recipe) -> None:
    """The item vectors, encoded once, with the catalogue of a training set: its counts are of its training ratings."""
    from recommender.inputs.catalogue import Catalogue

    encoded = ItemVectors.load(folder / "vectors")
    target.mkdir()
    ItemVectors(Catalogue.read(training, recipe.seed), encoded.text).save(target)


def _evaluate_peer(peer: Path, training: Path, files: Path, seed: int, like_from: float) -> Row:
    parts = [RatedPairs.read(training, split) for split in SPLITS]
    _, user = np.unique([one for part in parts for one in part.user_ids], return_inverse=True)
    _, item = np.unique([one for part in parts for one in part.item_ids], return_inverse=True)
    rating = np.concatenate([part.ratings for part in parts])
    split = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    source, target = files.with_suffix(".in.npz"), files.with_suffix(".out.npz")
    np.savez(source, user=user, item=item, rating=rating, split=split)
    subprocess.run([peer, PEER_SCRIPT, source, target, str(seed)], check=True, stdout=subprocess.DEVNULL)
    answer = np.load(target)
    first, second = answer["settings"]
    print(f"peer: {answer['n_tried']} settings tried; best by RMSE: {first}; by MAE: {second}")
    by_rmse, by_mae = (_measure(answer[name], parts[2], like_from) for name in ("by_rmse", "by_mae"))
    return {**by_rmse, "MAE": by_mae["MAE"]}


def _measure(ratings: np.ndarray, pairs: RatedPairs, like_from: float, p_like: np.ndarray | None = None) -> Row:
    """Errors of the ratings; a model without probabilities orders by its ratings."""
    likes = pairs.ratings >= like_from
    return {
        "RMSE": rmse(ratings, pairs.ratings),
        "MAE": mae(ratings, pairs.ratings),
        "AUC": auc(ratings if p_like is None else p_like, likes),
        "ECE": None if p_like is None else expected_calibration_error(p_like, likes),
    }


def _print_table(protocol: str, runs: list[dict[str, Row]], recipe: Recipe) -> None:
    print(f"\n{protocol} split, {len(runs)} seeds, histories of at most {recipe.features.max_history} entries")
    print(f"{'model':<20}" + "".join(f"{measure:>18}" for measure in MEASURES))
    for model in runs[0]:
        cells = []
        for measure in MEASURES:
            values = [value for run in runs if (value := run[model][measure]) is not None]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.4f} ± {spread:.4f}" if values else "-")
        print(f"{model:<20}" + "".join(f"{cell:>18}" for cell in cells))
    print("limit: RMSE and MAE of the pair scorer not above the tuned MF's")


if __name__ == "__main__":
    main()
