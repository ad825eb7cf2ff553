"""What every fit is given beside its inputs and its settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from recommender.fitting.summary import Cap, FitSummary, Progress


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
        models: Where converted language models are kept (`Layout.language_models`); None where no fit needs one.
        caps: What the fit took only so many of, so far.
    """

    training: Path
    seed: int = 0
    k: int = 10
    threads: int | None = None
    progress: Progress = silent
    held: Path | None = None
    device: str = "cpu"
    models: Path | None = None
    caps: list[Cap] = field(default_factory=list, compare=False)

    def afresh(self) -> FitContext:
        """The same for another fit, which has left nothing out yet."""
        return replace(self, caps=[])

    def cap(self, what: str, taken: int, there: int, by: str) -> None:
        """Say that only so many are taken, where that is not all: in the progress and, by `caps`, in the summary.

        Args:
            what: In the plural: "items that the neighbours learn".
            by: The setting or the bound that says so: "neighbours.max_items".
        """
        one = Cap(what=what, taken=taken, there=there, by=by)
        if taken < there and one not in self.caps:
            self.caps.append(one)
            self.progress(one.sentence())

    def held_summary(self) -> FitSummary | None:
        """What the held fit says of itself, its choices among it; None where choices are made on validation.

        Raises:
            BundleError: the held component has no summary, or a damaged one.
        """
        return None if self.held is None else FitSummary.read(self.held)
