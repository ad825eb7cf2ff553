"""Evaluation: whole-catalogue ranking under the global time split, baselines and model on the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.schema import Split
from core.settings.evaluation import BASELINE_KINDS, BaselineName
from recommender.bundle.loading import Bundle
from recommender.encoders.encoder import TextEncoder
from recommender.evaluation.baselines import fit_baselines
from recommender.evaluation.feedback.evaluation import evaluate_writer
from recommender.evaluation.gaps import audit_gaps
from recommender.evaluation.groups import by_history_length, by_item_popularity, by_user_group, read_attributes
from recommender.evaluation.names import SERVED, part_key
from recommender.evaluation.reasons.evaluation import evaluate_reasons
from recommender.evaluation.reasons.tables import REASONS
from recommender.evaluation.reranking import evaluate_reranking
from recommender.evaluation.scorer import evaluate_scorer
from recommender.fitting.component import SUMMARY, read_config
from recommender.fitting.context import FitContext
from recommender.fitting.summary import Progress
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries, read_queries, sample_queries
from recommender.metrics.ranking_evaluation import RankingEvaluation, evaluate_ranker
from recommender.metrics.significance import bootstrap_intervals, sign_flip_p_values
from recommender.metrics.top_k import Scores
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.blend import Blend
from recommender.ranking.ranker import Ranker
from recommender.retrieval.popularity import PopularityRanker
from recommender.retrieval.text.ranker import TextRanker

POPULARITY = "popularity"
# Of the validation window: enough to tell which baseline is the best one.
MAX_QUERIES = 5000
# Parts that the table shows otherwise: popularity stands among the baselines, and so does what the texts give alone.
SHOWN_OTHERWISE = ("popularity", "text")


def evaluate_rankers(
    rankers: Mapping[str, Scores],
    queries: Queries,
    k: int,
    seed: int,
    vectors: ItemVectors | None = None,
    attributes: Mapping[str, Sequence[str | None]] | None = None,
) -> dict[str, Any]:
    """Evaluate several rankers on the same queries.

    Args:
        rankers: Name to ranker; the last one is the model, the others what it is compared with.
        seed: Of the bootstrap.
        vectors: Of the catalogue that all rankers share, `popularity` among them: adds the measures beyond accuracy,
            and recall by item popularity.
        attributes: What is known of each query's user, for the gap between user groups.
    Returns:
        JSON-able: `ranking` {model: {metric: mean}} (`gauc` of those alone that rank the whole catalogue), the same by
        group under `groups`, `intervals` {model: {metric: [low, high]}}, `n_queries`, `differences` {model it is
        compared with: {metric: {mean, low, high, p_value}}}, `by_history_length` {known items: {n_queries, model:
        ndcg}}, `by_user_group`, `by_item_popularity`, and `gaps` of the model, as `audit_gaps` returns them. Intervals
        hold 95 %, users drawn with replacement.
    """
    evaluated = {name: evaluate_ranker(ranker, queries, k, True, name) for name, ranker in rankers.items()}
    if vectors is not None:
        expected = evaluated[POPULARITY].lists
        evaluated = {name: one.beyond_accuracy(vectors, expected) for name, one in evaluated.items()}
    warm = queries.is_warm
    groups = {name: members for name, members in (("warm", warm), ("cold", ~warm)) if members.any()}
    *others, model = rankers
    ids = rankers[model].ids
    return {
        "k": k,
        "n_queries": {"all": len(queries), "warm": int(warm.sum()), "cold": int((~warm).sum())},
        "ranking": {name: one.summary() for name, one in evaluated.items()},
        "intervals": _intervals(evaluated, seed),
        "groups": {
            group: {name: one.summary(members) for name, one in evaluated.items()} for group, members in groups.items()
        },
        "differences": {other: _differences(evaluated[model], evaluated[other], seed) for other in others},
        "by_history_length": by_history_length(evaluated, queries, ids),
        "by_user_group": by_user_group(evaluated, queries, ids, attributes),
        "by_item_popularity": {} if vectors is None else by_item_popularity(evaluated, queries, vectors.catalogue),
        "gaps": audit_gaps(
            evaluated[model], queries, ids, seed, attributes, None if vectors is None else vectors.catalogue
        ),
    }


def evaluate_bundle(
    bundle: Bundle,
    training: Path,
    k: int,
    split: Split = "test",
    *,
    baselines: Sequence[BaselineName] | None = None,
    clean: Path | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """The metric table of a bundle: baselines, the text encoder before fine-tuning, each part, and the blend served.

    Args:
        baselines: Those fitted for the comparison; the recipe's by default.
        clean: The folder of the clean tables, for groups by what users are, and for the factuality of reasons; without
            it groups are by activity alone, and `reasons` is None.
    Returns:
        What `evaluate_rankers` returns, with `split`, `validation` {baseline that can serve: {metric: mean}} (on users
        of the validation window, by whom one is chosen; empty where it asks nobody), `reranking` (as
        `evaluate_reranking` returns it), `scorer`,
        `writer` and `reasons` (None where the bundle has none), `curves` {component: [{epoch, …}]} of those that kept
        one, and `caps` {component: [{what, taken, there, by}]} of those that left something out.
    Raises:
        TrainingDataError: the window has no query.
        RerankError: the recipe re-ranks by what the catalogue lacks.
    """
    recipe, vectors = bundle.manifest.recipe, bundle.ranker.vectors
    names = recipe.evaluation.baselines if baselines is None else baselines
    fit = FitContext(training, recipe.seed, k, progress=progress, device=bundle.device)
    fitted = fit_baselines(fit, names, bundle.folder / "vectors", recipe)
    rankers = {POPULARITY: PopularityRanker(vectors), **fitted, **parts_of(bundle), SERVED: bundle.ranker}
    queries = read_queries(training, split)
    attributes = None if clean is None else read_attributes(clean / "users.parquet", queries)
    ranking = evaluate_rankers(rankers, queries, k, recipe.seed, vectors, attributes)
    of_validation = _evaluate_baselines(rankers, training, k, recipe.seed)
    reranking = evaluate_reranking(bundle.ranker, vectors, queries, k, recipe.rerank, recipe.seed)
    words = _evaluate_scorer_and_writer(bundle, training, split, progress)
    reasons = None
    if clean is not None and bundle.explainer is not None:
        reasons = evaluate_reasons(bundle, training, clean, queries, split)
    shown = {"validation": of_validation, "reranking": reranking, **words, REASONS: reasons}
    curves, caps = read_curves(bundle.folder), read_caps(bundle.folder)
    return {"split": split, **ranking, **shown, "curves": curves, "caps": caps}


def _evaluate_baselines(
    rankers: Mapping[str, Scores], training: Path, k: int, seed: int
) -> dict[str, dict[str, float]]:
    """The baselines that can serve, on the validation window; none where it asks nobody."""
    queries = sample_queries(read_queries(training, "validation"), MAX_QUERIES, seed)
    if not len(queries):
        return {}
    there = [kind for kind in BASELINE_KINDS if kind in rankers]
    return {kind: evaluate_ranker(rankers[kind], queries, k, name=kind).summary() for kind in there}


def parts_of(bundle: Bundle) -> dict[str, Scores]:
    """The bundle's parts, each ranking alone, in the order of the table; of a baseline's bundle the texts alone."""
    ranker, vectors = bundle.ranker, bundle.ranker.vectors
    parts: dict[str, Scores] = {"text_encoder": TextRanker(vectors.before_fine_tuning())}
    if vectors.tuned is not None:
        parts["text_encoder_fine_tuned"] = TextRanker(vectors)
    if isinstance(ranker, BaselineRanker):
        return parts
    for name in ranker.retrievers:
        if name not in SHOWN_OTHERWISE:
            alone = Blend("part", {name: 1.0})
            parts[part_key(name)] = Ranker(vectors, ranker.model, ranker.retrievers, alone, held_out=ranker.held_out)
    if bundle.generative is not None:
        parts["generative"] = bundle.generative.at_least(bundle.manifest.recipe.evaluation.k)
    parts["sequence"] = Ranker(vectors, ranker.model, held_out=ranker.held_out)
    return parts


def read_curves(folder: Path) -> dict[str, list[dict[str, float]]]:
    """The learning curve of each component that kept one in its summary."""
    return {name: summary["curve"] for name, summary in _summaries(folder).items() if summary.get("curve")}


def read_caps(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each component was fitted on only a part of, by its summary."""
    return {name: summary["caps"] for name, summary in _summaries(folder).items() if summary.get("caps")}


def _summaries(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: read_config(path) for path in sorted(folder.glob(f"*/{SUMMARY}"))}


def _evaluate_scorer_and_writer(bundle: Bundle, training: Path, split: Split, progress: Progress) -> dict[str, Any]:
    """The scorer's and the writer's measures; None for one that the bundle does not have."""
    scorer, writer, recipe = bundle.scorer, bundle.writer, bundle.manifest.recipe
    found: dict[str, Any] = {"scorer": None, "writer": None}
    if scorer is not None:
        found["scorer"] = evaluate_scorer(scorer, training, split)
    if writer is not None:
        encoder = TextEncoder.load(recipe.encoder, progress, bundle.device)
        vectors = bundle.ranker.vectors
        found["writer"] = evaluate_writer(
            writer, training, vectors, encoder, split, seed=recipe.seed, progress=progress
        )
    return found


def _intervals(evaluated: Mapping[str, RankingEvaluation], seed: int) -> dict[str, dict[str, list[float]]]:
    """All figures of all rankers over the same draws of users."""
    columns = [(name, metric) for name, one in evaluated.items() for metric in one.per_query]
    low, high = bootstrap_intervals(np.stack([evaluated[name].per_query[m] for name, m in columns], axis=1), seed)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in evaluated}
    for (name, metric), least, most in zip(columns, low, high, strict=True):
        found[name][evaluated[name].key(metric)] = [float(least), float(most)]
    return found


def _differences(model: RankingEvaluation, other: RankingEvaluation, seed: int) -> dict[str, dict[str, float]]:
    names = [name for name in model.per_query if name in other.per_query]
    by_query = np.stack([model.per_query[name] - other.per_query[name] for name in names], axis=1)
    low, high = bootstrap_intervals(by_query, seed)
    columns = zip(names, by_query.mean(axis=0), low, high, sign_flip_p_values(by_query, seed), strict=True)
    return {
        model.key(name): {"mean": float(mean), "low": float(least), "high": float(most), "p_value": float(p)}
        for name, mean, least, most, p in columns
    }
