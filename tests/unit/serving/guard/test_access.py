"""The table of scopes: every endpoint has a row, and what has none needs `admin`."""

from __future__ import annotations

import pytest

from core.settings.tree import Settings
from serving.api.endpoints import ENDPOINTS
from serving.guard.access import find_row, is_change, need_of
from serving.web.routes import page_routes


def test_every_endpoint_has_a_row() -> None:
    assert ENDPOINTS
    paths = [(one.method.upper(), path) for one in ENDPOINTS for path in (one.path, one.earlier) if path]
    assert not [path for path in paths if find_row(*path) is None]


def test_every_page_has_a_row() -> None:
    paths = [route.path.format(name="page.js") for route in page_routes(Settings())]
    assert "/app/" in paths
    assert {path: need_of("GET", path) for path in paths if find_row("GET", path) is None} == {}
    assert [path for path in paths if need_of("GET", path) != "read"] == ["/app/audit"]


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/livez", "nothing"),
        ("HEAD", "/readyz", "nothing"),
        ("GET", "/static_content/swagger-ui.css", "nothing"),
        ("GET", "/model", "nothing"),
        ("GET", "/v1/model", "nothing"),
        ("GET", "/metrics", "read"),
        ("POST", "/recommend", "read"),
        ("POST", "/v1/recommend", "read"),
        ("POST", "/v1/events", "events"),
        ("POST", "/events", "events"),
        ("GET", "/v1/users/u1", "read"),
        ("HEAD", "/items/i1", "read"),
        ("PUT", "/v1/users/u1", "admin"),
        ("DELETE", "/items/i/with/slashes", "admin"),
        ("POST", "/v1/experiments", "admin"),
        ("GET", "/app", "read"),
        ("GET", "/app/status", "read"),
    ],
)
def test_what_an_endpoint_needs(method: str, path: str, need: str) -> None:
    assert find_row(method, path) is not None
    assert need_of(method, path) == need


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/schema.json"),  # BentoML's own
        ("GET", "/healthz"),
        ("POST", "/livez"),
        ("POST", "/app"),
        ("GET", "/recommend"),
        ("POST", "/recommend/"),
        ("POST", "//recommend"),
        ("POST", "/v1/v1/recommend"),
        ("POST", "/v2/recommend"),
        ("GET", "/v1/livez"),
        ("GET", "/users/"),
        ("GET", "/usersx/u1"),
        ("OPTIONS", "/recommend"),
        ("BREW", "/"),
        ("POST", ""),
    ],
)
def test_what_no_row_names_needs_admin(method: str, path: str) -> None:
    assert find_row(method, path) is None
    assert need_of(method, path) == "admin"


def test_no_change_is_open() -> None:
    from serving.guard.access import ROWS

    assert not [row for row in ROWS for method in row.methods if is_change(method) and row.need == "nothing"]
