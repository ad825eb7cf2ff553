"""What stands before CORSMiddleware gives the headers that CORSMiddleware gives."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from serving.guard.cors import OriginHeaders, cors_options

SHOP, OTHER = "https://shop.example", "https://evil.example"


@pytest.mark.parametrize("origins", [("*",), (SHOP,), (OTHER, SHOP), (SHOP, "*")])
@pytest.mark.parametrize("origin", [None, SHOP, OTHER, "null", "", "https://SHOP.example"])
def test_the_headers_are_those_of_the_middleware(origins: tuple[str, ...], origin: str | None) -> None:
    app = Starlette(routes=[Route("/x", lambda _: PlainTextResponse("a"))])
    asked = {} if origin is None else {"origin": origin}
    answer = TestClient(CORSMiddleware(app, **cors_options(origins))).get("/x", headers=asked)
    its = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    ours = OriginHeaders(origins).of([(name.encode(), value.encode()) for name, value in asked.items()])
    assert {name.decode(): value.decode() for name, value in ours} == its


def test_where_no_origin_is_named_nothing_is_added() -> None:
    assert OriginHeaders().of([(b"origin", SHOP.encode())]) == ()
