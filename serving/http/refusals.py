"""What a client is answered where there is no answer."""

from __future__ import annotations

import logging
from typing import Any

from core.logs.timeline import TimelineError
from core.overrides import OverrideError
from core.quarantine.requests import ReadmissionRequestError
from core.removals import RemovalError
from core.tombstones import TombstoneError
from features.errors import FeatureError
from monitoring.lineage import TraceTooLong, UnknownRecommendation
from recommender.errors import NotFinite
from serving.errors import RecordUnreadable, ServingError, TooBusy
from serving.http.responses import refuse

logger = logging.getLogger("serving")


def refusal_of(error: Exception) -> Any:
    """An error as an answer; what is no answer but a bug is raised again."""
    sentence = sentence_of(error)
    if sentence is None:
        raise error
    if isinstance(error, ServingError):
        headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, TooBusy) else None
        return refuse(error.status, sentence, headers)
    if isinstance(error, UnknownRecommendation):
        return refuse(404, sentence)
    if isinstance(error, TimeoutError | TraceTooLong):
        return refuse(504, sentence)
    return refuse(500 if isinstance(error, NotFinite) else 503, sentence)


def sentence_of(error: Exception) -> str | None:
    """What a client is told of an error; None of a bug."""
    match error:
        case RecordUnreadable():
            logger.error("%s", error, exc_info=error)
            return str(error)
        case ServingError():
            return str(error)
        case UnknownRecommendation() | TraceTooLong():
            return f"{error.failed}: {error.got}, expected {error.expected}. {error.do}."
        case TimelineError():
            logger.error("The time line cannot be read", exc_info=error)
            return "Cannot say where the answer came from: the time line cannot be read. Try again later."
        case NotFinite():
            logger.error("The bundle in service answers with what is no number", exc_info=error)
            return str(error)
        case FeatureError() | TombstoneError():
            logger.error("The online store cannot be read", exc_info=error)
            return "Cannot answer for a known user: the online store cannot be read. Try again later."
        case ReadmissionRequestError():
            logger.error("A readmission was refused", exc_info=error)
            return f"{error.failed}: {error.got}, expected {error.expected}. {error.do}."
        case OverrideError() | RemovalError():
            logger.error("A change was refused", exc_info=error)
            return "Cannot keep the change: its file cannot be read or written. Send it again later."
        case TimeoutError():
            return "Cannot answer in time: the request waited for longer than serving.timeout_s. Ask again later."
    return None
