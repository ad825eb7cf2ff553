"""Answers, and lists that could not be made, as the prediction log has them."""

from __future__ import annotations

from core.events import canonical_id
from core.ids import time_ordered_id
from core.logs.predictions import Prediction
from core.timing.clock import CLOCK
from serving.api.recommend import Recommendations, RecommendRequest
from serving.engine import Engine
from serving.experiments.plan import Choice


def prediction_of(
    choice: Choice[Engine], request: RecommendRequest, answer: Recommendations, endpoint: str, seconds: float
) -> Prediction:
    """The record of an answer."""
    items = answer.items
    explored = answer.exploration
    return Prediction(
        recommendation_id=answer.recommendation_id,
        at=CLOCK.now().isoformat(),
        endpoint=endpoint,
        model=answer.model,
        items=[item.item_id for item in items],
        scores=[item.score for item in items],
        parts=[item.part for item in items],
        propensities=None if explored is None else [item.propensity for item in items],
        user_id=canonical(request.user_id),
        visitor_id=canonical(request.visitor_id),
        experiment=choice.experiment,
        variant=choice.variant,
        instead_of=choice.instead_of,
        unit=choice.unit,
        role="preview" if request.is_preview else "shown",
        k=request.k,
        seed=None if explored is None else explored.seed,
        seed_given=explored is not None and request.exploration is not None and request.exploration.seed is not None,
        cold_start=answer.cold_start,
        degraded=answer.degraded,
        took_ms=seconds * 1000.0,
        request_id=request.request_id,
    )


def failure_of(
    choice: Choice[Engine],
    request: RecommendRequest,
    error: Exception,
    endpoint: str,
    seconds: float,
    is_shadow: bool = False,
) -> Prediction:
    """The record of a list that could not be made."""
    return Prediction(
        recommendation_id=time_ordered_id(),
        at=CLOCK.now().isoformat(),
        endpoint=endpoint,
        model=choice.engine.model,
        items=(),
        scores=(),
        user_id=canonical(request.user_id),
        visitor_id=canonical(request.visitor_id),
        experiment=choice.experiment,
        variant=choice.variant,
        unit=choice.unit,
        role="failed",
        k=request.k,
        took_ms=seconds * 1000.0,
        request_id=request.request_id,
        failure=type(error).__name__,
        is_shadow=is_shadow,
    )


def canonical(given: str | None) -> str | None:
    """An id as the event log has it, however a client writes it."""
    return None if given is None else canonical_id(given)
