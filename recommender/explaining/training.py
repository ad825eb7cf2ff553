"""Fit the explainer: count facts of the training window, and learn which of them matter to users."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import schema
from core.settings.models import ReasonSettings
from core.storage import atomic_folder
from recommender.aspects.agreement import ReviewedItem
from recommender.aspects.extraction import extract_aspects
from recommender.explaining.candidates import Nearest
from recommender.explaining.counting import count_together, of_split, read_choices, reviewed_items, shares_of
from recommender.explaining.examples import Chosen, Teacher, choices_in_sequences, reviewed_choices
from recommender.explaining.explainer import Explainer
from recommender.explaining.item_facts import ItemFacts
from recommender.explaining.relevance import STRENGTHS, Example, Relevance, area_under_curve, learn, log_loss
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.inputs.catalogue import Catalogue, read_training_table
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import read_queries
from recommender.inputs.user import UserState
from recommender.metrics.top_k import nearest_items

# With fewer choices nothing is learned; with fewer reviews, only choices teach.
MIN_CHOICES, MIN_REVIEWS = 50, 100
MAX_CHOICES = 2000
_REVIEW = [
    schema.USER_ID, schema.ITEM_ID, schema.RATING, schema.TEXT, schema.HISTORY_ITEMS, schema.HISTORY_VALUES,
    schema.HISTORY_EVENTS, schema.OWN_WORDS, schema.ATTRIBUTES,
]  # fmt: skip


def fit_explainer(fit: FitContext, vectors: Path, target: Path, settings: ReasonSettings) -> FitSummary | None:
    """Count facts and learn their relevance from what happened before the cut-off, and write the component.

    How cautious the regression is, is chosen on the validation window; where `fit.held` is given, it is as it was
    there. Which items of a history are most like an item is told by their texts here: the models that rank have
    learned from the very choices that teach.

    Args:
        vectors: The `vectors` component.
        target: The component's folder, written atomically.
    Returns:
        None where fewer than 50 choices are known: nothing is written then.
    Raises:
        TrainingDataError: a table cannot be read.
        BundleError: the vectors or the held component cannot be read.
    """
    started, fit = time.monotonic(), fit.afresh()
    items = ItemVectors.load(vectors)
    read = _read(fit, items.catalogue, settings)
    choices = _taught(fit, read, settings)
    if len(choices) < MIN_CHOICES:
        fit.progress(f"reasons: none, for {len(choices)} choices are fewer than {MIN_CHOICES}")
        return None
    teacher = Teacher(read.facts, nearest_by_text(items), settings.language, by_reviews=read.is_reviewed)
    examples = teacher.examples(choices, np.random.default_rng(fit.seed))
    held, later = fit.held_summary(), list[Example]()
    if held is None:
        later = teacher.examples(_asked_later(fit, read, settings), np.random.default_rng(fit.seed + 1))
        strength = _choose(examples, later)
    else:
        strength = float(held.choices["strength"])
    relevance = learn(examples, strength)
    summary = FitSummary(
        folder=target,
        epochs=0,
        best_epoch=0,
        metrics=_figures(relevance, later),
        seconds=time.monotonic() - started,
        choices={"strength": strength},
        caps=tuple(fit.caps),
    )
    with atomic_folder(target) as folder:
        Explainer(read.facts, relevance).save(folder)
        summary.write(folder)
    praised = f"{len(read.facts.aspects)} of {len(items.catalogue)} items have aspects that reviewers agree on"
    fit.progress(f"reasons: {len(examples)} statements taught, {praised}, {summary.seconds:.1f} s")
    return summary


def nearest_by_text(items: ItemVectors) -> Nearest:
    """From a user, an item and a number to the items of the history whose texts are most like the item's."""
    texts = items.retrieval[1:]

    def likeness(history: list[int], targets: list[int]) -> np.ndarray:
        found: np.ndarray = (texts[targets] @ texts[history].T).numpy()
        return found

    def nearest(user: UserState, item_id: str, n: int) -> list[tuple[str, float]]:
        return nearest_items(items.ids, user, [item_id], n, likeness)[0]

    return nearest


@dataclass(frozen=True)
class _Read:
    """What the training set says before the cut-off."""

    facts: ItemFacts
    reviews: Sequence[Mapping[str, Any]]
    reviewed: Mapping[int, ReviewedItem]
    by_user: Mapping[str, Mapping[str, float | None]]

    @property
    def is_reviewed(self) -> bool:
        return len(self.reviews) >= MIN_REVIEWS


def _read(fit: FitContext, catalogue: Catalogue, settings: ReasonSettings) -> _Read:
    reviews = of_split(fit.training, "reviews", "train", _REVIEW)
    aspects = extract_aspects((row[schema.TEXT] for row in reviews), settings.language)
    reviewed, by_user = reviewed_items(catalogue, reviews, aspects), read_choices(fit.training)
    agreed = {place: tuple(item.agreed(settings.min_reviewers)) for place, item in sorted(reviewed.items())}
    counts = count_together(catalogue, by_user.values())
    facts = ItemFacts(catalogue, {place: one for place, one in agreed.items() if one}, shares_of(aspects), counts)
    return _Read(facts, reviews, reviewed, by_user)


def _taught(fit: FitContext, read: _Read, settings: ReasonSettings) -> list[Chosen]:
    """The choices before the cut-off that teach: reviewed ones, where the shop has enough of these."""
    if read.is_reviewed:
        rows = _some(fit, read.reviews, "reviews that teach what matters")
        return reviewed_choices(rows, read.facts, read.by_user, read.reviewed, settings)
    rows = _some(fit, read_training_table(fit.training, "sequences").to_pylist(), "sequences that teach what matters")
    return choices_in_sequences(rows, read.facts, read.by_user, read.reviewed, settings)


def _asked_later(fit: FitContext, read: _Read, settings: ReasonSettings) -> list[Chosen]:
    """Choices of the validation window."""
    if read.is_reviewed:
        rows = of_split(fit.training, "reviews", "validation", _REVIEW)
        return reviewed_choices(rows[:MAX_CHOICES], read.facts, read.by_user, None, settings)
    queries, ids = read_queries(fit.training, "validation"), read.facts.catalogue.ids
    asked = zip(queries.users[:MAX_CHOICES], queries.targets, queries.user_ids, strict=False)
    return [
        Chosen(user, targets[0], None, None, frozenset(ids.index(item) - 1 for item in read.by_user.get(user_id, {})))
        for user, targets, user_id in asked
    ]


def _some(fit: FitContext, rows: Sequence[Mapping[str, Any]], what: str) -> list[Mapping[str, Any]]:
    """At most `MAX_CHOICES` of them, drawn by the seed, in their order."""
    fit.cap(what, min(len(rows), MAX_CHOICES), len(rows), "a sample that is enough for so few weights")
    if len(rows) <= MAX_CHOICES:
        return list(rows)
    places = np.random.default_rng(fit.seed).choice(len(rows), MAX_CHOICES, replace=False)
    return [rows[place] for place in sorted(places)]


def _choose(examples: Sequence[Example], later: Sequence[Example]) -> float:
    """The strength that expects the validation window best; of equals, and without such a window, the most cautious."""
    losses = {strength: log_loss(learn(examples, strength), later) for strength in STRENGTHS}
    return min(STRENGTHS, key=lambda strength: (round(losses[strength], 6), strength))


def _figures(relevance: Relevance, later: Sequence[Example]) -> dict[str, float]:
    """On the validation window: how well what mattered is told from what did not."""
    found = {
        "validation_auc_by_reviews": area_under_curve(relevance, later, True),
        "validation_auc_by_choices": area_under_curve(relevance, later, False),
    }
    return {name: value for name, value in found.items() if value is not None}
