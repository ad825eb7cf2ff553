"""Numbers that have to be finite: a NaN compares with nothing, so that whatever it decides is decided by chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from recommender.errors import NotFinite

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor | np.ndarray]

DO_AT_A_FIT = "Lower its learning rate, or look for extreme values in the data"
DO_AT_AN_ANSWER = "Fit it again: make run; until then promote another bundle: sommelier models list"


def finite_scores(part: str, scores: np.ndarray, *, masked: bool = False) -> np.ndarray:
    """The scores, which are checked.

    Args:
        part: Whose they are, as the error says it: "sequence model".
        scores: Of any shape.
        masked: Whether -inf may stand among them, for what must not come back.
    Raises:
        NotFinite: one is NaN or infinite.
    """
    # The largest and the least are NaN where any is; a pass each, and no matrix more.
    highest = np.maximum.reduce(scores, axis=None, initial=-np.inf)
    lowest = 0.0 if masked else np.minimum.reduce(scores, axis=None, initial=np.inf)
    if not highest < np.inf or (lowest == -np.inf and scores.size):
        wrong = ~np.isfinite(scores)
        if masked:
            wrong &= scores != -np.inf
        raise NotFinite(
            f"Cannot use scores of {part}",
            got=f"scores={scores[wrong][0]} in {int(wrong.sum())} of {scores.size} places",
            expected="finite numbers",
            do=DO_AT_AN_ANSWER,
        )
    return scores


def finite_loss(part: str, loss: float, where: str) -> float:
    """A loss, or another figure that a fit is led by, which is checked.

    Args:
        part: What is fitted, as the error says it: "sequence model".
        where: How far the fit is: "epoch 3".
    Raises:
        NotFinite: it is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise NotFinite(
            f"Cannot fit {part}", got=f"loss={loss}", expected="a finite number", where=where, do=DO_AT_A_FIT
        )
    return loss


def finite_weights(part: str, tensors: Tensors) -> None:
    """Refuse weights that a fit came to.

    Args:
        part: What was fitted, as the error says it.
    Raises:
        NotFinite: names the tensor.
    """
    wrong = name_not_finite(tensors)
    if wrong:
        raise NotFinite(f"Cannot fit {part}", got=wrong, expected="finite numbers", do=DO_AT_A_FIT)


def name_not_finite(tensors: Tensors) -> str | None:
    """The first tensor that holds a NaN or an infinite number, and how many; None where all are finite."""
    for name, values in tensors.items():
        wrong = _count(values)
        if wrong:
            return f"{name} has {wrong} numbers that are not finite"
    return None


def _count(values: torch.Tensor | np.ndarray) -> int:
    if isinstance(values, np.ndarray):
        return 0 if values.dtype.kind not in "fc" else int(values.size - np.isfinite(values).sum())
    return int(values.numel() - values.isfinite().sum())
