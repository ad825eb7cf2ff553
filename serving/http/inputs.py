"""The requests as BentoML's endpoints take them: one that does not fit is answered 400 with one sentence.

BentoML's own answer says how many errors there are, and it logs a stack trace.
"""

from __future__ import annotations

from typing import Any, Self

import bentoml
from pydantic import ValidationError
from starlette.requests import Request

from serving.api import events, feedback, lists, recommend, score
from serving.api.problem import explain


class Unreadable:
    """In the place of a request that did not fit its model. The endpoint answers 400."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence


class _Input(bentoml.IODescriptor):
    @classmethod
    def read(cls, body: bytes) -> Self | Unreadable:
        """The request of a body; in its place what says why it does not fit."""
        try:
            return cls.model_validate_json(body or b"{}")
        except ValidationError as error:
            return Unreadable(explain(error))

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        return cls.read(await request.body())


class RecommendInput(_Input, recommend.RecommendRequest):
    """See `RecommendRequest`."""


class ScoreInput(_Input, score.ScoreRequest):
    """See `ScoreRequest`."""


class FeedbackInput(_Input, feedback.FeedbackRequest):
    """See `FeedbackRequest`."""


class EventsInput(_Input, events.EventsRequest):
    """See `EventsRequest`."""


class PopularInput(_Input, lists.PopularRequest):
    """See `PopularRequest`."""


class LatestInput(_Input, lists.LatestRequest):
    """See `LatestRequest`."""


class SimilarInput(_Input, lists.SimilarRequest):
    """See `SimilarRequest`."""


class SearchInput(_Input, lists.SearchRequest):
    """See `SearchRequest`."""
