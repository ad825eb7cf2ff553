"""What every fit is given beside its inputs and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recommender.fitting.summary import FitSummary, Progress


def silent(line: str) -> None:
    """Progress that nobody reads."""


@dataclass(frozen=True)
class FitContext:
    """The surroundings of a fit. Equal data, settings, seeds, threads and devices give bitwise equal weights.

    Attributes:
        training: The training folder: catalogue, sequences as of the cut-off, queries, rated pairs, reviews.
        seed: Of everything that is drawn.
        k: Length of the list by which a fit compares rankings.
        threads: Torch's threads while it fits; None leaves them as they are.
        progress: Called with each line of progress.
        held: The component as it was fitted under the split, whose choices are taken over; None: choose on validation.
            What was chosen is kept (epochs or steps as they were, scaled by nothing; weights between parts; which part
            counts at all), what is learned is learned again, of all that the training folder holds.
        device: Where torch computes, "cpu" or "cuda", as `device.resolve_device` says.
    """

    training: Path
    seed: int = 0
    k: int = 10
    threads: int | None = None
    progress: Progress = silent
    held: Path | None = None
    device: str = "cpu"

    def held_summary(self) -> FitSummary | None:
        """What the held fit says of itself, its choices among it; None where choices are made on validation.

        Raises:
            BundleError: the held component has no summary, or a damaged one.
        """
        return None if self.held is None else FitSummary.read(self.held)
