"""Early stopping: the best state of a training so far, and when to stop looking for a better one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from recommender.fitting.finiteness import finite_loss

State = TypeVar("State")


@dataclass
class EarlyStopping(Generic[State]):
    """The best of a training by a figure on validation. Of two that do equally well the first is kept.

    Attributes:
        value: The best figure; at first that of the start.
        state: What was reached with it; at first the start.
        patience: Steps or epochs without a better figure after which training is over; None is never over.
        lower_is_better: As with losses.
        step: When the best was reached; 0 is the start.
        part: What is trained, as an error says it: "pair scorer".
    """

    value: float
    state: State
    patience: int | None = None
    lower_is_better: bool = False
    step: int = 0
    part: str = "model"

    def is_beaten_by(self, value: float) -> bool:
        """Whether a figure is better than the best so far.

        Raises:
            NotFinite: it is NaN or infinite: such a training is never the best, and what led to it is to be said.
        """
        finite_loss(self.part, value, f"on validation, after the best of step {self.step}")
        return value < self.value if self.lower_is_better else value > self.value

    def keep(self, step: int, value: float, state: State) -> None:
        """Take the place of the best so far."""
        self.step, self.value, self.state = step, value, state

    def is_over(self, step: int) -> bool:
        """Whether to stop after this step."""
        return self.patience is not None and step - self.step >= self.patience


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a module's weights and buffers, which further training leaves as it is."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}
