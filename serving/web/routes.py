"""The routes of the pages, and of the files that they load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import bentoml
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.settings.tree import Settings
from serving.api.problem import explain
from serving.web.audit import show_audit
from serving.web.compare import show_compare
from serving.web.explore import show_explore, show_item
from serving.web.front import show_front
from serving.web.model import show_experiments, show_model
from serving.web.quarantine import show_quarantine
from serving.web.status import show_status
from serving.web.templates import ASSETS, FILES, digest_of, render, show
from serving.web.view import View

_YEAR_S = 31_536_000
Show = Callable[[Any, Request], Awaitable[tuple[str, int]]]


def page_routes(settings: Settings) -> list[Route]:
    """All pages of the shop with these settings."""

    def page(path: str, build: Show) -> Route:
        async def answer(request: Request) -> Response:
            service: Any = bentoml.get_current_service()
            try:
                html, status = await build(service, request)
            except ValidationError as error:
                html, status = render(settings, "problem.html.j2", path or "front", problem=explain(error)), 400
            return show(html, status)

        return Route(f"/app/{path}" if path else "/app", answer)

    async def front(service: Any, _: Request) -> tuple[str, int]:
        return await show_front(service, settings), 200

    async def explore(service: Any, request: Request) -> tuple[str, int]:
        return await show_explore(service, settings, View.of(request.query_params))

    async def item(service: Any, request: Request) -> tuple[str, int]:
        view = View.of(request.query_params)
        return await show_item(service, settings, view, request.query_params.get("item_id", ""))

    async def compare(service: Any, request: Request) -> tuple[str, int]:
        asked = request.query_params
        left, right = asked.get("left", "blend"), asked.get("right", "generative")
        return await show_compare(service, settings, View.of(asked), left, right), 200

    async def model(service: Any, request: Request) -> tuple[str, int]:
        return await show_model(service, settings, request.query_params.get("recommendation_id", "").strip())

    async def experiments(service: Any, _: Request) -> tuple[str, int]:
        return await show_experiments(service, settings), 200

    async def status(service: Any, _: Request) -> tuple[str, int]:
        def build() -> str:
            timeline = service.operations.timeline()
            return show_status(settings, service.model_info(), timeline, service.experiments_info())

        return await run_in_threadpool(build), 200

    async def quarantine(service: Any, request: Request) -> tuple[str, int]:
        return await show_quarantine(service, settings, request.query_params)

    async def audit(service: Any, request: Request) -> tuple[str, int]:
        return await show_audit(
            service, settings, request.query_params.get("before", ""), request.query_params.get("of", "")
        ), 200

    return [
        page("", front),
        Route("/app/", _go_to_front),
        page("explore", explore),
        page("item", item),
        page("compare", compare),
        page("model", model),
        page("experiments", experiments),
        page("status", status),
        page("quarantine", quarantine),
        page("audit", audit),
        Route("/app/assets/{name}", _give_file),
    ]


async def _go_to_front(_: Request) -> Response:
    return RedirectResponse("../app")


async def _give_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        return Response(status_code=404)
    kept = "no-cache" if request.query_params.get("v") != digest_of(name) else f"private, max-age={_YEAR_S}, immutable"
    content = await run_in_threadpool((ASSETS / name).read_bytes)
    return Response(content, media_type=FILES[name], headers={"cache-control": kept})
