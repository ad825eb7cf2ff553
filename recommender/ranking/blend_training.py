"""Fits the parts beside the sequence model, chooses how all of them blend, and how users without a history are ranked:
the `blend` component.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.settings.models import BlendKind, BlendSettings, ItemKnnSettings, NeighbourSettings
from core.storage import atomic_folder
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.fitting.summary import FitSummary
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import A_SAMPLE, Queries, read_queries, sample_queries
from recommender.metrics.ranking import metric_key
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.candidates import Candidates
from recommender.ranking.choice import (
    MIN_LEARNED,
    MIN_QUERIES,
    Fit,
    Halves,
    JudgedBy,
    Option,
    Way,
    best_correction,
    cross_validated,
    fixed,
    folds_of,
    simplest_of_the_best,
)
from recommender.ranking.cold_items import choose_cold
from recommender.ranking.cold_users import ColdUserWeights, EncoderOf
from recommender.ranking.cold_users_training import (
    MAX_USERS,
    ColdUserChoices,
    TrainingUsers,
    fit_cold_users,
    refit_cold_users,
)
from recommender.ranking.correction import Correction, has_correction, load_correction
from recommender.ranking.correction_training import check_targets, fit_network, fit_trees
from recommender.ranking.part_fits import FITS, fit_parts
from recommender.ranking.parts import counts_all_items, popularity_weights, save_parts
from recommender.ranking.ranker import Ranker
from recommender.ranking.weights import fit_gate, fit_weights
from recommender.retrieval.sequence.model import load_sequence_model

# Enough for a steady choice.
MAX_QUERIES = 2000
# Evenly: the two that rank best alone wherever they were measured. Where too few users can be asked it is taken unseen,
# or the mean where no item-kNN is fitted for the kind.
EVENLY = Blend("mean", {"sequence": 1.0, "item_knn": 1.0})
MEAN = Blend("mean", {"sequence": 1.0, "neighbours": 1.0})
# What corrects the weighted blend, the simpler one first.
LEARNED: dict[BlendKind, Callable[[Candidates, Blend, tuple[str, ...], int], Correction]] = {
    "network": fit_network,
    "trees": fit_trees,
}
# What learns the weights of a kind.
WEIGHED: dict[BlendKind, Callable[[Candidates], Blend]] = {"gate": fit_gate, "weighted": fit_weights}
# By kind, which parts it needs beside the sequence model; all where it is not named.
NEEDED: dict[str, tuple[str, ...]] = {"none": (), "mean": ("neighbours",), "gate": ("neighbours",)}


def fit_blend(
    fit: FitContext,
    vectors: Path,
    sequence: Path,
    target: Path,
    parts: tuple[NeighbourSettings, ItemKnnSettings],
    blend: BlendSettings,
) -> FitSummary:
    """Fit the parts on the training sequences, choose the blend on the validation window, write the component.

    Where `fit.held` is given, its blend, its variants of the parts and its weights are taken over; the parts, shares
    and the regression on users' texts are learned again.

    Args:
        vectors: The `vectors` component.
        sequence: The `sequence` component.
        target: The component's folder, written atomically.
        parts: Settings of neighbours and item-kNN.
    Raises:
        TrainingDataError: the sequences or the queries cannot be read.
        BundleError: vectors or sequence model cannot be read.
    """
    started, fit = time.monotonic(), fit.afresh()
    items = ItemVectors.load(vectors)
    model = load_sequence_model(sequence, items, fit.device)
    held = fit.held_summary()
    with deterministic(fit.seed, fit.threads):
        asked = Queries((), ()) if held is not None else read_queries(fit.training, "validation")
        warm = warm_queries(Ranker(items, model), asked)
        queries = sample_queries(warm, MAX_QUERIES, fit.seed)
        fit.cap("validation users that the blend is chosen by", len(queries), len(warm), A_SAMPLE)
        kinds = NEEDED.get(blend.kind, tuple(FITS))
        popularity = blend.popularity_event_weights
        if fit.held is not None:
            popularity = (popularity_weights(fit.held, items),)
        retrievers, choices = fit_parts(fit, items, kinds, queries, _as_chosen(parts, held), popularity)
        ranker, cold, metrics = Ranker(items, model, retrievers), ColdItems(), dict[str, float]()
        if fit.held is not None:
            chosen, cold = _held_way(ranker, fit.held), ColdItems.load(fit.held)
            judged_by = held.choices.get("correction_judged_by") if held is not None else None
        else:
            chosen, metrics, judged_by = _choose(ranker, queries, blend, fit)
            if len(queries):
                served = Ranker(items, model, retrievers, chosen.blend).corrected(chosen.correction)
                cold, figures = choose_cold(served, warm, fit.k, fit.seed)
                metrics |= figures
        cold_users, figures, cold_choices = _cold_users(
            fit, items, asked, EncoderOf(vectors, fit.device) if blend.profiles else None
        )
    metrics |= figures
    fit.progress(
        f"blend: {_describe(chosen.blend, metrics)}; cold items: text {cold.text_weight:g}, lift {cold.lift:g}"
    )
    summary = FitSummary(
        folder=target,
        epochs=1,
        best_epoch=1,
        metrics=metrics,
        seconds=time.monotonic() - started,
        choices={**choices, "correction_judged_by": judged_by, "cold_users": asdict(cold_choices)},
        caps=tuple(fit.caps),
    )
    with atomic_folder(target) as folder:
        # What is held was chosen by the counts of its time.
        save_parts(folder, retrievers, fit.held is None or counts_all_items(fit.held))
        chosen.blend.save(folder)
        if chosen.correction is not None:
            chosen.correction.save(folder)
        cold.save(folder)
        cold_users.save(folder)
        summary.write(folder)
    return summary


def _held_way(ranker: Ranker, held: Path) -> Way:
    """The blend of a held fit, and its correction, as they were."""
    correction = load_correction(held, ranker.describer.names) if has_correction(held) else None
    return Way(Blend.load(held), correction)


def _as_chosen(
    parts: tuple[NeighbourSettings, ItemKnnSettings], held: FitSummary | None
) -> tuple[NeighbourSettings, ItemKnnSettings]:
    """The settings of the parts, with the variants that a held fit chose in place of those to try."""
    neighbours, item_knn = parts
    if held is None:
        return parts
    given = held.choices
    strength, recency = given.get("regularisation", neighbours.regularisation), given.get("recency", item_knn.recency)

    def counting(name: str) -> dict[str, Any]:
        low, weights = given.get(f"{name}_low_rating", 1.0), given.get(f"{name}_event_weights", {})
        return {"low_ratings": (low,), "event_weights": (weights,)}

    return (
        neighbours.model_copy(update={"regularisation": strength, "try_regularisations": (), **counting("neighbours")}),
        item_knn.model_copy(update={"recency": recency, "try_recencies": (), **counting("item_knn")}),
    )


def _cold_users(
    fit: FitContext, items: ItemVectors, asked: Queries, encode: EncoderOf | None
) -> tuple[ColdUserWeights, dict[str, float], ColdUserChoices]:
    """How users without a history are ranked, the figures, and what was chosen."""
    users = TrainingUsers.read(fit.training, items.ids)
    if encode is not None:
        n_with_text = sum(map(bool, users.texts))
        fit.cap("users whose attributes are learned from", min(MAX_USERS, n_with_text), n_with_text, A_SAMPLE)
    held = fit.held_summary()
    if held is None:
        return fit_cold_users(fit, users, asked, items.catalogue, encode)
    choices = ColdUserChoices(**held.choices["cold_users"])
    return refit_cold_users(fit, users, choices, items.catalogue, encode), {}, choices


def warm_queries(ranker: Ranker, queries: Queries) -> Queries:
    """Those of users with a history that the ranker knows."""
    warm = [
        place for place in np.flatnonzero(queries.is_warm) if ranker.answered_by(queries.users[place]) == "sequence"
    ]
    return queries.take(np.array(warm, dtype=np.int64))


def _choose(
    ranker: Ranker, queries: Queries, settings: BlendSettings, fit: FitContext
) -> tuple[Way, dict[str, float], JudgedBy]:
    """The way to rank, the NDCG of each part alone and of what was tried, and what corrections were judged by."""
    unseen = {"none": Blend(), "mean": MEAN, "gate": MEAN}.get(settings.kind, EVENLY)
    if not len(queries) or (len(queries) < MIN_QUERIES and settings.kind == "auto"):
        return Way(unseen), {}, "nothing"
    candidates = _candidates(ranker, queries, settings)
    halves = _halves(ranker, queries, candidates, settings, fit) if settings.kind == "auto" else None
    features = ranker.describer.names
    tried = options_of(settings, candidates, fit, features, correct=halves is None)
    key = metric_key("ndcg", fit.k)
    for option in tried:
        _tell(option, f"cross-validated {key}", fit)
    chosen = simplest_of_the_best(tried) if settings.kind == "auto" else max(tried, key=lambda one: one.ndcg.mean())
    alone = {name: candidates.ndcg(candidates.of_part(name), fit.k) for name in candidates.names}
    figures = {f"{key}_{name}": float(ndcg.mean()) for name, ndcg in (alone | {"blend": chosen.ndcg}).items()}
    if halves is None:
        return chosen.way, figures, "users" if any(one.way.correction is not None for one in tried) else "nothing"
    chosen, later = _correct_forward(halves, chosen.way.blend, settings, fit, features)
    return chosen.way, figures | later, "time"


def _candidates(ranker: Ranker, queries: Queries, settings: BlendSettings) -> Candidates:
    names = ranker.part_names
    return Candidates.of(
        lambda users: ranker.standard_scores(users, names),
        queries,
        ranker.ids,
        names,
        settings.candidates,
        ranker.describer if settings.kind in ("auto", *LEARNED) else None,
    )


def _halves(
    ranker: Ranker, queries: Queries, whole: Candidates, settings: BlendSettings, fit: FitContext
) -> Halves | None:
    """The halves of the validation window; None where it has none, or too few users in one to judge by."""
    warm = warm_queries(ranker, read_queries(fit.training, "validation_late"))
    late = sample_queries(warm, MAX_QUERIES, fit.seed)
    fit.cap("users of the later half of validation that corrections are judged by", len(late), len(warm), A_SAMPLE)
    if not len(late) and not any(queries.n_early):
        return None
    halves = Halves(whole, whole.wanting(queries.early_targets, ranker.ids), _candidates(ranker, late, settings))
    return halves if halves.can_judge else None


def options_of(
    settings: BlendSettings, candidates: Candidates, fit: FitContext, features: tuple[str, ...], *, correct: bool
) -> list[Option]:
    """What is tried for a kind; `auto` tries all, corrections where `correct` says so."""
    kind = settings.kind

    def wanted(*kinds: str) -> bool:
        return kind in ("auto", *kinds)

    k, folds = fit.k, folds_of(len(candidates), fit.seed)
    found = [fixed(Blend(), candidates, k)] if wanted("none", "part") else []
    if wanted("part"):
        others = [name for name in candidates.names if name != "sequence"]
        found += [fixed(Blend("part", {name: 1.0}), candidates, k) for name in others]
    if wanted("mean"):
        found += [fixed(MEAN, candidates, k)]
    if kind == "auto":
        found += [fixed(EVENLY, candidates, k)]
    for name, weigh in WEIGHED.items():
        if wanted(name):
            found += [cross_validated(_uncorrected(weigh), candidates, folds, k, level=1)]
    enough = correct and candidates.n_with_target >= MIN_LEARNED
    for level, name in enumerate(LEARNED, start=2):
        if kind == name:
            check_targets(candidates)
        if kind == name or (kind == "auto" and enough):
            found += [cross_validated(_corrected(name, settings, fit, features), candidates, folds, k, level)]
    return found


def _correct_forward(
    halves: Halves, blend: Blend, settings: BlendSettings, fit: FitContext, features: tuple[str, ...]
) -> tuple[Option, dict[str, float]]:
    """A blend as it is, or corrected where that surely ranks better forward in time; and the NDCG of each tried."""
    k, key = fit.k, f"later_{metric_key('ndcg', fit.k)}"
    tried = {"uncorrected": halves.forward(_uncorrected(WEIGHED.get(blend.kind, lambda _: blend)), k, level=0)}
    for level, name in enumerate(LEARNED, start=1):
        tried[name] = halves.forward(_corrected(name, settings, fit, features), k, level)
    for option in tried.values():
        _tell(option, f"in the later half of the window {metric_key('ndcg', k)}", fit)
    figures = {f"{key}_{name}": float(option.ndcg.mean()) for name, option in tried.items()}
    uncorrected, *corrections = tried.values()
    return best_correction(uncorrected, corrections), figures


def relearning(kind: BlendKind, settings: BlendSettings, fit: FitContext, features: tuple[str, ...]) -> Fit | None:
    """How the weights of a kind, and what corrects them, are learned of candidates; None where nothing is learned.

    Args:
        features: The names of those that a correction reads.
    """
    if kind in LEARNED:
        return _corrected(kind, settings, fit, features)
    return _uncorrected(WEIGHED[kind]) if kind in WEIGHED else None


def _uncorrected(weigh: Callable[[Candidates], Blend]) -> Fit:
    return lambda some: Way(weigh(some))


def _corrected(name: BlendKind, settings: BlendSettings, fit: FitContext, features: tuple[str, ...]) -> Fit:
    """The weights, corrected by what a kind learns where there is a target to learn from."""

    def fit_way(some: Candidates) -> Way:
        if not some.n_with_target:
            return Way(fit_weights(some))
        blend = replace(fit_weights(some), kind=name, candidates=settings.candidates)
        return Way(blend, LEARNED[name](some, blend, features, fit.seed))

    return fit_way


def _tell(option: Option, what: str, fit: FitContext) -> None:
    blend = option.way.blend
    fit.progress(f"blend {blend.kind}, {_shown(blend)}: {what} {option.ndcg.mean():.4f}")


def _describe(blend: Blend, metrics: dict[str, float]) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    return f"{blend.kind}, {_shown(blend)}; {f'validation {figures}' if metrics else 'held'}"


def _shown(blend: Blend) -> str:
    """Each part with its weight."""
    if blend.kind != "gate":
        return ", ".join(f"{part} {weight:.2g}" for part, weight in blend.weights.items())
    weights = (f"{float(blend.weight_of('neighbours', np.array([n]))[0]):.2f} at {n}" for n in (1, 5, 20))
    return f"neighbours {', '.join(weights)}"
