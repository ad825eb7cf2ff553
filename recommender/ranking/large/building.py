"""Makes the indexes of a large catalogue, and keeps them: the first process that needs them makes them, and all map
the same files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from core.storage import atomic_folder, digest_of, exclusively, remove_folder
from recommender.errors import BundleError
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.user import UserState
from recommender.ranking.large.nearest import NearestRows
from recommender.ranking.large.parts import Counts, PartAtPlaces, Products, RecentCounts, Spread, Weights
from recommender.ranking.large.ranker import ColdText, LargeRanker
from recommender.ranking.parts import Asked, ItemToItem, Popularity, RecentPopularity, Retriever, TextLikeness
from recommender.ranking.ranker import Ranker

logger = logging.getLogger(__name__)

_FORMAT = 2
# Indexes of other bundles that are kept beside a new one, for a rollback.
_OTHERS_KEPT = 2
# Histories by which it is tried how many lists an index has to read, and their longest.
_HISTORIES, _LONGEST = 64, 10
_ITEMS, _SPREADS = "items.npy", "spreads.safetensors"
SEQUENCE, TEXT, COLD = "sequence", "text", "cold"
# What each index is to find of the best items. The sequence model may rank alone; what one of several parts misses,
# others find.
WANTED = {SEQUENCE: 0.97, TEXT: 0.92, COLD: 0.92}


def index_ranker(ranker: Ranker, folder: Path, files: Mapping[str, str]) -> LargeRanker:
    """The same ranker, which finds its best items by indexes.

    Args:
        folder: Where indexes are kept.
        files: The bundle's files and their digests: of equal files the indexes are equal.
    Raises:
        BundleError: the indexes are damaged, or a part has none.
    """
    import faiss

    used = {name: digest for name, digest in files.items() if name.split("/")[0] in ("vectors", "sequence", "blend")}
    target = folder / digest_of(used, _FORMAT, faiss.__version__)[:16]
    # What is there need not wait for those of another bundle, which are made for minutes.
    if not target.is_dir():
        with exclusively(folder / "making.lock"):
            if not target.is_dir():
                started = time.monotonic()
                with atomic_folder(target) as made:
                    _make(ranker, made)
                logger.info("Indexed %d items in %.0f s", len(ranker.ids), time.monotonic() - started)
                _remove_old(folder, target)
    return _open(ranker, target)


def _make(ranker: Ranker, folder: Path) -> None:
    histories = _histories(ranker)
    for number, table in enumerate(ranker.tables):
        np.save(folder / f"{number}.npy", table.cpu().numpy())
    items = ranker.items.cpu().numpy()
    if len(ranker.tables) > 1:
        np.save(folder / _ITEMS, items)
    asked = Asked.of(histories, ranker.ids)
    with torch.inference_mode():
        expected = np.concatenate([ranker.expect([one]).cpu().numpy() for one in histories])
    rows = np.column_stack([items, ranker.prior])
    NearestRows.build(rows, np.column_stack([expected, np.ones(len(expected), np.float32)]), WANTED[SEQUENCE]).save(
        folder, SEQUENCE
    )
    spreads = _named(SEQUENCE, Spread.of(rows))
    if "text" in ranker.retrievers:
        texts = ranker.vectors.retrieval[1:].numpy()
        profiles = np.stack([ranker.vectors.profile(history) for history in asked.histories])
        NearestRows.build(texts, profiles, WANTED[TEXT]).save(folder, TEXT)
        spreads |= _named(TEXT, Spread.of(texts))
    if ranker.ranks_cold:
        vectors = ranker.vectors.before_fine_tuning()
        profiles = np.stack([vectors.profile(history) for history in asked.histories])
        NearestRows.build(ranker.cold_text, profiles, WANTED[COLD]).save(folder, COLD)
    save_tensors(folder / _SPREADS, spreads)


def _open(ranker: Ranker, folder: Path) -> LargeRanker:
    if ranker.items.device.type == "cpu":
        tables = [_mapped(folder / f"{number}.npy") for number in range(len(ranker.tables))]
        ranker = ranker.with_tables(tables, tables[0][1:] if len(tables) == 1 else _mapped(folder / _ITEMS))
    spreads = read_tensors(folder / _SPREADS)
    parts: dict[str, PartAtPlaces] = {}
    cold = ColdText(NearestRows.load(folder, COLD), np.flatnonzero(ranker.unlearned)) if ranker.ranks_cold else None
    large = LargeRanker(ranker, parts, cold)
    parts[SEQUENCE] = Products(
        ranker.items.cpu().numpy(), ranker.prior, NearestRows.load(folder, SEQUENCE), _spread(SEQUENCE, spreads),
        large.vector_of,
    )  # fmt: skip
    for name, retriever in ranker.retrievers.items():
        parts[name] = _part(ranker, name, retriever, folder, spreads)
    return large


def _part(
    ranker: Ranker, name: str, retriever: Retriever, folder: Path, spreads: Mapping[str, torch.Tensor]
) -> PartAtPlaces:
    vectors, held_out = ranker.vectors, ranker.held_out
    if isinstance(retriever, TextLikeness):
        return Products(
            vectors.retrieval[1:].numpy(), None, NearestRows.load(folder, TEXT), _spread(TEXT, spreads),
            lambda asked: asked.once(TEXT, lambda one: vectors.profile(one.histories[0])),
        )  # fmt: skip
    if isinstance(retriever, ItemToItem):
        return Weights(retriever, held_out)
    nobody = Asked([UserState()], [[]], [[]], [[]])
    if isinstance(retriever, Popularity | RecentPopularity):
        scores = retriever.scores(nobody)[0]
        scores[held_out] = 0.0
        if isinstance(retriever, Popularity):
            return Counts(scores)
        return RecentCounts(ranker.ids, retriever.window, scores, retriever.ties, held_out)
    raise BundleError(
        "Cannot index the catalogue",
        got=f"part={name} of {type(retriever).__name__}",
        expected="a part that can find its best items without scoring all",
        do="Raise serving.exact_items above the number of items",
    )


def _histories(ranker: Ranker) -> list[UserState]:
    """Histories of items that are common, of one to ten."""
    generator = np.random.default_rng(0)
    counts = ranker.vectors.catalogue.n_events.astype(np.float64) + 1e-9
    items = generator.choice(len(counts), (_HISTORIES, _LONGEST), p=counts / counts.sum())
    lengths = generator.integers(1, _LONGEST + 1, _HISTORIES)
    return [
        UserState.from_history([ranker.ids.item_id(int(place) + 1) for place in row[:length]])
        for row, length in zip(items, lengths, strict=True)
    ]


def _named(name: str, spread: Spread) -> dict[str, np.ndarray]:
    return {f"{name}.mean": spread.mean, f"{name}.covariance": spread.covariance}


def _spread(name: str, tensors: Mapping[str, torch.Tensor]) -> Spread:
    return Spread(tensors[f"{name}.mean"].numpy(), tensors[f"{name}.covariance"].numpy())


def _mapped(path: Path) -> torch.Tensor:
    """A matrix whose pages processes share; what is written to it nobody else sees."""
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _remove_old(folder: Path, kept: Path) -> None:
    """Processes that have one open keep it."""
    others = [one for one in folder.iterdir() if one.is_dir() and one != kept]
    for old in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[_OTHERS_KEPT:]:
        remove_folder(old)
