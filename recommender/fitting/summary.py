"""What a fit says of itself, while it runs and at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.storage import write_json
from recommender.fitting.component import SUMMARY, loading, read_config
from recommender.fitting.warm_start import Work

Progress = Callable[[str], None]


class Cap(BaseModel):
    """Something of which a fit took only so many.

    Attributes:
        what: In the plural: "items that the neighbours learn".
        taken: How many were taken.
        there: Of how many.
        by: The setting or the bound that says so: "neighbours.max_items".
    """

    model_config = ConfigDict(frozen=True)

    what: str
    taken: int
    there: int
    by: str

    def sentence(self) -> str:
        """What was left out, in a line."""
        return f"{self.what}: {self.taken:,} of {self.there:,}, by {self.by}"


class FitSummary(BaseModel):
    """What a fit says of itself.

    Attributes:
        folder: Where the component lies.
        epochs: Epochs that were run.
        best_epoch: The one that was kept, from 1.
        metrics: On the validation window, e.g. `{"ndcg_at_10": 0.05}`; none where choices were held.
        seconds: Wall time of the fit.
        curve: What each epoch came to, e.g. `{"epoch": 1, "loss": 5.1, "ndcg": 0.04}`; empty where there are no epochs.
        choices: What else was chosen on the validation window, by name: a fit that holds them takes it over from here.
        caps: What the fit took only so many of.
        work: How much it did, where it started from the weights of a bundle; None where it started from nothing.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    seconds: float
    curve: tuple[dict[str, float], ...] = ()
    choices: dict[str, Any] = {}
    caps: tuple[Cap, ...] = ()
    work: Work | None = None

    def write(self, folder: Path) -> None:
        """Leave the summary beside the weights; it is no part of a bundle's digest."""
        write_json(folder / SUMMARY, self.model_dump(mode="json", exclude={"folder"}))

    @classmethod
    def read(cls, folder: Path) -> FitSummary:
        """What `write` left beside the weights.

        Raises:
            BundleError: the file is missing or not as it was written.
        """
        config = read_config(folder / SUMMARY)
        with loading("component", got=f"file={folder / SUMMARY}", expected="what a fit says of itself"):
            return cls(folder=folder, **config)
