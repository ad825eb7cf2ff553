"""Blending the parts: what each part makes of the items is standardised per user, so that a weight means the same for
every user, and added by weights.

The kind and the weights are chosen on the validation window (`recommender.ranking.choice`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from core.settings.models import BlendKind
from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.fitting.finiteness import finite_scores
from recommender.metrics.top_k import ANY_RANKER
from recommender.ranking.candidates import Candidates

CONFIG_FILE = "blend.json"
COLD_FILE = "cold.json"
MOST = 1.0  # the gate's largest weight: the simple mean
_ROUNDING = (
    2e-6  # of scores of single precision, as a share of them: a few units in their last place, and of their mean's
)


@dataclass(frozen=True)
class Blend:
    """How much each part counts.

    Attributes:
        kind: none: the sequence model alone. part: one part alone. mean, weighted: by `weights`. gate: the neighbours'
            weight is a logistic unit on log(1 + history length). network, trees: weighted, and corrected by them.
        weights: Of each part that counts; a part that ranks badly may count against an item.
        slope, offset: Of kind gate.
        candidates: Of each part the best so many items are corrected, where anything corrects the blend.
    """

    kind: BlendKind = "none"
    weights: Mapping[str, float] = field(default_factory=lambda: {"sequence": 1.0})
    slope: float = 0.0
    offset: float = 0.0
    candidates: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that count."""
        return tuple(name for name, weight in self.weights.items() if weight)

    @property
    def is_sequence_alone(self) -> bool:
        return self.parts == ("sequence",)

    def weight_of(self, part: str, lengths: np.ndarray) -> np.ndarray:
        """A part's weight for histories of these lengths. Shape of `lengths`, float32."""
        weight = self.weights.get(part, 0.0)
        if self.kind == "gate" and part == "neighbours":
            gate = weight * MOST / (1 + np.exp(-(self.offset + self.slope * np.log1p(lengths))))
            return np.asarray(gate, dtype=np.float32)
        return np.full(np.shape(lengths), weight, dtype=np.float32)

    def shares(self, scores: Mapping[str, np.ndarray], lengths: np.ndarray) -> dict[str, np.ndarray]:
        """What each part that counts adds.

        Args:
            scores: Standardised, of at least the parts that count. Shapes (B, n), float32.
            lengths: Of the users' histories. Shape (B,).
        """
        return {part: self.weight_of(part, lengths)[:, None] * scores[part] for part in self.parts}

    def of_candidates(self, candidates: Candidates) -> np.ndarray:
        """The candidates' scores. Shape (B, C), float32."""
        scores = {part: candidates.of_part(part) for part in self.parts}
        shares = self.shares(scores, candidates.lengths).values()
        total: np.ndarray = sum(shares, np.zeros(candidates.places.shape, dtype=np.float32))
        return total

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
    means = _means(scores)
    centred = scores - means
    # As `std`, which would take the mean away once more.
    spread = np.sqrt(_means(np.square(centred)))
    least = least_spread(means)
    found: np.ndarray = centred / np.maximum(spread, least)
    if not (spread > least).all():
        found = np.where(spread > least, found, 0.0)
    return found.astype(np.float32, copy=False)


def least_spread(means: np.ndarray | float) -> np.ndarray:
    """The standard deviation up to which scores are equal, and differ by their rounding alone.

    Args:
        means: Of the scores, in single precision. Any shape.
    """
    found: np.ndarray = np.maximum(1e-9, _ROUNDING * np.abs(means))
    return found


def _means(rows: np.ndarray) -> np.ndarray:
    """Of each row; as `mean`, which takes longer to start than to add up a few hundred numbers. Shape (B, 1)."""
    found: np.ndarray = np.add.reduce(rows, axis=1, keepdims=True) / rows.shape[1]
    return found
