"""What a fit says of itself, while it runs and at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.storage import write_json
from recommender.fitting.component import SUMMARY

Progress = Callable[[str], None]


class FitSummary(BaseModel):
    """What a fit says of itself.

    Attributes:
        folder: Where the component lies.
        epochs: Epochs that were run.
        best_epoch: The one that was kept, from 1.
        metrics: On the validation window, e.g. `{"ndcg_at_10": 0.05}`.
        seconds: Wall time of the fit.
        curve: What each epoch came to, e.g. `{"epoch": 1, "loss": 5.1, "ndcg": 0.04}`; empty where there are no epochs.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    seconds: float
    curve: tuple[dict[str, float], ...] = ()

    def write(self, folder: Path) -> None:
        """Leave the summary beside the weights; it is no part of a bundle's digest."""
        write_json(folder / SUMMARY, self.model_dump(mode="json", exclude={"folder"}))
