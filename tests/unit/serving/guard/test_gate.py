"""The gate: who passes, who gets 401 and 403, and what these say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from core.keys import KeyFile, create_key, revoke_key
from core.settings.platform import Rate, RateSettings
from serving.guard.caller import Caller, current_caller
from serving.guard.cors import cors_options
from serving.guard.gate import KeyGate
from serving.http.middleware import ObserveRequests

OUTSIDE, LOOPBACK = "http://10.0.0.7:3000", "http://127.0.0.1:3000"
PATHS = ("/app/status", "/recommend", "/events", "/model", "/metrics", "/livez", "/v1/items/i1", "/made-up")


async def tell_caller(_: Request) -> Response:
    caller = current_caller()
    return JSONResponse({"caller": caller.name, "reads": caller.may("read")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "api_keys.json"


def service(file: Path, base_url: str = LOOPBACK, **options: Any) -> TestClient:
    app = Starlette(routes=[Route(path, tell_caller, methods=["GET", "POST", "PUT"]) for path in PATHS])
    gate = KeyGate(app, KeyFile(file).find, **{"needs_keys": True, **options})
    return TestClient(gate, base_url=base_url, client=("127.0.0.1", 50_000))


def key_of(file: Path, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_key(file, 'n', scopes).text.get_secret_value()}"}


def test_without_a_key_nothing_but_the_open_is_answered(file: Path) -> None:
    client = service(file)
    answer = client.post("/recommend", json={})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="sommelier"'
    assert answer.json() == {
        "error": "Cannot answer POST /recommend: no API key was given. Send one that `sommelier keys create` made: "
        "Authorization: Bearer <key>."
    }
    assert client.get("/livez").status_code == 200
    assert client.get("/model").json() == {"caller": "local", "reads": False}
    assert client.get("/metrics").status_code == 401
    assert client.get("/made-up").status_code == 401


@pytest.mark.parametrize(
    ("scopes", "passes"),
    [
        (["read"], {"/recommend", "/metrics"}),
        (["events"], {"/events"}),
        (["admin"], {"/recommend", "/metrics", "/events", "/v1/items/i1", "/made-up"}),
    ],
)
def test_a_key_opens_what_its_scopes_name_and_no_more(file: Path, scopes: list[str], passes: set[str]) -> None:
    client, headers = service(file), key_of(file, *scopes)
    asked = {"/recommend": "POST", "/events": "POST", "/metrics": "GET", "/v1/items/i1": "PUT", "/made-up": "GET"}
    answers = {path: client.request(method, path, headers=headers) for path, method in asked.items()}
    assert {path for path, answer in answers.items() if answer.status_code == 200} == passes
    for path in answers.keys() - passes:
        assert answers[path].status_code == 403
        assert 'error="insufficient_scope"' in answers[path].headers["www-authenticate"]
        assert "the API key lacks the scope" in answers[path].json()["error"]


def test_a_key_may_come_in_its_own_header(file: Path) -> None:
    text = key_of(file, "read")["Authorization"].removeprefix("Bearer ")
    client = service(file)
    assert client.post("/recommend", headers={"X-API-Key": text}).status_code == 200
    assert client.post("/recommend", headers={"Authorization": f"bearer  {text} "}).status_code == 200
    # Basic is no key, and the other header is then asked.
    both = {"Authorization": "Basic eDp5", "X-API-Key": text}
    assert client.post("/recommend", headers=both).status_code == 200


def test_of_a_header_that_comes_twice_the_first_counts(file: Path) -> None:
    client, valid = service(file), key_of(file, "read")["Authorization"]
    for first, status in ((valid, 200), ("Bearer made-up", 401)):
        headers = [("Authorization", first), ("Authorization", valid)]
        assert client.post("/recommend", json={}, headers=headers).status_code == status


def test_a_page_that_is_read_takes_the_key_as_a_browsers_password_and_nothing_else_does(file: Path) -> None:
    text = key_of(file, "read")["Authorization"].removeprefix("Bearer ")
    client = service(file)
    refused = client.get("/app/status")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert client.get("/app/status", auth=("anybody", text)).status_code == 200
    assert client.get("/app/status", auth=("anybody", text[:-1])).status_code == 401
    assert client.get("/app/status", headers={"Authorization": "Basic no base64"}).status_code == 401
    for method, path in (("POST", "/recommend"), ("GET", "/metrics"), ("POST", "/app/status")):
        assert client.request(method, path, auth=("anybody", text)).status_code == 401


def test_a_page_of_the_service_may_ask_the_api_with_the_browsers_password(file: Path) -> None:
    text = key_of(file, "read")["Authorization"].removeprefix("Bearer ")
    client = service(file)
    own = ({"Sec-Fetch-Site": "same-origin"}, {"Origin": LOOPBACK})
    # A page cannot write these headers. Of one elsewhere, and of what names no page, a password is none.
    others = ({"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": f"{LOOPBACK}:81"}, {})
    for headers in own:
        refused = client.get("/v1/items/i1", headers=headers)
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert client.get("/v1/items/i1", headers=headers, auth=("anybody", text)).status_code == 200
        assert client.delete("/v1/items/i1", headers=headers, auth=("anybody", text)).status_code == 403  # the scope
        assert client.get("/metrics", headers=headers, auth=("anybody", text)).status_code == 401
    for headers in others:
        assert client.get("/v1/items/i1", headers=headers, auth=("anybody", text)).status_code == 401
        assert client.delete("/v1/items/i1", headers=headers, auth=("anybody", text)).status_code in (401, 403)


def test_unknown_expired_and_revoked_keys_get_the_same_answer(file: Path) -> None:
    client = service(file)
    new = create_key(file, "n", ["read"])
    text = new.text.get_secret_value()
    assert client.post("/recommend", headers={"X-API-Key": text}).status_code == 200
    revoke_key(file, new.key.id)
    short = create_key(file, "n", ["read"], days=1e-9).text.get_secret_value()
    unknown = f"som_{'0' * 12}_{'0' * 64}"
    answers = [client.post("/recommend", headers={"X-API-Key": one}) for one in (text, short, unknown, "x")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["www-authenticate"] for answer in answers}) == 1
    assert "the API key is not valid" in answers[0].json()["error"]


def test_a_file_of_keys_that_cannot_be_read_lets_nobody_in(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    client, headers = service(file), key_of(file, "admin")
    file.write_text("{")
    answer = client.post("/recommend", headers=headers)
    assert (answer.status_code, "cannot be checked" in answer.json()["error"]) == (503, True)
    assert str(file) not in answer.text
    assert str(file) in caplog.text


def test_on_loopback_without_required_keys_everything_passes_and_a_key_is_known(file: Path) -> None:
    client = service(file, needs_keys=False)
    assert client.get("/made-up").json() == {"caller": "local", "reads": True}
    named = client.post("/recommend", headers=key_of(file, "read")).json()["caller"]
    assert named.startswith("key:")
    assert client.post("/recommend", headers={"X-API-Key": "wrong"}).status_code == 200


def test_who_comes_in_from_outside_needs_a_key_whatever_the_settings_thought(file: Path) -> None:
    client = service(file, OUTSIDE, needs_keys=False)
    assert client.post("/recommend").status_code == 401
    assert client.get("/model").json()["reads"] is False
    assert client.post("/recommend", headers=key_of(file, "read")).status_code == 200
    assert service(file, OUTSIDE, needs_keys=False, by_address=False).post("/recommend").status_code == 200


@pytest.mark.parametrize(
    ("client", "host", "needs_key"),
    [
        ("127.0.0.1", "127.0.0.1:3000", False),
        ("::1", "[::1]:3000", False),
        ("127.0.0.1", "localhost", False),
        ("9.9.9.9", "127.0.0.1:3000", True),  # a proxy named its client
        ("127.0.0.1", "shop.example", True),  # a proxy passed on its own name, or a page has that name
        ("127.0.0.1", "10.0.0.7:3000", True),
        ("127.0.0.1", "[::1", True),
    ],
)
def test_who_comes_through_a_proxy_or_by_another_name_needs_a_key(
    file: Path, client: str, host: str, needs_key: bool
) -> None:
    gate = service(file, needs_keys=False).app
    asking = TestClient(gate, base_url=LOOPBACK, client=(client, 50_000))
    assert (asking.post("/recommend", headers={"host": host}).status_code == 401) is needs_key


def test_metrics_can_be_opened(file: Path) -> None:
    assert service(file, open_metrics=True).get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://elsewhere.example"}, 200),  # behind a proxy
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}, 200),  # is named
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8010"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 200),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({}, 200),
    ],
)
def test_a_page_of_another_origin_changes_nothing_even_where_no_key_is_needed(
    file: Path, headers: dict[str, str], status: int
) -> None:
    client = service(file, needs_keys=False, origins=("https://shop.example",))
    answer = client.post("/events", content=b"{}", headers={"host": "127.0.0.1:3000", **headers})
    assert answer.status_code == status
    assert client.get("/model", headers=headers).status_code == 200
    if status == 403:
        assert "a page of another origin" in answer.json()["error"]


def test_there_are_no_web_sockets(file: Path) -> None:
    async def talk(socket: Any) -> None:
        await socket.accept()

    app = KeyGate(Starlette(routes=[WebSocketRoute("/talk", talk)]), KeyFile(file).find, needs_keys=False)
    client = TestClient(app, base_url=LOOPBACK)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk"):
        pass


def test_outside_of_a_request_nobody_may_do_anything() -> None:
    assert current_caller() == Caller()
    assert not current_caller().may("read")


LIMITED = RateSettings(read=Rate(per_s=0.01, burst=2), keyless=Rate(per_s=0.01, burst=3))


def test_a_key_that_asks_too_often_waits_and_no_other_does(file: Path) -> None:
    client, first, second = service(file, rates=LIMITED), key_of(file, "read", "events"), key_of(file, "admin")
    answers = [client.post("/recommend", headers=first) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 90 <= int(answers[2].headers["retry-after"]) <= 100
    assert answers[2].json()["error"].startswith("Cannot answer POST /recommend: too many requests. Ask again in ")
    assert client.post("/events", headers=first).status_code == 200
    assert client.post("/recommend", headers=second).status_code == 200


def test_who_has_no_key_is_limited_by_address_and_probes_are_not(file: Path) -> None:
    client = service(file, rates=LIMITED)
    assert [client.post("/recommend").status_code for _ in range(4)] == [401, 401, 401, 429]
    assert {client.get("/livez").status_code for _ in range(5)} == {200}
    assert client.post("/recommend", headers=key_of(file, "read")).status_code == 200
    trusted = service(file, needs_keys=False, rates=LIMITED)
    assert [trusted.post("/recommend").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_who_asks_too_often_is_observed_apart_from_too_many_at_once(file: Path) -> None:
    seen: list[tuple[int, bool]] = []
    gated = service(file, rates=LIMITED).app

    async def full(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({}, status_code=429)(scope, receive, send)

    for app, n in ((gated, 4), (full, 1)):
        observed = ObserveRequests(
            app, frozenset({"/recommend"}), lambda _, status, __, is_throttled: seen.append((status, is_throttled))
        )
        client = TestClient(observed, base_url=LOOPBACK)
        for _ in range(n):
            client.post("/recommend")
    assert seen == [(401, False), (401, False), (401, False), (429, True), (429, False)]


def test_nobody_is_limited_by_default(file: Path) -> None:
    client, headers = service(file), key_of(file, "read")
    assert {client.post("/recommend", headers=headers).status_code for _ in range(100)} == {200}


@pytest.mark.parametrize("path", ["/recommend", "/v1/items/i1"])
def test_an_origin_that_cannot_be_read_is_a_foreign_one(file: Path, path: str) -> None:
    origin = {"Origin": "http://["}
    assert service(file).get(path, headers=origin).status_code == 401
    answer = service(file, needs_keys=False).put(path, headers=origin)
    assert (answer.status_code, "a page of another origin" in answer.json()["error"]) == (403, True)


def test_pages_of_an_origin_that_is_named_may_ask_and_others_may_not(file: Path) -> None:
    gated = service(file, origins=("https://shop.example",)).app
    client = TestClient(CORSMiddleware(gated, **cors_options(("https://shop.example",))), base_url=LOOPBACK)
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    known = client.options("/recommend", headers={"origin": "https://shop.example", **asked})
    assert (known.status_code, known.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    unknown = client.options("/recommend", headers={"origin": "https://evil.example", **asked})
    assert (unknown.status_code, "access-control-allow-origin" in unknown.headers) == (400, False)
    answer = client.post("/recommend", headers={"origin": "https://shop.example", **key_of(file, "read")})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
