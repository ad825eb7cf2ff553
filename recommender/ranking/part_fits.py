"""Fits the parts beside the sequence model; of each the variant is kept that ranks best alone on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from core.settings.models import EventWeights, ItemKnnSettings, NeighbourSettings
from recommender.errors import TrainingDataError
from recommender.fitting.context import FitContext
from recommender.fitting.finiteness import finite_scores
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries
from recommender.inputs.sequences import read_user_items
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import NdcgOfScores
from recommender.ranking.parts import (
    RECENT,
    Asked,
    ItemToItem,
    Popularity,
    RecentPopularity,
    Retriever,
    TextLikeness,
    events_by_kind,
    kinds_that_happened,
    recent_counts,
)
from recommender.retrieval.neighbours import NeighbourModel

ToldBy = dict[str, float | dict[str, float]]
# The part's name, what a variant of it is told apart by, and the variant.
Variant = tuple[str, ToldBy, Retriever]
# How an entry of a history counts: where it was rated low, and by its kind of event.
Counting = tuple[float, dict[str, float]]


@dataclass(frozen=True)
class PartInputs:
    """What parts are fitted from.

    Attributes:
        histories: Item indices of each training user.
        vectors: Catalogue and text vectors.
        neighbours, item_knn: Settings.
        asked_kinds: The kinds of events in the histories that variants are compared on.
        device: Where torch computes.
        popularity: Weights of kinds of events in the popularity of all time.
    """

    histories: list[np.ndarray]
    vectors: ItemVectors
    neighbours: NeighbourSettings
    item_knn: ItemKnnSettings
    asked_kinds: frozenset[str] = frozenset()
    device: str = "cpu"
    popularity: tuple[EventWeights, ...] = ({},)


def fit_parts(
    fit: FitContext,
    vectors: ItemVectors,
    kinds: tuple[str, ...],
    queries: Queries,
    settings: tuple[NeighbourSettings, ItemKnnSettings],
    popularity: tuple[EventWeights, ...] = ({},),
) -> tuple[dict[str, Retriever], ToldBy]:
    """Fit parts on the training sequences.

    Args:
        kinds: Keys of `FITS`; one that the data do not allow is left out.
        queries: Of the validation window, each with a known history.
        settings: Of neighbours and item-kNN.
        popularity: Weights of kinds of events in the popularity of all time.
    Returns:
        The parts, and what each chosen variant is told apart by.
    Raises:
        TrainingDataError: the sequences cannot be read, or kinds of events are to be weighed and it cannot be told
            which of them count.
    """
    if not kinds:
        return {}, {}
    passes = [
        (NdcgOfScores(some, vectors.ids, fit.k), Asked.of(some.users, vectors.ids))
        for some in queries.passes(len(vectors.ids))
    ]
    asked_kinds = frozenset(kind for _, asked in passes for events in asked.events for kind in events)
    histories = read_user_items(fit.training, vectors.ids)
    inputs = PartInputs(histories, vectors, *settings, asked_kinds, fit.device, popularity)
    n_had = len(np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *inputs.histories])))
    for kind, most in (("neighbours", inputs.neighbours.max_items), ("item_knn", inputs.item_knn.max_items)):
        if kind in kinds:
            fit.cap(f"items that {kind} learns", min(most, n_had), n_had, f"{kind}.max_items")
    chosen: dict[str, _Tried] = {}
    for kind in kinds:
        # By name, and whether all entries of a history count in full.
        best: dict[tuple[str, bool], _Tried] = {}
        for name, told_by, part in FITS[kind](inputs):
            found = [ndcg(finite_scores(name, part.scores(asked))) for ndcg, asked in passes]
            tried = _Tried(np.concatenate([np.zeros(0), *found]), told_by, part)
            which = name, _counts_in_full(name, told_by)
            if which not in best or tried.mean > best[which].mean:
                best[which] = tried
        for (name, _), tried in sorted(best.items(), key=lambda one: not one[0][1]):
            if name not in chosen or tried.is_surely_better_than(chosen[name]):
                chosen[name] = tried
    for name, tried in chosen.items():
        if len(queries):
            told = "".join(f", {key} {_shown(setting)}" for key, setting in tried.told_by.items())
            fit.progress(f"part {name}{told}: validation {metric_key('ndcg', fit.k)} {tried.mean:.4f}")
    choices = {key: setting for tried in chosen.values() for key, setting in tried.told_by.items()}
    return {name: tried.part for name, tried in chosen.items()}, choices


@dataclass(frozen=True)
class _Tried:
    """A variant of a part, and its NDCG for each validation query. Shape (B,)."""

    ndcg: np.ndarray
    told_by: ToldBy
    part: Retriever

    @property
    def mean(self) -> float:
        return float(self.ndcg.mean()) if len(self.ndcg) else 0.0

    def is_surely_better_than(self, other: _Tried) -> bool:
        """Whether its mean is higher by more than a standard error of the paired difference."""
        gain = self.ndcg - other.ndcg
        return bool(self.mean - other.mean > gain.std() / np.sqrt(len(gain))) if len(gain) else False


def _counts_in_full(name: str, told_by: ToldBy) -> bool:
    return told_by.get(f"{name}_low_rating", 1.0) == 1.0 and not told_by.get(f"{name}_event_weights")


def _shown(setting: float | dict[str, float]) -> str:
    if isinstance(setting, dict):
        return " and ".join(f"{kind} {weight:g}" for kind, weight in setting.items()) or "full"
    return f"{setting:g}"


def _countings(settings: NeighbourSettings | ItemKnnSettings, inputs: PartInputs) -> list[Counting]:
    """Every weight of low ratings, and with the first of them every weighting of kinds of events, where there are
    several kinds.
    """
    first, *others = [{str(kind): weight for kind, weight in one.items()} for one in settings.event_weights]
    found = [(low, first) for low in settings.low_ratings]
    return found + [(settings.low_ratings[0], one) for one in others if len(inputs.asked_kinds) > 1]


def _counted(name: str, model: NeighbourModel, counting: Counting, told_by: ToldBy) -> Variant:
    """A variant whose entries of a history count so."""
    low, weights = counting
    told_by = {**told_by, f"{name}_low_rating": low, f"{name}_event_weights": weights}
    return name, told_by, ItemToItem(name, model.with_low_rating(low).with_event_weights(weights))


def _neighbours(inputs: PartInputs) -> Iterator[Variant]:
    settings, n_items = inputs.neighbours, len(inputs.vectors.ids)
    for strength in dict.fromkeys((settings.regularisation, *settings.try_regularisations)):
        one = settings.model_copy(update={"regularisation": strength})
        model = NeighbourModel.fit(inputs.histories, n_items, one, inputs.device)
        for counting in _countings(settings, inputs):
            yield _counted("neighbours", model, counting, {"regularisation": strength})


def _item_knn(inputs: PartInputs) -> Iterator[Variant]:
    settings = inputs.item_knn
    model = NeighbourModel.fit_cosines(inputs.histories, len(inputs.vectors.ids), settings)
    for recency in dict.fromkeys((settings.recency, *settings.try_recencies)):
        for counting in _countings(settings, inputs):
            yield _counted("item_knn", model.with_recency(recency), counting, {"recency": recency})


def _text(inputs: PartInputs) -> Iterator[Variant]:
    if bool(inputs.vectors.text.any()):
        yield "text", {}, TextLikeness(inputs.vectors)


def _popularity(inputs: PartInputs) -> Iterator[Variant]:
    """By each weighting of kinds of events, where several kinds happened."""
    first, *others = [{str(kind): weight for kind, weight in one.items()} for one in inputs.popularity]
    catalogue = inputs.vectors.catalogue
    if (first or others) and not events_by_kind(catalogue) and kinds_that_happened(catalogue):
        raise TrainingDataError(
            "Cannot weigh events in the popularity of all time",
            got=f"recipe.blend.popularity_event_weights={[first, *others]}",
            expected="counts of events by kind that tell which kinds count",
            do="Set recipe.blend.popularity_event_weights to [{}]",
        )
    for weights in (first, *(others if len(events_by_kind(catalogue)) > 1 else ())):
        told_by: ToldBy = {"popularity_event_weights": weights} if first or others else {}
        yield "popularity", told_by, Popularity(inputs.vectors, weights)


def _popularity_recent(inputs: PartInputs) -> Iterator[Variant]:
    """Each window is a part: one against the other tells what is rising."""
    counts = recent_counts(inputs.vectors.catalogue)
    for window in range(counts.shape[1]):
        yield f"{RECENT}{window + 1}", {}, RecentPopularity(inputs.vectors, window)


FITS: dict[str, Callable[[PartInputs], Iterator[Variant]]] = {
    "neighbours": _neighbours,
    "item_knn": _item_knn,
    "text": _text,
    "popularity": _popularity,
    RECENT: _popularity_recent,
}
