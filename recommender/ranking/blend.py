"""Blending the sequence model with the neighbourhood model: how much of which, by the length of the history.

Both are standardised per user, so that a weight means the same for every user: sequence + w(n) · neighbours, where n is
the number of known items in the history. The kind and the weight are chosen on the validation window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from core.settings.models import BlendKind
from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.fitting.finiteness import finite_scores
from recommender.metrics.top_k import ANY_RANKER

CONFIG_FILE = "blend.json"
COLD_FILE = "cold.json"

# From none of it to as much as of the sequence model.
WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
MOST = 1.0  # the gate's largest weight: the simple mean
_GATE_STEPS = 40
# Keeps the gate finite where the neighbours are always right, or never.
_GATE_PENALTY = 1e-4


@dataclass(frozen=True)
class Blend:
    """How much the neighbourhood model counts beside the sequence model.

    Attributes:
        kind: none: not at all. mean: as much. weighted: `weight`. gate: a logistic unit on log(1 + history length).
        weight: Of kind weighted.
        slope, offset: Of kind gate.
    """

    kind: BlendKind = "none"
    weight: float = 0.0
    slope: float = 0.0
    offset: float = 0.0

    def weights(self, lengths: np.ndarray) -> np.ndarray:
        """The neighbours' weight for histories of these lengths. Shape of `lengths`, float32."""
        if self.kind == "gate":
            gate = MOST / (1 + np.exp(-(self.offset + self.slope * np.log1p(lengths))))
            return np.asarray(gate, dtype=np.float32)
        weight = {"none": 0.0, "mean": 1.0, "weighted": self.weight}[self.kind]
        return np.full(np.shape(lengths), weight, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write it into a folder that exists."""
        write_json(folder / CONFIG_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Blend:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing or not as it was written.
        """
        config = read_config(folder / CONFIG_FILE)
        with loading("blend", got=f"{CONFIG_FILE}={config}", expected="a blend"):
            return cls(**config)

    def part(self, neighbours: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """What the neighbours add to the sequence model's scores.

        Args:
            neighbours: Standardised scores. Shape (B, n_items), float32.
            lengths: Of the users' histories. Shape (B,).
        """
        added: np.ndarray = self.weights(lengths)[:, None] * neighbours
        return added


@dataclass(frozen=True)
class ColdItems:
    """How items that no event taught are ranked among the others.

    Attributes:
        text_weight: Of the cosine between the item's text and the history's, added to the sequence model's part.
        lift: Added to all of them.
    """

    text_weight: float = 0.0
    lift: float = 0.0

    @property
    def changes_nothing(self) -> bool:
        return not (self.text_weight or self.lift)

    def part(self, cosines: np.ndarray) -> np.ndarray:
        """What is added to such items' scores, by the cosines of their texts to the histories'. Shape (B, n_cold)."""
        added: np.ndarray = self.text_weight * cosines + self.lift
        return added

    def save(self, folder: Path) -> None:
        """Write it into a folder that exists."""
        write_json(folder / COLD_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> ColdItems:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing or not as it was written.
        """
        config = read_config(folder / COLD_FILE)
        with loading("cold items' weights", got=f"{COLD_FILE}={config}", expected="text_weight and lift"):
            return cls(**config)


def standardised(scores: np.ndarray, part: str = ANY_RANKER) -> np.ndarray:
    """Each row less its mean, by its standard deviation; a row of equal scores is all zeros. Shape (B, n_items).

    Args:
        part: Whose scores they are, as an error says it: "sequence model".
    Raises:
        NotFinite: a score is NaN or infinite: its row would come out as zeros, and say nothing.
    """
    finite_scores(part, scores)
    spread = scores.std(axis=1, keepdims=True)
    centred: np.ndarray = (scores - scores.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
    return np.where(spread > 1e-9, centred, 0.0).astype(np.float32)


def choose_blend(kind: BlendKind, measure: Callable[[Blend], float], gate: Blend | None = None) -> tuple[Blend, float]:
    """The best blend of a kind on validation.

    Args:
        kind: "auto" tries all; of two that do equally well the simpler one is taken.
        measure: The validation measure of a blend, higher is better.
        gate: The fitted gate, where one could be fitted.
    Returns:
        The blend and its measure.
    """
    candidates = {
        "none": [Blend("none")],
        "mean": [Blend("mean")],
        "weighted": [Blend("weighted", weight) for weight in WEIGHTS if 0 < weight < 1],
        "gate": [] if gate is None else [gate],
    }
    tried = [one for name, blends in candidates.items() if kind in (name, "auto") for one in blends] or [Blend("none")]
    measured = [(measure(blend), blend) for blend in tried]
    best = max(value for value, _ in measured)
    return next((blend, value) for value, blend in measured if value == best)


def fit_gate(
    sequence: np.ndarray, neighbours: np.ndarray, lengths: np.ndarray, targets: list[list[int]], seen: list[list[int]]
) -> Blend:
    """Fit the gate by the likelihood of the targets under a softmax over the catalogue; a temperature is fitted along.

    No logistic regression: the gate stands inside the softmax, so the scores are not linear in its weights.

    Args:
        sequence: Standardised scores. Shape (B, n_items).
        neighbours: The same of the neighbourhood model.
        lengths: Of the histories. Shape (B,).
        targets: Per row, places of its targets in the catalogue, from 0; at least one.
        seen: Per row, places of the items that never come back.
    """
    first, second = torch.from_numpy(sequence), torch.from_numpy(neighbours)
    logged = torch.log1p(torch.from_numpy(np.asarray(lengths, dtype=np.float32)))
    # Centred, so that slope and offset do not pull at each other: a gate that saturates learns no more.
    centre = logged.mean()
    logged = logged - centre
    rows = torch.tensor([row for row, wanted in enumerate(targets) for _ in wanted])
    places = torch.tensor([place for wanted in targets for place in wanted])
    masked = torch.zeros(sequence.shape, dtype=torch.bool)
    for row, gone in enumerate(seen):
        masked[row, gone] = True
    masked[rows, places] = False
    slope, offset = torch.zeros((), requires_grad=True), torch.tensor(-2.0, requires_grad=True)
    sharpness = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([slope, offset, sharpness], max_iter=_GATE_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        weight = MOST * torch.sigmoid(offset + slope * logged)
        logits = ((first + weight[:, None] * second) * sharpness.exp()).masked_fill(masked, -torch.inf)
        missed = -torch.log_softmax(logits, dim=1)[rows, places].mean()
        value: torch.Tensor = missed + _GATE_PENALTY * (slope.square() + offset.square() + sharpness.square())
        value.backward()
        return value

    optimiser.step(loss)
    return Blend("gate", slope=float(slope.detach()), offset=float((offset - slope * centre).detach()))
