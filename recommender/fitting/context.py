"""What every fit is given beside its inputs and its settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from recommender.fitting.summary import Cap, FitSummary, Progress
from recommender.fitting.warm_start import WarmStart, Work


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
        start: The bundle whose weights a fit starts from, where its model can; None: it starts from nothing.
        works: How much a fit that started from weights did, once it is known.
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
    start: WarmStart | None = None
    works: list[Work] = field(default_factory=list, compare=False)

    def afresh(self) -> FitContext:
        """The same for another fit, which has left nothing out yet."""
        return replace(self, caps=[], works=[])

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

    def work(self, unit: str, *, new: int, replayed: int, full: int) -> None:
        """Say how much is learned where the fit starts from weights: in the progress and, by `works`, in the summary.

        Args:
            unit: What is counted, in the plural: "next items".
            new: Of those that are new.
            replayed: Of older ones, in an epoch.
            full: How many there are for a fit from nothing.
        """
        assert self.start is not None
        one = Work(parent=self.start.digest, unit=unit, new=new, replayed=replayed, full=full)
        if one not in self.works:
            self.works.append(one)
            self.progress(
                f"from the weights of bundle {self.start.digest[:16]}: {new:,} new {unit} since "
                f"{self.start.since:%Y-%m-%d %H:%M}, {replayed:,} older ones beside them, of {full:,}"
            )

    def held_summary(self) -> FitSummary | None:
        """What the held fit says of itself, its choices among it; None where choices are made on validation.

        Raises:
            BundleError: the held component has no summary, or a damaged one.
        """
        return None if self.held is None else FitSummary.read(self.held)
