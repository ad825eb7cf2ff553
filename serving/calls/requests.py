"""Requests as they are sent: one answer or many, whole or in pieces, and events with their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from serving.api.events import Event, EventsRequest
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
    # Asked once of each: another request may have it forgotten meanwhile.
    ids = {id(event): event.sent_id for event in request.events}
    events = []
    for event in request.events:
        nth = times[id(event)] = times[id(event)] + 1
        made = ids[id(event)] if nth == 1 else f"{ids[id(event)]}-{nth}"
        events.append(event.model_copy(update={"event_id": made}) if event.event_id is None else event)
    return request.model_copy(update={"events": events})


def forget_ids(events: Sequence[Event], sent: EventsRequest) -> None:
    """Have events that the service has received get new ids where they are sent once more: they happened once more.

    Args:
        events: The caller's, as they were when they were sent.
        sent: The same events by the ids that were received; see `with_ids`.
    """
    for event, received in zip(events, sent.events, strict=True):
        if received.event_id is not None:
            event.forget_sent_id(received.event_id)


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
