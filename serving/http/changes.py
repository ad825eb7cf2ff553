"""What changes the shop: what clients say of items and users, whom to forget, which rows to let in again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import bentoml
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.api.changes import ItemPatch, UserPatch
from serving.api.message import API_PREFIX, Message
from serving.api.problem import explain
from serving.api.quarantine import Readmission, ReadmissionAsked, ReadmitRequest
from serving.guard.caller import current_caller
from serving.guard.changes import say_in_audit
from serving.http.ids import ITEM_ID, USER_ID
from serving.http.responses import refuse, respond

Patch = TypeVar("Patch", bound=Message)


async def _change_item(request: Request) -> Response:
    item_id = request.path_params["item_id"]
    return await _changed(request, ItemPatch, lambda patch, desk, engine: desk.change_item(item_id, patch, engine))


async def _delete_item(request: Request) -> Response:
    item_id = request.path_params["item_id"]
    return await _kept(lambda desk, engine: desk.delete_item(item_id, engine))


async def _change_user(request: Request) -> Response:
    user_id = request.path_params["user_id"]
    return await _changed(request, UserPatch, lambda patch, desk, _: desk.change_user(user_id, patch))


async def _forget_user(request: Request) -> Response:
    user_id = request.path_params["user_id"]
    return await _kept(lambda desk, _: desk.forget_user(user_id))


async def _readmit(request: Request) -> Response:
    service: Any = bentoml.get_current_service()
    try:
        asked = ReadmitRequest.model_validate_json(await request.body())
    except ValidationError as error:
        refused: Response = refuse(400, explain(error))
        return refused
    say_in_audit(request.scope, table=asked.table or "", rule=asked.rule or "", reason=asked.reason)
    found = await run_in_threadpool(service.operations.readmit, asked, current_caller().name)
    answer: Response = respond(found, 202) if isinstance(found, ReadmissionAsked) else found
    return answer


async def _withdraw(request: Request) -> Response:
    service: Any = bentoml.get_current_service()
    found = await run_in_threadpool(service.operations.withdraw, request.path_params["readmission_id"])
    if isinstance(found, Readmission):
        say_in_audit(
            request.scope, request=found.id, table=found.table or "", rule=found.rule or "", reason=found.reason
        )
    answer: Response = respond(found) if isinstance(found, Readmission) else found
    return answer


async def _changed(request: Request, kind: type[Patch], change: Callable[[Patch, Any, Any], BaseModel]) -> Response:
    try:
        patch = kind.model_validate_json(await request.body())
    except ValidationError as error:
        refused: Response = refuse(400, explain(error))
        return refused
    return await _kept(lambda desk, engine: change(patch, desk, engine))


async def _kept(change: Callable[[Any, Any], BaseModel]) -> Response:
    """The service's answer, made in a thread: what is kept waits for the disk.

    Args:
        change: What the service's desk for changes does, with the engine of this moment (None before the first).
    """
    service: Any = bentoml.get_current_service()
    answer: Response = await run_in_threadpool(service.keep_change, change)
    return answer


CHANGES = [
    Route(f"{API_PREFIX}/items/{ITEM_ID}", _change_item, methods=["PATCH"]),
    Route(f"{API_PREFIX}/items/{ITEM_ID}", _delete_item, methods=["DELETE"]),
    Route(f"{API_PREFIX}/users/{USER_ID}", _change_user, methods=["PATCH"]),
    Route(f"{API_PREFIX}/users/{USER_ID}", _forget_user, methods=["DELETE"]),
    Route(f"{API_PREFIX}/quarantine/readmissions", _readmit, methods=["POST"]),
    Route(f"{API_PREFIX}/quarantine/readmissions/{{readmission_id}}", _withdraw, methods=["DELETE"]),
]
