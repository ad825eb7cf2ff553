"""Learns the weights of a blend by the likelihood of the targets under a softmax over the candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from recommender.fitting.finiteness import finite_loss
from recommender.ranking.blend import MOST, Blend
from recommender.ranking.candidates import Candidates

_STEPS = 60
# Of the squared weights: few users say little of parts that tell the same.
_RIDGE = 0.01
_GATE_STEPS = 40
# Keeps the gate finite where the neighbours are always right, or never.
_GATE_PENALTY = 1e-4


def fit_weights(candidates: Candidates) -> Blend:
    """A weight per part, of either sign; those of the largest one are 1."""
    there, share = targets_of(candidates)
    if not len(share):
        return Blend("weighted")
    scores = torch.from_numpy(candidates.scores[there])
    padding = torch.from_numpy(~candidates.there[there])
    wanted = torch.from_numpy(share)
    weights = torch.full((len(candidates.names),), 0.3, requires_grad=True)

    def loss() -> torch.Tensor:
        logits = (scores @ weights).masked_fill(padding, -torch.inf)
        return missed(logits, wanted) + _RIDGE * weights.square().sum()

    _minimise([weights], loss, _STEPS)
    found = weights.detach().double().numpy()
    found = found / max(float(np.abs(found).max()), 1e-12)
    return Blend("weighted", {name: float(weight) for name, weight in zip(candidates.names, found, strict=True)})


def fit_gate(candidates: Candidates) -> Blend:
    """The neighbours' weight by the length of the history; a temperature is fitted along.

    No logistic regression: the gate stands inside the softmax, so the scores are not linear in its weights.
    """
    there, share = targets_of(candidates)
    if not len(share):
        return Blend("gate", {"sequence": 1.0, "neighbours": 1.0}, offset=-2.0)
    first, second = (torch.from_numpy(candidates.of_part(part)[there]) for part in ("sequence", "neighbours"))
    padding, wanted = torch.from_numpy(~candidates.there[there]), torch.from_numpy(share)
    logged = torch.log1p(torch.from_numpy(candidates.lengths[there].astype(np.float32)))
    # Centred, so that slope and offset do not pull at each other: a gate that saturates learns no more.
    centre = logged.mean()
    logged = logged - centre
    slope, offset = torch.zeros((), requires_grad=True), torch.tensor(-2.0, requires_grad=True)
    sharpness = torch.zeros((), requires_grad=True)

    def loss() -> torch.Tensor:
        weight = MOST * torch.sigmoid(offset + slope * logged)
        logits = ((first + weight[:, None] * second) * sharpness.exp()).masked_fill(padding, -torch.inf)
        return missed(logits, wanted) + _GATE_PENALTY * (slope.square() + offset.square() + sharpness.square())

    _minimise([slope, offset, sharpness], loss, _GATE_STEPS)
    weights = {"sequence": 1.0, "neighbours": 1.0}
    return Blend("gate", weights, slope=float(slope.detach()), offset=float((offset - slope * centre).detach()))


def targets_of(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """The queries with a target among their candidates, and each one's share of its query's, 0 for the others."""
    there = np.flatnonzero(candidates.wanted.any(axis=1))
    wanted = candidates.wanted[there].astype(np.float32)
    return there, wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1.0)


def missed(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the queries' targets. Shapes (B, C)."""
    logged = torch.log_softmax(logits, dim=1).masked_fill(wanted == 0, 0.0)
    return -(logged * wanted).sum(dim=1).mean()


def _minimise(weights: list[torch.Tensor], loss: Callable[[], torch.Tensor], steps: int) -> None:
    optimiser = torch.optim.LBFGS(weights, max_iter=steps, line_search_fn="strong_wolfe")

    def evaluate() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        finite_loss("blend", value.item(), "weights of the parts")
        value.backward()
        return value

    optimiser.step(evaluate)
