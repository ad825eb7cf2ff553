"""One step of gradient descent, the same for every loop that trains: a loss that is no number ends the fit."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from recommender.errors import NotFinite
from recommender.fitting.finiteness import DO_AT_A_FIT, finite_loss

MAX_GRADIENT_NORM = 1.0


def descend(
    part: str, loss: torch.Tensor, optimizer: torch.optim.Optimizer, where: str, max_norm: float = MAX_GRADIENT_NORM
) -> float:
    """Take a step down a loss, with all of the optimiser's gradients together no longer than `max_norm`.

    Args:
        part: What is fitted, as an error says it: "sequence model".
        loss: Shape ().
        where: How far the fit is: "epoch 3".
    Returns:
        The loss.
    Raises:
        NotFinite: the loss or its gradient is NaN or infinite; no weight has changed then.
    Source: Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks (clipping).
    """
    return descend_in_parts(part, [loss], optimizer, where, max_norm)


def descend_in_parts(
    part: str,
    losses: Iterable[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    where: str,
    max_norm: float = MAX_GRADIENT_NORM,
) -> float:
    """As `descend`, down a sum of losses; of each the graph is gone before the next one is made.

    Args:
        losses: Each shape ().
    Returns:
        Their sum.
    """
    optimizer.zero_grad(set_to_none=True)
    value = 0.0
    for loss in losses:
        value += finite_loss(part, loss.item(), where)
        loss.backward()
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, max_norm)
    if not norm.isfinite():
        raise NotFinite(
            f"Cannot fit {part}",
            got=f"length of the gradient={norm.item()} at a loss of {value:.4g}",
            expected="a finite number",
            where=where,
            do=DO_AT_A_FIT,
        )
    optimizer.step()
    return value
