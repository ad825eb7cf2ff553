"""Whitening: sentence vectors crowd into a narrow cone; centred and decorrelated, their cosines distinguish items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recommender.fitting.component import loading
from recommender.fitting.tensors import read_tensors, save_tensors

WHITENING_FILE = "whitening.safetensors"


@dataclass(frozen=True)
class Whitening:
    """x -> (x - mean) @ projection, through the head where there is one, then length 1.

    Attributes:
        mean: Shape (D,), float32.
        projection: Shape (D, d), float32.
        head: Learned from the shop's sequences (`encoders.head`). Shape (d, d), float32; None where there is none.

    Source: Su et al. 2021, Whitening Sentence Representations, with shrunk eigenvalues.
    """

    mean: np.ndarray
    projection: np.ndarray
    head: np.ndarray | None = None

    @classmethod
    def fit(cls, vectors: np.ndarray, shrinkage: float = 0.1) -> Whitening:
        """Learn mean and principal axes of the catalogue's vectors.

        Every axis is kept, but the eigenvalues are drawn towards their mean, so that axes which hold hardly anything
        (there are always some when items are few) are not blown up into noise.

        Args:
            vectors: Shape (n, D), without those of empty texts.
            shrinkage: Weight of the eigenvalues' mean, between 0 (plain whitening) and 1 (centring only).
        """
        # Not scikit-learn's PCA: it keeps no more axes than there are vectors and cannot shrink the eigenvalues.
        exact = vectors.astype(np.float64)
        mean = exact.mean(axis=0) if len(exact) else np.zeros(exact.shape[1])
        centred = exact - mean
        values, axes = np.linalg.eigh(centred.T @ centred / max(len(exact), 1))
        largest_first = np.argsort(-values, kind="stable")
        values, axes = np.maximum(values[largest_first], 0), axes[:, largest_first]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
        level = values.mean() or 1.0
        scales = 1 / np.sqrt((1 - shrinkage) * values + shrinkage * level)
        return cls(mean.astype(np.float32), (axes * scales).astype(np.float32))

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Whitened vectors of length 1. Shape (n, D) -> (n, d), float32."""
        white = (vectors - self.mean) @ self.projection
        return _of_length_1(white if self.head is None else white @ self.head)

    def undo(self, white: np.ndarray) -> np.ndarray:
        """Where vectors that were whitened without a head pointed before, seen from their mean: where whitening makes
        every direction count alike, here items of one kind lie together. Shape (n, d) -> (n, D), float32, length 1.
        """
        return _of_length_1(white @ np.linalg.pinv(self.projection.astype(np.float64)))

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        tensors = {"mean": self.mean, "projection": self.projection}
        save_tensors(path, tensors if self.head is None else {**tensors, "head": self.head})

    @classmethod
    def load(cls, path: Path) -> Whitening:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing, unreadable or lacks a tensor.
        """
        expected = "mean and projection"
        with loading("whitening", got=f"file={path}", expected=expected, do="Fit the vectors again"):
            tensors = read_tensors(path, "mean", "projection")
            return cls(**{name: tensor.numpy() for name, tensor in tensors.items()})


def _of_length_1(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
