"""Requests as they are sent: one answer or many, whole or in pieces, and events with their ids."""

from __future__ import annotations

from collections import Counter

from serving.api.events import EventsRequest
from serving.api.feedback import FeedbackRequest
from serving.api.recommend import RecommendRequest
from serving.errors import BadRequest


def whole(request: FeedbackRequest) -> FeedbackRequest:
    """The request of texts that come in one answer."""
    return request.model_copy(update={"stream": False}) if request.stream else request


def streamed(request: FeedbackRequest) -> FeedbackRequest:
    """The request of texts that come in pieces."""
    return request.model_copy(update={"stream": True})


def with_ids(request: EventsRequest) -> EventsRequest:
    """The same events, each with an id, the same at every call until `forget_ids`: what is sent again after an error is
    then stored once. One `Event` that stands in the request several times happened so often.
    """
    times = Counter[int]()
    events = []
    for event in request.events:
        nth = times[id(event)] = times[id(event)] + 1
        made = event.sent_id if nth == 1 else f"{event.sent_id}-{nth}"
        events.append(event.model_copy(update={"event_id": made}) if event.event_id is None else event)
    return request.model_copy(update={"events": events})


def forget_ids(request: EventsRequest) -> None:
    """Have events that the service has received get new ids where they are sent once more: they happened once more."""
    for event in request.events:
        event.forget_sent_id()


def check_one(request: RecommendRequest | FeedbackRequest, many: str, instead: str) -> None:
    """See that one answer is asked for.

    Args:
        many: The field by which many are.
        instead: The method for many.
    Raises:
        BadRequest: many are.
    """
    if (given := getattr(request, many)) is not None:
        raise BadRequest(
            "Cannot ask for one answer", got=f"{many}={len(given)}", expected=f"no {many}", do=f"Call {instead}"
        )


def check_many(request: RecommendRequest | FeedbackRequest, many: str, instead: str) -> None:
    """See that many answers are asked for.

    Raises:
        BadRequest: one is.
    """
    if getattr(request, many) is None:
        raise BadRequest("Cannot ask for many answers", got=f"{many}=None", expected=many, do=f"Call {instead}")
