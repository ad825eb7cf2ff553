"""What every fit is given beside its inputs and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recommender.fitting.summary import Progress


def silent(line: str) -> None:
    """Progress that nobody reads."""


@dataclass(frozen=True)
class FitContext:
    """The surroundings of a fit. Equal data, settings, seeds and threads give bitwise equal weights.

    Attributes:
        training: The training folder: catalogue, sequences as of the cut-off, queries, rated pairs, reviews.
        seed: Of everything that is drawn.
        k: Length of the list by which a fit compares rankings.
        threads: Torch's threads while it fits; None leaves them as they are.
        progress: Called with each line of progress.
    """

    training: Path
    seed: int = 0
    k: int = 10
    threads: int | None = None
    progress: Progress = silent
