"""What semantic ids are made of: the items' texts, a modality where there is one, and who had the items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.settings.models import GenerativeSettings
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import read_user_items

RANK = 64


def semantic_id_vectors(training: Path, items: ItemVectors, vectors: Path, settings: GenerativeSettings) -> np.ndarray:
    """The vectors by which items get their codes, its parts one beside the other. Shape (n_items, D), float32.

    Args:
        training: Whose sequences say who had what.
        vectors: The `vectors` component that `items` are of.
    Raises:
        TrainingDataError: the sequences cannot be read.
        BundleError: the whitening cannot be read.
    """
    texts = items.text[1:].numpy()
    if settings.ids_from == "raw":
        texts = Whitening.load(vectors / WHITENING_FILE).undo(texts)
    parts = [texts]
    if settings.use_modality and items.modality is not None:
        parts.append(items.modality[1:].numpy())
    if settings.collaborative_weight:
        had = collaborative_vectors(read_user_items(training, items.ids), len(items.ids))
        parts.append(np.float32(settings.collaborative_weight) * had)
    return np.concatenate(parts, axis=1)


def collaborative_vectors(histories: Sequence[np.ndarray], n_items: int) -> np.ndarray:
    """Vectors of items that lie close where the same users had them.

    They are the singular vectors of who had what, each entry divided by the roots of how much its user had and how many
    had its item; the first one is left out, as it says how much was had at all.

    Args:
        histories: Item indices of each user, each item once.
    Returns:
        Of length 1, zeros for an item that nobody had; no column where there are too few users or items. Shape
        (n_items, at most RANK), float32.
    Source: Dhillon 2001, Co-clustering documents and words using bipartite spectral graph partitioning.
    """
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import svds

    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    items = np.concatenate([*histories, np.zeros(0, dtype=np.int64)]).astype(np.int64) - 1
    had = csr_array((np.ones(len(users)), (users, items)), shape=(len(histories), n_items))
    of_users, of_items = (np.sqrt(np.maximum(had.sum(axis=axis), 1)) for axis in (1, 0))
    rank = min(RANK + 1, min(had.shape) - 1)
    if rank < 2 or not len(users):
        return np.zeros((n_items, 0), dtype=np.float32)
    scaled = diags_array(1 / of_users) @ had @ diags_array(1 / of_items)
    # A fixed start: else the solver draws one, and equal data would not give equal ids.
    _, strengths, directions = svds(scaled, k=rank, v0=np.ones(min(had.shape)))
    kept = np.argsort(-strengths, kind="stable")[1:]
    rows = (directions[kept] * strengths[kept, None]).T * (had.sum(axis=0) > 0)[:, None]
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
