"""Where the items lie in the space of their texts: a few axes of the vectors that the bundle in service has.

Made anew for each bundle, since every look counts all days anew: so vectors of two bundles are never compared. Items
that the bundle does not know are embedded by the encoder as it was before it learned from the shop, each once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.sql import literal
from core.storage import atomic_file
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.inputs.catalogue import label_of
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.texts import item_text

STORE = "item_vectors.parquet"
WIDTH = 32  # axes
MAX_NEW = 300  # items of one look that the bundle does not know; those that are taken most
_MAX_FITTED = 50_000  # items by which the axes are chosen
_LEAST_ITEMS = 20  # with words; fewer are told apart by their names
_LEAST_SHARE = 1e-4  # of the longest axis's variance: what varies less is rounding
_BUNDLE = b"bundle"
_NEW = """
WITH taken AS (SELECT item_id, count(*) AS n FROM read_parquet({events}) GROUP BY item_id)
SELECT items.item_id, title, brand, category, description
FROM read_parquet({items}) AS items JOIN taken USING (item_id) ANTI JOIN placed USING (item_id)
WHERE coalesce(title, description) IS NOT NULL ORDER BY n DESC, item_id LIMIT {most}
"""

Encode = Callable[[Sequence[str]], np.ndarray]  # texts to vectors, zeros for an empty one; shape (n, D)


@dataclass(frozen=True)
class PlacedItems:
    """Items in the space that is watched.

    Attributes:
        digest: Of the bundle whose vectors they are.
        labels: What a person knows them by.
        vectors: Along the axes, each of variance 1 over the catalogue. Shape (n, d).
    """

    digest: str
    item_ids: tuple[str, ...]
    labels: tuple[str, ...]
    vectors: np.ndarray

    @property
    def is_usable(self) -> bool:
        """Whether there are items enough that differ in it."""
        return bool(self.item_ids)


@dataclass(frozen=True)
class Axes:
    """The directions in which the texts of a catalogue differ most (principal components), each by its deviation.

    Attributes:
        centre: Shape (D,).
        projection: Shape (D, d).
    """

    centre: np.ndarray
    projection: np.ndarray

    @classmethod
    def fit(cls, directions: np.ndarray) -> Axes:
        """The axes of some vectors, shape (n, D); as many as they have, and at most `WIDTH`."""
        exact = directions[:: max(len(directions) // _MAX_FITTED, 1)].astype(np.float64)
        if len(exact) < _LEAST_ITEMS:
            return cls(np.zeros(directions.shape[1]), np.zeros((directions.shape[1], 0)))
        centre = exact.mean(axis=0)
        values, axes = np.linalg.eigh((exact - centre).T @ (exact - centre) / len(exact))
        values, axes = values[::-1][:WIDTH], axes[:, ::-1][:, :WIDTH]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
        kept = values > max(_LEAST_SHARE * values[0], 1e-9)
        return cls(centre, axes[:, kept] / np.sqrt(values[kept]))

    def place(self, directions: np.ndarray) -> np.ndarray:
        """Shape (n, D) -> (n, d)."""
        placed: np.ndarray = (directions - self.centre) @ self.projection
        return placed


def read_items(folder: Path, digest: str | None) -> PlacedItems | None:
    """What was kept of a bundle; None where it is another one, or nothing was."""
    path = folder / STORE
    if digest is None or not path.exists() or pq.read_schema(path).metadata[_BUNDLE].decode() != digest:
        return None
    table = pq.read_table(path)
    vectors = table.column("vector").combine_chunks()
    width = vectors.type.list_size
    rows = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(table), width)
    ids, labels = (tuple(table.column(name).to_pylist()) for name in ("item_id", "label"))
    return PlacedItems(digest, ids, labels, rows)


def place_items(
    folder: Path, clean: Path, vectors: Path, digest: str, encode: Encode | None, max_chars: int
) -> PlacedItems:
    """Place the items of the bundle in service, and those that it does not know and users take; keep them.

    Args:
        folder: Where they are kept.
        clean: Folder of the clean tables.
        vectors: The bundle's `vectors` component; read where something is new.
        digest: The bundle's own.
        encode: By the encoder that made them, before it learned from the shop; None leaves what is new to a later look.
        max_chars: Of an item's text, as the bundle reads it.
    Raises:
        BundleError: the component is missing or damaged.
        EncoderError: the encoder cannot be loaded.
    """
    kept = read_items(folder, digest)
    if kept is None:
        items, axes = _open(vectors)
        kept = _of_bundle(items, axes, vectors, digest)
        _keep(folder / STORE, kept)  # before an encoder is asked, which may not be at hand
    new = _unknown(clean, kept, max_chars) if kept.is_usable and encode is not None else []
    if new and encode is not None:
        ids, labels, texts = zip(*new, strict=True)
        _, axes = _open(vectors)
        found = axes.place(_of_length_1(encode(texts) - _whitening(vectors).mean))
        both = np.concatenate([kept.vectors, found])
        kept = replace(kept, item_ids=(*kept.item_ids, *ids), labels=(*kept.labels, *labels), vectors=both)
        _keep(folder / STORE, kept)
    return kept


def _open(vectors: Path) -> tuple[ItemVectors, Axes]:
    """The bundle's items, and the axes that follow from them: the same each time."""
    items = ItemVectors.load(vectors)
    directions = _directions(items, vectors)
    return items, Axes.fit(directions[_with_words(items)])


def _of_bundle(items: ItemVectors, axes: Axes, vectors: Path, digest: str) -> PlacedItems:
    has_words = np.flatnonzero(_with_words(items))
    if not axes.projection.shape[1]:
        return PlacedItems(digest, (), (), np.zeros((0, 1)))
    ids, labels = items.catalogue.ids.item_ids, items.catalogue.labels
    placed = axes.place(_directions(items, vectors)[has_words])
    return PlacedItems(digest, tuple(ids[at] for at in has_words), tuple(labels[at] for at in has_words), placed)


def _with_words(items: ItemVectors) -> np.ndarray:
    found: np.ndarray = np.abs(items.text[1:].numpy()).sum(axis=1) > 0
    return found


def _directions(items: ItemVectors, vectors: Path) -> np.ndarray:
    """Where the texts' vectors point, seen from their mean, before whitening. Shape (n_items, D)."""
    return _whitening(vectors).undo(items.text[1:].numpy())


def _whitening(vectors: Path) -> Whitening:
    return replace(Whitening.load(vectors / WHITENING_FILE), head=None)


def _of_length_1(rows: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-12)


def _unknown(clean: Path, kept: PlacedItems, max_chars: int) -> list[tuple[str, str, str]]:
    """Id, label and text of items that users take and that are not placed."""
    events, items = (literal(str(clean / f"{name}.parquet")) for name in ("interactions", "items"))
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("placed", pa.table({"item_id": pa.array(kept.item_ids, pa.string())}))
        rows = connection.execute(_NEW.format(events=events, items=items, most=MAX_NEW)).fetchall()
    told = [
        (item_id, title, item_text(title, brand, category, description, [], max_chars))
        for item_id, title, brand, category, description in rows
    ]
    return [(item_id, label_of(title, text, item_id), text) for item_id, title, text in told if text.strip()]


def _keep(path: Path, items: PlacedItems) -> None:
    flat = pa.array(items.vectors.astype(np.float32).ravel())
    columns = {
        "item_id": pa.array(items.item_ids, pa.string()),
        "label": pa.array(items.labels, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, items.vectors.shape[1]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata({_BUNDLE: items.digest}), temporary)
