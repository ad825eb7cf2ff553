"""A learned correction of the blend: what is added to the candidates' scores, by a small network or by boosted trees.

Both begin at the blend's own scores, so that with little to learn they stay close to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.storage import write_json
from recommender.errors import BundleError
from recommender.fitting.component import loading, read_config
from recommender.fitting.finiteness import finite_scores
from recommender.fitting.tensors import read_tensors, save_tensors

CONFIG_FILE = "correction.json"
NETWORK_FILE = "correction.safetensors"
TREES_FILE = "correction.txt"


def correct(scores: np.ndarray, candidates: np.ndarray, added: np.ndarray, stay: np.ndarray) -> None:
    """Add a correction to a user's candidates; all others follow below them. In place.

    Args:
        scores: What the blend makes of items. Shape (n,), float32.
        candidates: Places among them. Shape (C,), int64.
        added: What the correction adds to each. Shape (C,), float32.
        stay: Which of the items keep their scores where they are no candidates. Shape (n,), bool.
    """
    # What it adds to all of them says nothing, and would part them from items that stay.
    scores[candidates] += added - (added.mean() if len(added) else 0.0)
    others_below = ~stay
    others_below[candidates] = False
    gap = scores.max(initial=-np.inf, where=others_below) - scores[candidates].min(initial=np.inf)
    if np.isfinite(gap) and gap >= 0:
        np.subtract(scores, gap + 1.0, out=scores, where=others_below)


class Correction(Protocol):
    """What is added to a blend's scores."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features that it reads, in their order."""
        ...

    def added(self, features: np.ndarray) -> np.ndarray:
        """On the scale of the blend's scores. Shape (n, F) -> (n,), float32."""
        ...

    def save(self, folder: Path) -> None:
        """Write it into a folder that exists."""
        ...


@dataclass(frozen=True)
class Network:
    """One hidden layer over standardised features; a feature without a value counts as its mean.

    Attributes:
        names: Of the features.
        tensors: mean and scale, shapes (F,); hidden (F, H), hidden_bias (H,), out (H,), all float32.
    """

    names: tuple[str, ...]
    tensors: dict[str, np.ndarray]

    def added(self, features: np.ndarray) -> np.ndarray:
        """See `Correction`."""
        of = self.tensors
        inputs = np.clip(np.nan_to_num((features - of["mean"]) / of["scale"]), -5.0, 5.0)
        found: np.ndarray = np.maximum(inputs @ of["hidden"] + of["hidden_bias"], 0.0) @ of["out"]
        return finite_scores("the network's correction", found.astype(np.float32))

    def save(self, folder: Path) -> None:
        """See `Correction`."""
        write_json(folder / CONFIG_FILE, {"kind": "network", "names": list(self.names)})
        save_tensors(folder / NETWORK_FILE, self.tensors)


@dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees by LightGBM.

    Attributes:
        names: Of the features.
        text: The model as LightGBM writes it.
        scale: What a point of the blend's score is worth on the trees' scale.
        booster: The model, ready to answer.
    """

    names: tuple[str, ...]
    text: str
    scale: float
    booster: Any

    @classmethod
    def of(cls, names: Sequence[str], text: str, scale: float) -> Trees:
        """From a model's text."""
        import torch  # noqa: F401 (LightGBM runs on the libgomp that comes with it where the system has none)
        from lightgbm import Booster

        return cls(tuple(names), text, scale, Booster(model_str=text))

    def added(self, features: np.ndarray) -> np.ndarray:
        """See `Correction`."""
        found = np.asarray(self.booster.predict(features, raw_score=True, num_threads=1)) / self.scale
        return finite_scores("the trees' correction", found.astype(np.float32))

    def save(self, folder: Path) -> None:
        """See `Correction`."""
        write_json(folder / CONFIG_FILE, {"kind": "trees", "names": list(self.names), "scale": self.scale})
        (folder / TREES_FILE).write_text(self.text, encoding="utf-8")


def has_correction(folder: Path) -> bool:
    """Whether the blend of a folder is corrected."""
    return (folder / CONFIG_FILE).exists()


def load_correction(folder: Path, names: Sequence[str]) -> Correction:
    """What `save` wrote.

    Args:
        names: Of the features that it will be given.
    Raises:
        BundleError: a file is missing or damaged, or it reads other features.
    """
    config = read_config(folder / CONFIG_FILE)
    do = "Fit the blend again"
    with loading("correction", got=f"{CONFIG_FILE}={config}", expected="a network or trees", do=do):
        if tuple(config["names"]) != tuple(names):
            unlike = sorted(set(config["names"]) ^ set(names))
            raise BundleError("Cannot load correction", got=f"features={unlike}", expected="those of this code", do=do)
        if config["kind"] == "trees":
            return Trees.of(names, (folder / TREES_FILE).read_text(encoding="utf-8"), float(config["scale"]))
        tensors = read_tensors(folder / NETWORK_FILE, "mean", "scale", "hidden", "hidden_bias", "out")
        return Network(tuple(names), {name: tensor.numpy() for name, tensor in tensors.items()})
