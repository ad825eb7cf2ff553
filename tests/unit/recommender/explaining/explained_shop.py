"""A training set from which reasons can be learned, small enough to read: who likes kettles writes of lids."""

from pathlib import Path
from typing import Any

import numpy as np

from core import schema
from recommender.aspects.agreement import Agreement
from recommender.explaining.item_facts import ItemFacts, SharedCounts
from recommender.inputs.user import UserState
from tests.unit.recommender.tiny_shop import catalogue_of, save_random_vectors, write

KETTLES, TEAS = ([f"{kind}-{n}" for n in range(6)] for kind in ("kettle", "tea"))
ITEMS = [*KETTLES, *TEAS]
N_USERS = 60
SIDES = {"kettle": "lid", "tea": "taste"}
CHOSEN_PER_USER = 4


def catalogue_row(name: str, **changes: Any) -> dict[str, Any]:
    kind, _, number = name.partition("-")
    return {
        schema.ITEM_ID: name,
        schema.TITLE: f"Fine {kind} {number}",
        schema.CATEGORY: f"Home > {kind.title()}s",
        schema.BRAND: "Alba" if int(number) < 3 else "Brio",
        schema.PRICE: 10.0 + int(number),
        schema.ITEM_TEXT: f"Fine {kind} {number}. Alba. For every table",
        schema.ITEM_N_EVENTS: 20 - int(number),
        schema.ITEM_N_RATINGS: 10,
        schema.ITEM_MEAN_RATING: 4.5,
    } | changes


def write_shop(folder: Path, reviewed: bool = True) -> Path:
    """Each user chooses four items of one kind, one after the other; the last one lies in the validation window."""
    random = np.random.default_rng(4)
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("sequences", "queries", "pairs", "reviews")}
    for number in range(N_USERS):
        kind = ("kettle", "tea")[number % 2]
        items = [f"{kind}-{n}" for n in random.permutation(6)[: CHOSEN_PER_USER + 1]]
        user = {schema.USER_ID: f"u{number}"}
        values = [5.0] * CHOSEN_PER_USER
        past = {schema.HISTORY_ITEMS: items[:-1], schema.HISTORY_VALUES: values if reviewed else [None] * len(values)}
        kinds = {schema.HISTORY_EVENTS: ["rating" if reviewed else "purchase"] * CHOSEN_PER_USER}
        tables["sequences"].append({**user, **past, **kinds, schema.N_CONTEXT: 0})
        tables["queries"].append({**user, schema.SPLIT: "validation", **past, **kinds, schema.TARGETS: items[-1:]})
        for place, item in enumerate(items if reviewed else ()):
            split = {schema.SPLIT: "train" if place < CHOSEN_PER_USER else "validation"}
            before = {schema.HISTORY_ITEMS: items[:place], schema.HISTORY_VALUES: values[:place]}
            text = f"The {SIDES[kind]} is great. I have used it for user {number} since then, and it is good."
            row = {**user, **split, **before, schema.ITEM_ID: item, schema.RATING: 5.0}
            tables["pairs"].append({**row, schema.N_RATINGS: place, schema.ITEM_N_RATINGS: 3})
            tables["reviews"].append({**row, schema.TEXT: text, schema.OWN_WORDS: SIDES[kind] if place > 1 else ""})
    folder.mkdir(parents=True)
    write(folder, "catalogue", [catalogue_row(name) for name in ITEMS])
    write(folder, "items_then", [])
    for name, rows in tables.items():
        write(folder, name, rows)
    save_random_vectors(folder, folder / "vectors")
    return folder


def facts_of(
    rows: list[dict[str, Any]],
    aspects: dict[str, list[tuple[str, int]]] | None = None,
    together: dict[tuple[str, str], tuple[int, int, int]] | None = None,
    n_chosen: int = 10,
    n_customers: int = 100,
) -> ItemFacts:
    """Facts of a catalogue.

    Args:
        aspects: Of items, terms and how many praise them.
        together: Of an item and another one: how many chose both, rated both, and liked the first.
    """
    catalogue = catalogue_of(rows)
    ids = catalogue.ids
    agreed = {
        ids.index(item) - 1: tuple(Agreement(term, term, n, 0, ("great",)) for term, n in found)
        for item, found in (aspects or {}).items()
    }
    shared = sorted((ids.index(a) - 1, ids.index(b) - 1, *counts) for (a, b), counts in (together or {}).items())
    columns = np.array(shared, dtype=np.int64).reshape(-1, 5).T
    starts = np.searchsorted(columns[0], np.arange(len(ids) + 1)).astype(np.int64)
    chosen = np.full(len(ids), n_chosen, dtype=np.int64)
    _, others, n_both, n_rated, n_liked = columns
    counts = SharedCounts(starts, others, n_both, n_rated, n_liked, chosen, n_customers)
    return ItemFacts(catalogue, agreed, {"lid": 0.5}, counts)


def nobody_near(user: UserState, item_id: str, n: int) -> list[tuple[str, float]]:
    """A ranker that compares no items."""
    return []
