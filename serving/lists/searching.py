"""Free text against the catalogue: by its words (BM25) and by its meaning (the bundle's text encoder)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recommender.bundle.loading import Bundle
from recommender.encoders.weights import WEIGHTS_FILE
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.inputs.item_vectors import ItemVectors
from recommender.metrics.texts import index_terms
from recommender.ranking.cold_users import Encode, EncoderOf
from recommender.ranking.ranker import Ranker
from serving.errors import CapabilityMissing

# From a query to how near each item's text is to it in meaning, -1 to 1. Shape (n_items,).
Nearness = Callable[[str], np.ndarray]
# Of reciprocal rank fusion: how much less the first places count than 1 / place. Cormack, Clarke & Büttcher 2009.
CONSTANT = 60
# How many items each ranking brings.
N_LEXICAL, N_SEMANTIC = 1000, 200
# Items whose lengths are computed at once.
_PAGE = 65_536


@dataclass(frozen=True)
class Relevance:
    """Of every item, its share by each ranking: 1 / (60 + place), 0 where it has none. Shapes (n_items,), float64."""

    lexical: np.ndarray
    semantic: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """The items that one of the two found. Shape (n_items,), bool."""
        either: np.ndarray = (self.lexical > 0) | (self.semantic > 0)
        return either


class Searcher:
    """The words and vectors of a catalogue. Safe to share between threads; the index of words is built when first
    needed.

    Args:
        vectors: Of the catalogue.
        nearness: By the bundle's text encoder.
        model: The bundle, for the sentence of an error.
    Source: Robertson & Zaragoza 2009, in the form of Lù 2024, BM25S; reciprocal rank fusion.
    """

    def __init__(self, vectors: ItemVectors, nearness: Nearness, model: str) -> None:
        self._vectors, self._nearness, self._model = vectors, nearness, model
        self._lock = threading.Lock()
        self._index: Any = None

    def relevance(self, query: str, allowed: np.ndarray | None) -> Relevance:
        """What items are to a query.

        Args:
            allowed: The items that are ranked; None all. Shape (n_items,), bool.
        Raises:
            CapabilityMissing: no item has words.
            BundleError, EncoderError: the encoder cannot be loaded.
        """
        index = self.build()
        known = [token for token in index_terms(query) if token in index.vocab_dict]
        n_items = len(self._vectors.ids)
        lexical = np.asarray(index.get_scores(known), dtype=np.float64) if known else np.zeros(n_items)
        semantic = np.asarray(self._nearness(query), dtype=np.float64)
        return Relevance(_shares(lexical, allowed, N_LEXICAL), _shares(semantic, allowed, N_SEMANTIC))

    def build(self) -> Any:
        """Index the catalogue's words, once.

        Raises:
            CapabilityMissing: no item has words.
        """
        with self._lock:
            if self._index is None:
                self._index = self._build()
        return self._index

    def _build(self) -> Any:
        import bm25s

        # A single digit is a word too: people search for the 8 of a name.
        tokens = [index_terms(text) for text in self._vectors.catalogue.texts]
        if not any(tokens):
            raise CapabilityMissing(
                "Cannot search",
                got=f"model={self._model}, whose catalogue has no words",
                expected="titles or descriptions in the shop's items table, or reviews",
                do="Add such texts and run the pipeline again",
            )
        index = bm25s.BM25()
        index.index(tokens, show_progress=False)
        return index


def _shares(scores: np.ndarray, allowed: np.ndarray | None, n: int) -> np.ndarray:
    """1 / (60 + place) of the n best items with a score above 0. Shape (n_items,), float64."""
    positive = scores > 0 if allowed is None else (scores > 0) & allowed
    places = np.flatnonzero(positive)
    best = places[np.argsort(-scores[places], kind="stable")[:n]]
    shares = np.zeros(len(scores))
    shares[best] = 1 / (CONSTANT + np.arange(1, len(best) + 1))
    return shares


class Meaning:
    """How near items' texts are to a query: the cosines of sentence vectors as the encoder gives them, centred.

    Whitened vectors, which the models read, tell items apart; a query finds its item better where kinds still lie
    together. Nothing is kept twice for that: with x = w P the centred vector of a whitened w, the product of two is
    w (P P') v, so the query alone is multiplied.

    Args:
        bundle: Its encoder is loaded when the first query comes, or is that which reads users' attributes.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle, self._lock = bundle, threading.Lock()
        self._ready: tuple[Encode, Whitening, np.ndarray, np.ndarray, np.ndarray] | None = None

    def __call__(self, query: str) -> np.ndarray:
        """Cosines, 0 for an item without words. Shape (n_items,), float32.

        Raises:
            BundleError, EncoderError: the encoder cannot be loaded.
        """
        with self._lock:
            if self._ready is None:
                self._ready = self._load()
        encode, whitening, items, back, lengths = self._ready
        white = whitening.apply(encode([query]))[0]
        centred = white @ back
        length = float(np.linalg.norm(centred))
        if not length:
            return np.zeros(len(items), dtype=np.float32)
        cosines: np.ndarray = (items @ (back @ centred)) / np.where(lengths > 0, lengths * length, np.inf)
        return cosines

    def _load(self) -> tuple[Encode, Whitening, np.ndarray, np.ndarray, np.ndarray]:
        folder, ranker = self._bundle.folder / "vectors", self._bundle.ranker
        cold_users = ranker.cold_users if isinstance(ranker, Ranker) else None
        encode = EncoderOf(folder, self._bundle.device) if cold_users is None else cold_users.encode
        # A head stands behind the whitening; an encoder with other weights made `retrieval`.
        is_tuned = (folder / WEIGHTS_FILE).exists()
        items = (ranker.vectors.retrieval if is_tuned else ranker.vectors.text)[1 : len(ranker.vectors.ids) + 1].numpy()
        whitening = replace(Whitening.load(folder / WHITENING_FILE), head=None)
        back = np.linalg.pinv(whitening.projection.astype(np.float64)).astype(np.float32)  # (d, D)
        pages = range(0, len(items), _PAGE)
        lengths = np.concatenate([np.linalg.norm(items[at : at + _PAGE] @ back, axis=1) for at in pages])
        return encode, whitening, items, back, lengths
