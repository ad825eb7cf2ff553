"""What a browser is told of every answer, and of the one page."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from serving.http.headers import SecurityHeaders
from serving.http.pages import PAGE, PAGES


async def answer(_: Request) -> Response:
    return JSONResponse({})


def test_no_answer_may_be_framed_or_taken_for_another_type() -> None:
    got = TestClient(SecurityHeaders(Starlette(routes=[Route("/x", answer)])))
    for path in ("/x", "/nowhere"):
        headers = got.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_the_page_may_run_its_own_script_and_no_other() -> None:
    got = TestClient(SecurityHeaders(PAGES)).get("/")
    policy = dict(part.split(" ", 1) for part in got.headers["content-security-policy"].split("; "))
    (script,) = re.findall(r"<script>(.*?)</script>", got.text, flags=re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert "SwaggerUIBundle({ url" in script
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert (policy["default-src"], policy["frame-ancestors"], policy["connect-src"]) == ("'none'", "'none'", "'self'")
    assert got.text == PAGE
    # Everything else that the page loads is of the same origin, or within the page.
    assert all(not one.startswith(("http", "//")) for one in re.findall(r'(?:src|href)="([^"]*)"', PAGE))
