"""Fits the neighbourhood model, chooses how it blends with the sequence model, and how users without a history are
ranked: the `blend` component.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from core.settings.models import BlendSettings, NeighbourSettings
from core.storage import atomic_folder
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.fitting.summary import FitSummary
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries, read_queries, sample_queries
from recommender.inputs.sequences import read_user_items
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import NdcgOfScores
from recommender.ranking.blend import Blend, ColdItems, choose_blend, fit_gate, standardised
from recommender.ranking.cold_items import choose_cold
from recommender.ranking.cold_users import EncoderOf
from recommender.ranking.cold_users_training import (
    ColdUserChoices,
    TrainingUsers,
    fit_cold_users,
    refit_cold_users,
)
from recommender.ranking.ranker import Ranker
from recommender.retrieval.neighbours import NeighbourModel
from recommender.retrieval.sequence.model import load_sequence_model

# Enough for a steady choice, and little memory: two score matrices of so many rows lie in it at once.
MAX_QUERIES = 2000
# The gate's gradients are some copies of the matrices more.
MAX_GATE_QUERIES = 500


def fit_blend(
    fit: FitContext,
    vectors: Path,
    sequence: Path,
    target: Path,
    neighbours: NeighbourSettings,
    blend: BlendSettings,
) -> FitSummary:
    """Learn neighbours from the training sequences, choose the blend on the validation window, write the component.

    Where `fit.held` is given, its blend, strength and weights are taken over; neighbours, shares and the regression on
    users' texts are learned again.

    Args:
        vectors: The `vectors` component.
        sequence: The `sequence` component.
        target: The component's folder, written atomically.
    Raises:
        TrainingDataError: the sequences or the queries cannot be read.
        BundleError: vectors or sequence model cannot be read.
    """
    started = time.monotonic()
    items = ItemVectors.load(vectors)
    ranker = Ranker(items, load_sequence_model(sequence, items))
    held = fit.held_summary()
    with deterministic(fit.seed, fit.threads):
        if held is not None:
            neighbours = neighbours.model_copy(
                update={"regularisation": held.choices["regularisation"], "try_regularisations": ()}
            )
        asked = Queries((), ()) if held is not None else read_queries(fit.training, "validation")
        warm = _warm_queries(ranker, asked)
        queries = sample_queries(warm, MAX_QUERIES, fit.seed)
        histories = read_user_items(fit.training, items.ids)
        tried = []
        for strength in dict.fromkeys((neighbours.regularisation, *neighbours.try_regularisations)):
            one = neighbours.model_copy(update={"regularisation": strength})
            model = NeighbourModel.fit(histories, len(items.ids), one)
            chosen, metrics = _choose(ranker, model, queries, blend, fit.k)
            if held is None:
                fit.progress(f"neighbours, regularisation {strength:g}: {_describe(chosen, metrics)}")
            tried.append((model, chosen, {**metrics, "regularisation": strength}))
        model, chosen, metrics = max(tried, key=lambda one: one[2].get(f"{metric_key('ndcg', fit.k)}_blend", 0.0))
        strength = metrics["regularisation"]
        cold, figures = ColdItems(), dict[str, float]()
        if fit.held is not None:
            chosen, cold = Blend.load(fit.held), ColdItems.load(fit.held)
        elif len(queries):
            blended = Ranker(items, ranker.model, model, chosen)
            cold, figures = choose_cold(blended, warm, fit.k, fit.seed)
        encode = EncoderOf(vectors) if blend.profiles else None
        users = TrainingUsers.read(fit.training, items.ids)
        if held is None:
            cold_users, of_cold_users, cold_choices = fit_cold_users(fit, users, asked, items.catalogue, encode)
            metrics = {**metrics, **figures, **of_cold_users}
        else:
            cold_choices = ColdUserChoices(**held.choices["cold_users"])
            cold_users, metrics = refit_cold_users(fit, users, cold_choices, items.catalogue, encode), {}
    fit.progress(f"blend: {_describe(chosen, metrics)}; cold items: text {cold.text_weight:g}, lift {cold.lift:g}")
    summary = FitSummary(
        folder=target,
        epochs=1,
        best_epoch=1,
        metrics=metrics,
        seconds=time.monotonic() - started,
        choices={"regularisation": strength, "cold_users": asdict(cold_choices)},
    )
    with atomic_folder(target) as folder:
        model.save(folder)
        chosen.save(folder)
        cold.save(folder)
        cold_users.save(folder)
        summary.write(folder)
    return summary


def _warm_queries(ranker: Ranker, queries: Queries) -> Queries:
    """Those of users with a history that the ranker knows."""
    warm = [
        place for place in np.flatnonzero(queries.is_warm) if ranker.answered_by(queries.users[place]) == "sequence"
    ]
    return queries.take(np.array(warm, dtype=np.int64))


def _choose(
    ranker: Ranker, model: NeighbourModel, queries: Queries, settings: BlendSettings, k: int
) -> tuple[Blend, dict[str, float]]:
    if not len(queries):
        return Blend("none"), {}
    histories = [ranker.ids.known_indices(user.items) for user in queries.users]
    lengths = np.array([len(history) for history in histories])
    first = standardised(ranker.scores(queries.users, exclude_seen=False), "sequence model")
    second = standardised(model.scores(histories), "neighbours")
    ndcg = NdcgOfScores(queries, ranker.ids, k)

    def measure(blend: Blend) -> float:
        return float(ndcg(first + blend.part(second, lengths)).mean())

    gate = None
    fittable = [row for row, wanted in enumerate(ndcg.targets) if wanted][:MAX_GATE_QUERIES]
    if settings.kind in ("auto", "gate") and fittable:
        places = [[index - 1 for index in ndcg.targets[row]] for row in fittable]
        gate = fit_gate(
            first[fittable], second[fittable], lengths[fittable], places, [ndcg.seen[row].tolist() for row in fittable]
        )
    chosen, value = choose_blend(settings.kind, measure, gate)
    key = metric_key("ndcg", k)
    return chosen, {f"{key}_sequence": measure(Blend("none")), f"{key}_blend": value}


def _describe(blend: Blend, metrics: dict[str, float]) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    by = f"validation {figures}" if metrics else "held"
    return f"{blend.kind}, neighbours' weight {_shown(blend)}; {by}"


def _shown(blend: Blend) -> str:
    if blend.kind != "gate":
        return f"{float(blend.weights(np.array([1]))[0]):g}"
    return ", ".join(f"{float(blend.weights(np.array([n]))[0]):.2f} at {n}" for n in (1, 5, 20))
