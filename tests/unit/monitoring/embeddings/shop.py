"""A `vectors` component and events of a shop whose items differ in kind and in style, made for these tests."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from core.settings.models import EncoderSettings
from core.storage import write_json
from monitoring.embeddings.items import PlacedItems
from recommender.encoders.weights import SETTINGS_FILE
from recommender.encoders.whitening import WHITENING_FILE
from recommender.inputs.item_vectors import ItemVectors
from tests.unit.recommender.tiny_shop import catalogue_of, catalogue_row, not_whitened

N_ITEMS, WIDTH = 80, 12
DAYS, TURN, DAILY, PEOPLE = 150, 143, 60, 600
IDS = [f"i{n}" for n in range(N_ITEMS)]


def is_oaky(item: np.ndarray) -> np.ndarray:
    """The style of an item, the same share in each of the four categories, which are the number modulo 4."""
    return item % 8 >= 4


def save_vectors(folder: Path, item_ids: list[str], rows: np.ndarray, model: str = "minilm") -> Path:
    """A component of these items' vectors."""
    folder.mkdir(parents=True)
    items = ItemVectors.from_rows(catalogue_of([catalogue_row(one, 1) for one in item_ids]), rows)
    order = [item_ids.index(one) for one in items.ids.item_ids]
    ItemVectors.from_rows(items.catalogue, rows[order]).save(folder)
    not_whitened(rows.shape[1]).save(folder / WHITENING_FILE)
    write_json(folder / SETTINGS_FILE, EncoderSettings(model=model).model_dump(mode="json"))
    return folder


def vectors_of(n_items: int = N_ITEMS) -> np.ndarray:
    """By category, by style, and of each item alone; of length 1."""
    rng, item = np.random.default_rng(1), np.arange(n_items)
    rows = 0.5 * rng.normal(size=(n_items, WIDTH))
    rows[item, item % 4] += 2
    rows[:, 4] += np.where(is_oaky(item), 1.0, -1.0)
    found: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def placed() -> PlacedItems:
    """The items as they lie."""
    rows = vectors_of()
    return PlacedItems(
        "d", tuple(IDS), tuple(f"Title {one}" for one in IDS), (rows - rows.mean(axis=0)) / rows.std(axis=0)
    )


def write_picked(connection: duckdb.DuckDBPyConnection, seed: int, turned: str = "") -> None:
    """What `read_activity` makes: 60 users a day take three items each.

    Half of the people like oaky items, and three quarters of those who come.

    Args:
        turned: From day `TURN` on: "items": they take the items of the other style; "users": other people come.
    """
    rng, shape = np.random.default_rng(seed), (DAYS, DAILY)
    is_late = np.arange(DAYS)[:, None] >= TURN
    likes = rng.random(shape) < np.where(is_late & (turned == "users"), 0.25, 0.75)
    people = 2 * np.stack([rng.choice(PEOPLE // 2, DAILY, replace=False) for _ in range(DAYS)]) + likes
    # Of each day's items as many are oaky, whoever comes.
    is_wanted = likes ^ (is_late & (turned != ""))
    item = (
        8 * rng.integers(N_ITEMS // 8, size=(*shape, 3)) + rng.integers(4, size=(*shape, 3)) + 4 * is_wanted[..., None]
    )
    day = np.broadcast_to(np.arange(DAYS)[:, None, None], item.shape)
    us = day * 1000 + rng.integers(1000, size=item.shape)
    rows = {"day": day, "uid": np.broadcast_to(people[..., None], item.shape), "us": us}
    told = {name: values.ravel() for name, values in rows.items()} | {"item_id": np.array(IDS)[item.ravel()]}
    connection.register("told", pa.table(told))
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE picked AS SELECT CAST(day AS SMALLINT) AS day, hash(uid) AS uid,
        hash(item_id) AS iid, us, CAST(1 / 3 AS FLOAT) AS w FROM told"""
    )
    connection.unregister("told")
