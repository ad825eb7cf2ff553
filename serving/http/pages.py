"""What is read with GET: the page of the API, its OpenAPI description, the bundle in service, items and users."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import bentoml
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from serving.api.message import API_PREFIX, Message
from serving.api.openapi import describe_api
from serving.api.problem import explain
from serving.api.quarantine import QuarantineQuery
from serving.api.timeline import AuditQuery, TimelineQuery
from serving.guard.caller import current_caller
from serving.http.changes import CHANGES
from serving.http.headers import page_policy
from serving.http.ids import ITEM_ID, USER_ID
from serving.http.responses import refuse, respond

_SCRIPT = """
SwaggerUIBundle({ url: "docs.json", dom_id: "#api", tryItOutEnabled: true, defaultModelsExpandDepth: 0 })
"""
# BentoML's own page loads a tracker. The style and scripts are those that BentoML serves at /static_content.
PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sommelier API</title>
<link rel="stylesheet" href="static_content/swagger-ui.css">
<link rel="icon" href="data:,">
<style>body {{ margin: 0; background: #fafafa }}</style>
</head>
<body>
<div id="api"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script>{_SCRIPT}</script>
</body>
</html>
"""
_PAGE_HEADERS = {"content-security-policy": page_policy(_SCRIPT)}


async def _show_page(_: Request) -> Response:
    return HTMLResponse(PAGE, headers=_PAGE_HEADERS)


async def _show_description(_: Request) -> Response:
    # Making it takes a tenth of a second: once for each worker, and never on the loop that answers everybody.
    return Response(await run_in_threadpool(_description), media_type="application/json")


@cache
def _description() -> bytes:
    return to_json(describe_api())


async def _show_model(_: Request) -> Response:
    service: Any = bentoml.get_current_service()
    info = service.model_info()
    return respond(info if current_caller().may("read") else info.summary())


async def _show_experiments(_: Request) -> Response:
    service: Any = bentoml.get_current_service()
    # It looks into files: not on the loop that answers everybody.
    return respond(await run_in_threadpool(service.experiments_info))


async def _show_timeline(request: Request) -> Response:
    return await _answer_query(request, TimelineQuery, bentoml.get_current_service().operations.timeline)


async def _show_audit(request: Request) -> Response:
    return await _answer_query(request, AuditQuery, bentoml.get_current_service().operations.audit)


async def _show_quarantine(request: Request) -> Response:
    look = partial(bentoml.get_current_service().operations.quarantine, shows_rows=current_caller().may("admin"))
    return await _answer_query(request, QuarantineQuery, look)


async def _show_lineage(request: Request) -> Response:
    return await _read(bentoml.get_current_service().operations.lineage, request.path_params["recommendation_id"])


async def _show_item(request: Request) -> Response:
    return await _read(bentoml.get_current_service().item_record, request.path_params["item_id"])


async def _show_user(request: Request) -> Response:
    return await _read(bentoml.get_current_service().user_record, request.path_params["user_id"])


async def _answer_query(request: Request, kind: type[Message], answer: Callable[[Any], Any]) -> Response:
    """The answer to what stands behind the question mark of an address."""
    try:
        query = kind.model_validate(dict(request.query_params), strict=False)
    except ValidationError as error:
        refused: Response = refuse(400, explain(error))
        return refused
    return await _read(answer, query)


async def _read(record: Callable[[Any], Any], key: Any) -> Response:
    """Read a record in a thread, as files or the online store may take their time."""
    found = await run_in_threadpool(record, key)
    answer: Response = respond(found) if isinstance(found, BaseModel) else found
    return answer


# BentoML's endpoints are POST only, so others stand beside them; "/" takes the place of BentoML's own page.
PAGES = Starlette(
    routes=[
        Route("/", _show_page),
        Route("/docs.json", _show_description),
        Route(f"{API_PREFIX}/model", _show_model),
        Route(f"{API_PREFIX}/experiments", _show_experiments),
        Route(f"{API_PREFIX}/timeline", _show_timeline),
        Route(f"{API_PREFIX}/audit", _show_audit),
        Route(f"{API_PREFIX}/quarantine", _show_quarantine),
        Route(f"{API_PREFIX}/lineage/{{recommendation_id}}", _show_lineage),
        Route(f"{API_PREFIX}/items/{ITEM_ID}", _show_item),
        Route(f"{API_PREFIX}/users/{USER_ID}", _show_user),
        *CHANGES,
    ],
)
