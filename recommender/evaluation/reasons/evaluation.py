"""Evaluate reasons: how many of the facts that are said of what users then took the shop's tables support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core import schema
from recommender.bundle.loading import Bundle
from recommender.evaluation.reasons.support import Likeness, Shop, read_shop
from recommender.explaining.counting import of_split
from recommender.explaining.facts import Fact
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.ranker import Ranker

# Reasons that are asked for: with some 300 facts, .98 and .95 tell each other apart.
N_REASONS = 200
_BEFORE: Mapping[schema.Split, tuple[schema.Split, ...]] = {
    "train": (),
    "validation": ("train",),
    "test": ("train", "validation"),
}


@dataclass(frozen=True)
class Said:
    """What is said to a user of an item."""

    user_id: str
    item_id: str
    facts: tuple[Fact, ...]


def evaluate_reasons(
    bundle: Bundle, training: Path, clean: Path, queries: Queries, split: schema.Split, n_reasons: int = N_REASONS
) -> dict[str, Any]:
    """Factuality of reasons: of the facts that are said, the share that the clean tables support.

    Reasons are asked for as the window opens, for what its users then took. Each fact is looked up in the clean tables
    by code that shares nothing with what made it. `of_others` holds the same facts against another item, which shows
    what a check that lets everything pass would not.

    Args:
        clean: The folder of the clean tables.
        queries: Of the window.
        n_reasons: At most so many, drawn by the bundle's seed.
    Returns:
        `{"n_reasons": n, "n_facts": …, "factuality": …, "of_others": …, "by_kind": {kind: {n_facts, factuality}}}`;
        `{"n_reasons": 0}` where nobody took what the bundle knows.
    Raises:
        TrainingDataError: the reviews cannot be read.
    """
    seed = bundle.manifest.recipe.seed
    pairs = pairs_of(queries, bundle, n_reasons, seed)
    if not pairs or bundle.explainer is None:
        return {"n_reasons": 0}
    users, nearest = read_users(training, queries, split), bundle.ranker.nearest_history
    said = []
    for number, (user_id, item_id) in enumerate(pairs):
        reason = bundle.explainer.explain(users[user_id], item_id, nearest, seed + number)
        said.append(Said(user_id, item_id, tuple(one.fact for one in reason.statements)))
    data = bundle.manifest.data
    cut = datetime.fromisoformat(data.validation_at)
    opens = cut if split == "validation" else datetime.fromisoformat(data.test_at)
    shop = shop_of(bundle, clean, cut, opens, said)
    n_facts, wrong = supported(shop, said)
    _, wrong_of_others = supported(shop, of_others(said))
    n = sum(n_facts.values())
    return {
        "n_reasons": len(said),
        "n_facts": n,
        "factuality": 1 - sum(wrong.values()) / n,
        "of_others": 1 - sum(wrong_of_others.values()) / n,
        "by_kind": {
            kind: {"n_facts": n_kind, "factuality": 1 - wrong[kind] / n_kind} for kind, n_kind in n_facts.most_common()
        },
    }


def pairs_of(queries: Queries, bundle: Bundle, n: int, seed: int) -> list[tuple[str, str]]:
    """Users and what they took in the window, at most n pairs of what the bundle knows."""
    pairs = [
        (user_id, item)
        for user_id, targets in zip(queries.user_ids, queries.targets, strict=True)
        for item in targets
        if item in bundle.catalogue.ids
    ]
    places = np.random.default_rng(seed).permutation(len(pairs))[:n]
    return [pairs[place] for place in sorted(places)]


def read_users(training: Path, queries: Queries, split: schema.Split = "test") -> dict[str, UserState]:
    """The users as a window opens, with the own words of the newest review before it.

    Raises:
        TrainingDataError: the reviews cannot be read.
    """
    newest: dict[str, str] = {}
    for earlier in _BEFORE[split]:
        for row in of_split(training, "reviews", earlier, [schema.USER_ID, schema.OWN_WORDS]):
            newest[row[schema.USER_ID]] = row[schema.OWN_WORDS] or ""
    states = zip(queries.user_ids, queries.users, strict=True)
    return {user_id: replace(state, own_words=newest.get(user_id, "")) for user_id, state in states}


def likeness_of(ranker: Ranker | BaselineRanker) -> Likeness:
    """How like an item another one is, by the vectors or weights that the ranker compares them by."""
    ids, similarities = ranker.ids, lru_cache(maxsize=8)(ranker.similarities)

    def likeness(item_id: str, other: str) -> float | None:
        found = similarities(item_id) if item_id in ids and other in ids else None
        return None if found is None else float(found[ids.index(other) - 1])

    return likeness


def shop_of(bundle: Bundle, clean: Path, facts_until: datetime, own_until: datetime, said: Sequence[Said]) -> Shop:
    """The clean tables as far as what is said is about them."""
    users, items = {one.user_id for one in said}, {one.item_id for one in said}
    named = {item for one in said for fact in one.facts for item in fact.items}
    likeness, max_history = likeness_of(bundle.ranker), bundle.manifest.recipe.features.max_history
    return read_shop(clean, facts_until, own_until, users, items, named, likeness, max_history)


def of_others(said: Sequence[Said]) -> list[Said]:
    """The same facts, each said of the item of the reason after it."""
    return [replace(one, item_id=after.item_id) for one, after in zip(said, [*said[1:], said[0]], strict=True)]


def supported(shop: Shop, said: Sequence[Said]) -> tuple[Counter[str], Counter[str]]:
    """How many facts of each kind are said, and how many of them nothing supports."""
    n_facts, wrong = Counter[str](), Counter[str]()
    for one in said:
        for fact in one.facts:
            n_facts[fact.kind] += 1
            wrong[fact.kind] += not shop.supports(fact, one.user_id, one.item_id)
    return n_facts, wrong
