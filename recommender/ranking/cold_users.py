"""Ranks cold-start users, who have no known history: by popularity, and by what users with similar attributes took.

score of item i for a user with attributes t, as text: share_i + (encoder(t) - mean) . U . V_i, where U . V is what a
regression of rank R learned from the training users' texts and items. A user without attributes gets the shares alone.
Shares of a recent window are those of the window that ends when the user asks, where the counts of then are at hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np

from recommender.fitting.component import loading
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState

# The file keeps its first name: bundles in model stores have it.
COLD_USERS_FILE = "newcomers.safetensors"
# What the time before a window counts beside it: it orders items that the window has hardly any events of.
OLDER_SHARE = 0.1

# Texts to vectors, shape (n, D), float32.
Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class ColdUserWeights:
    """What is learned.

    Attributes:
        shares: How common each item is among users, as of the training cut-off. Shape (n_items,), float32.
        mean: Of the training users' text vectors. Shape (D,), float32.
        users: U. Shape (D, R), float32; R is 0 where texts ranked no better than shares.
        items: V, its weight in it. Shape (R, n_items), float32.
        older: How common each item is beside a recent window. Shape (n_items,), float32.
        window: Which of the windows that the feature store counts the shares are of, 1 for the shortest; 0 for none.
    """

    shares: np.ndarray
    mean: np.ndarray
    users: np.ndarray
    items: np.ndarray
    older: np.ndarray
    window: int = 0

    @classmethod
    def of_shares(cls, shares: np.ndarray, older: np.ndarray | None = None, window: int = 0) -> ColdUserWeights:
        """Weights by which users' texts count for nothing.

        Args:
            older: Beside the window; needed where there is one.
        """

        def empty(*shape: int) -> np.ndarray:
            return np.zeros(shape, dtype=np.float32)

        older = shares if older is None else older
        return cls(
            shares.astype(np.float32),
            mean=empty(0),
            users=empty(0, 0),
            items=empty(0, len(shares)),
            older=older.astype(np.float32),
            window=window,
        )

    @property
    def read_texts(self) -> bool:
        """Whether users' texts count."""
        return len(self.items) > 0

    def profile(self, vectors: np.ndarray) -> np.ndarray:
        """What texts add to the shares. Shape (B, D) -> (B, n_items), float32."""
        added: np.ndarray = ((vectors - self.mean) @ self.users) @ self.items
        return added

    def save(self, folder: Path) -> None:
        """Write it into a folder that exists."""
        tensors = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        save_tensors(folder / COLD_USERS_FILE, tensors)

    @classmethod
    def load(cls, folder: Path) -> ColdUserWeights:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing, unreadable or lacks a tensor.
        """
        expected = f"a readable {COLD_USERS_FILE}"
        with loading("cold-start users' weights", got=f"folder={folder}", expected=expected, do="Fit the blend again"):
            tensors = read_tensors(folder / COLD_USERS_FILE)
            read = {name: tensor.numpy() for name, tensor in tensors.items()}
            return cls(window=int(read.pop("window").item()), **read)


class ColdUsers:
    """The weights, and the encoder that reads a user's attributes. Safe to call from many threads.

    Args:
        weights: Learned by `cold_users_training.fit_cold_users`.
        encode: The encoder of the training texts.
        ids: Of the items; None: what is common is as of the training cut-off.
    """

    def __init__(self, weights: ColdUserWeights, encode: Encode, ids: IdMap | None = None) -> None:
        self.weights, self.encode, self._ids = weights, encode, ids

    @property
    def reads_items_then(self) -> bool:
        """Whether the features of the items at the moment of asking are read."""
        return self.weights.window > 0 and self._ids is not None

    def reads(self, user: UserState) -> bool:
        """Whether the user has attributes, and they count."""
        return self.weights.read_texts and bool(user.attributes.strip())

    def parts(self, users: Sequence[UserState]) -> tuple[np.ndarray, np.ndarray]:
        """Shares, and what attributes add to them, 0 for users without any. Shapes (B, n_items), float32."""
        shares = self._shares(users)
        profile = np.zeros_like(shares)
        with_text = [row for row, user in enumerate(users) if self.reads(user)]
        if with_text:
            profile[with_text] = self.weights.profile(self.encode([users[row].attributes for row in with_text]))
        return shares, profile

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Score every item for each user. Shape (B, n_items), float32."""
        shares, profile = self.parts(users)
        return shares + profile

    def _shares(self, users: Sequence[UserState]) -> np.ndarray:
        shares = np.tile(self.weights.shares, (len(users), 1))
        if not self.reads_items_then:
            return shares
        of_moment: dict[int, np.ndarray] = {}  # users of one moment share theirs
        for row, user in enumerate(users):
            if user.items_then is None:
                continue
            moment = id(user.items_then)
            if moment not in of_moment:
                counts = user.items_then.of(cast(IdMap, self._ids)).popularity
                of_moment[moment] = window_shares(counts, self.weights.window, self.weights.older)
            shares[row] = of_moment[moment]
        return shares


def window_shares(counts: np.ndarray, window: int, older: np.ndarray) -> np.ndarray:
    """How common each item is in a window, on the scale of the shares before it, which break its ties.

    Args:
        counts: Events of each item in each window, the shortest first. Shape (n_items, n_windows).
        window: Which of them, from 1.
        older: Shape (n_items,).
    Returns:
        Shape (n_items,); those of `older` where the window has no event.
    """
    within = counts[:, window - 1] if counts.shape[1] >= window else np.zeros(len(counts))
    if not within.any():
        return older
    scaled: np.ndarray = within / within.sum() * older.sum()
    return (1 - OLDER_SHARE) * scaled + OLDER_SHARE * older


class EncoderOf:
    """The encoder of a `vectors` component, loaded when the first text comes.

    Args:
        device: Where it computes.
    """

    def __init__(self, vectors: Path, device: str = "cpu") -> None:
        self._vectors, self._device, self._lock = vectors, device, threading.Lock()
        self._encode: Encode | None = None

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Shape (n, D), float32.

        Raises:
            BundleError: the component is damaged.
            EncoderError: its pretrained model is not at hand.
        """
        with self._lock:
            if self._encode is None:
                from recommender.encoders.weights import load_encoder

                encoder = load_encoder(self._vectors, lambda _: None, self._device)
                self._encode = lambda given: encoder.encode(given, lambda _: None)
        return self._encode(texts)
