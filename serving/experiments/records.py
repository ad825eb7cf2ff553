"""Answers, and lists that could not be made, as the prediction log has them."""

from __future__ import annotations

from collections.abc import Sequence

from core.events import canonical_id
from core.ids import time_ordered_id
from core.logs.predictions import PINNED, Prediction
from core.timing.clock import CLOCK
from serving.api.criteria import ItemCriteria
from serving.api.options import AppliedRule
from serving.api.recommend import Recommendations, RecommendRequest
from serving.engine import Engine
from serving.experiments.plan import Choice
from serving.online.as_read import features_as_read

_FILTERS = (*ItemCriteria.model_fields, "exclude", "allow", "seen")


def prediction_of(
    choice: Choice[Engine],
    request: RecommendRequest,
    answer: Recommendations,
    endpoint: str,
    seconds: float,
    keeps_features: bool = False,
    together: int = 1,
) -> Prediction:
    """The record of an answer.

    Args:
        together: How many lists were made with it, in `seconds`.
        keeps_features: Whether it has what was read of a user whom it is shown.
    """
    items = answer.items
    explored = answer.exploration
    user = answer.user if keeps_features and request.user_id is not None and not request.is_preview else None
    return Prediction(
        recommendation_id=answer.recommendation_id,
        at=CLOCK.now().isoformat(),
        endpoint=endpoint,
        model=answer.model,
        items=[item.item_id for item in items],
        scores=[item.score for item in items],
        parts=[item.part for item in items],
        rules=rules_of(answer.applied, len(items)),
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
        filtered=is_filtered(request),
        cold_start=answer.cold_start,
        degraded=answer.degraded,
        took_ms=seconds * 1000.0,
        together=together,
        request_id=request.request_id,
        features=None if user is None else features_as_read(user),
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


def is_filtered(request: RecommendRequest) -> bool:
    """Whether a request says which items may be shown, so that without it the list would be of others."""
    return not request.exclude_seen or any(getattr(request, name) not in (None, []) for name in _FILTERS)


def rules_of(applied: Sequence[AppliedRule], n_places: int) -> list[str]:
    """What rules did to each place of a list, as `Prediction.rules` has it. Of a pinned item only that: it stands where
    it does whatever moves it.
    """
    places: list[list[str]] = [[] for _ in range(n_places)]
    pinned: set[int] = set()
    for rule in applied:  # pins come first
        for item in rule.items:
            if item.to_place is None or rule.note is not None or item.to_place in pinned:
                continue
            places[item.to_place - 1].append(f"{rule.rule}:{rule.number if rule.id is None else rule.id}")
            if rule.rule == "pin":
                pinned.add(item.to_place)
    return [" ".join(place) for place in places] if any(places) else []


def ranked_items(record: Prediction) -> list[str]:
    """The items of a list, but for pinned ones."""
    if not record.rules:
        return list(record.items)
    return [item for item, rule in zip(record.items, record.rules, strict=True) if not rule.startswith(PINNED)]


def canonical(given: str | None) -> str | None:
    """An id as the event log has it, however a client writes it."""
    return None if given is None else canonical_id(given)
