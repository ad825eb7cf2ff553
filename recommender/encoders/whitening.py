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
    """x -> (x - mean) @ projection, then length 1.

    Attributes:
        mean: Shape (D,), float32.
        projection: Shape (D, d), float32.

    Source: Su et al. 2021, Whitening Sentence Representations, with shrunk eigenvalues.
    """

    mean: np.ndarray
    projection: np.ndarray

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
        lengths = np.linalg.norm(white, axis=1, keepdims=True)
        return (white / np.maximum(lengths, 1e-12)).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        save_tensors(path, {"mean": self.mean, "projection": self.projection})

    @classmethod
    def load(cls, path: Path) -> Whitening:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing, unreadable or lacks a tensor.
        """
        expected = "mean and projection"
        with loading("whitening", got=f"file={path}", expected=expected, do="Fit the vectors again"):
            tensors = read_tensors(path, "mean", "projection")
            return cls(tensors["mean"].numpy(), tensors["projection"].numpy())
