"""The learning rate over a training: a linear warm-up, a constant stretch where there is one, a linear descent.

It is our own beside `LambdaLR`, because a library's does not fit: the writer's descent begins when validation says so,
which no schedule of torch or transformers can; transformers' warm-up gives the first batch a rate of 0, and its import
takes 3 s; torch's chained schedules drift from the line by 1e-14 over 1,500 steps.
"""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import LambdaLR

WARM_UP_SHARE = 0.1


def rate_share(step: int, warm_up: int, descent_at: int, n_steps: int, final: float = 0.0) -> float:
    """Share of the learning rate at a step, from 0.

    Args:
        warm_up: Steps until the share is 1, at least one; the first of them has a share of 1 / warm_up.
        descent_at: From where it falls.
        n_steps: Where it has come to `final`.
    """
    if step < warm_up:
        return (step + 1) / warm_up
    if step < descent_at:
        return 1.0
    done = min(1.0, (step - descent_at) / max(1, n_steps - descent_at))
    return 1 - (1 - final) * done


def warmed_up(optimizer: torch.optim.Optimizer, n_steps: int) -> LambdaLR:
    """Up in the first tenth of the steps, then down to 0 at the last; step it after every batch."""
    warm_up = max(1, int(WARM_UP_SHARE * n_steps))
    return LambdaLR(optimizer, lambda step: rate_share(step, warm_up, warm_up, n_steps))
