"""Vectors of items that are no text (of images, sound, a knowledge graph), from a file that the shop gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from recommender.encoders.whitening import Whitening
from recommender.errors import TrainingDataError
from recommender.fitting.summary import Progress
from recommender.inputs.ids import IdMap


def read_modality(path: Path, column: str, ids: IdMap, progress: Progress) -> np.ndarray:
    """Read, whiten and order the vectors; items of the file that the catalogue does not have are left out.

    Args:
        path: Parquet with `item_id` and a column of lists of numbers, all equally long.
        column: That column.
        ids: The order.
    Returns:
        Of length 1, zeros for an item without a vector. Shape (n_items, D), float32.
    Raises:
        TrainingDataError: the file cannot be read, lacks a column, holds lists of several lengths or numbers that are
            not finite, names an item twice, or knows no item of the catalogue.
    """
    items, vectors = _read(path, column)
    known = np.array([item in ids for item in items], dtype=bool)
    if not known.any():
        raise _refused(path, f"known items=0 of {len(items)}", "items of the catalogue", "Check the ids in the file")
    places = np.array([ids.index(item) - 1 for item in items if item in ids])
    if len(np.unique(places)) != len(places):
        raise _refused(path, "an item_id that stands there twice", "one vector per item", "Leave one of them out")
    rows = np.zeros((len(ids), vectors.shape[1]), dtype=np.float32)
    rows[places] = Whitening.fit(vectors[known]).apply(vectors[known])
    progress(f"modality {column}: vectors of {len(places)} of {len(ids)} items, {vectors.shape[1]} numbers each")
    return rows


def _read(path: Path, column: str) -> tuple[list[str], np.ndarray]:
    try:
        table = pq.read_table(path, columns=[schema.ITEM_ID, column])
        items = table.column(schema.ITEM_ID).cast(pa.string()).to_pylist()
        lists = table.column(column).cast(pa.list_(pa.float32())).combine_chunks()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _refused(
            path, f"column={column}", f"Parquet with {schema.ITEM_ID} and {column}, but {error}", "Correct the file"
        ) from error
    lengths = np.diff(lists.offsets.to_numpy())
    if lists.null_count or len(np.unique(lengths)) != 1 or not lengths[0]:
        lengths_found = sorted(set(lengths.tolist()))[:5]
        raise _refused(
            path, f"lengths of lists={lengths_found}", "lists of one length, none empty", "Leave such rows out"
        )
    vectors = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(items), -1)
    if not np.isfinite(vectors).all():
        raise _refused(path, "numbers that are not finite", "finite numbers", "Leave such rows out")
    return items, vectors


def _refused(path: Path, got: str, expected: str, do: str) -> TrainingDataError:
    return TrainingDataError("Cannot read modality", got=got, expected=expected, where=str(path), do=do)
