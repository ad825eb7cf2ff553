"""A BentoML service that does nothing: what HTTP, parsing and serialising cost by themselves.

BentoML evaluates the annotations of this file itself, so it does without postponed ones.
"""

import bentoml
from pydantic import BaseModel


class Asked(BaseModel):
    """The fields of a small request."""

    user_id: str
    k: int


class Answered(BaseModel):
    """The smallest answer."""

    user_id: str


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Empty:
    """Answers at once."""

    @bentoml.api
    async def recommend(self, request: Asked, /) -> Answered:
        """Nothing but an answer."""
        return Answered(user_id=request.user_id)
