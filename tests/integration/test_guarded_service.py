"""The service as others than its own machine meet it: keys, scopes, limits, what is left in logs and files."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.keys import create_key, revoke_key
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import ITEMS, TinyShop, copy_shop


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def running(shop: TinyShop) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOMMELIER_LOGS__FORMAT", "json")
        yield from run(shop)


def run(shop: TinyShop) -> Iterator[Running]:
    limits = {
        "body_s": 1.0,
        "header_s": 1.0,
        "max_body_bytes": 20_000_000,
        "rates": {"admin": {"per_s": 0.01, "burst": 3}},
    }
    with start_service(shop, "guarded", require_keys="always", **limits) as started:
        assert started.client.get("/readyz").json()["error"] == "Not ready: ask /v1/model with a key for more."
        started.put_in_service(shop.whole)
        yield started


def make(running: Running, *scopes: str) -> tuple[str, dict[str, str]]:
    new = create_key(running.shop.layout.api_keys, "a test", scopes)
    return new.key.id, {"Authorization": f"Bearer {new.text.get_secret_value()}"}


def ask(running: Running, headers: dict[str, str], path: str = "/recommend") -> httpx.Response:
    body = {"k": 3} if path == "/recommend" else {"events": [{"user_id": "u1", "item_id": ITEMS[0], "event": "view"}]}
    return running.client.post(path, json=body, headers=headers)


def test_a_key_counts_from_the_request_after_it_was_made_to_the_one_before_it_was_revoked(running: Running) -> None:
    assert ask(running, {}).status_code == 401
    key_id, headers = make(running, "read")
    assert ask(running, headers).status_code == 200
    assert ask(running, headers, "/events").status_code == 403
    revoke_key(running.shop.layout.api_keys, key_id)
    refused = ask(running, headers)
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/json")
    assert refused.headers["www-authenticate"] == 'Bearer realm="sommelier", error="invalid_token"'
    assert list(refused.json()) == ["error", "request_id"]
    assert ask(running, make(running, "events")[1], "/events").status_code == 200


def test_the_bundle_is_told_whole_to_readers_and_by_its_name_to_everybody(running: Running) -> None:
    public, whole = running.model(), running.client.get("/model", headers=make(running, "read")[1]).json()
    assert public == {"ready": True, "model": whole["model"]}
    assert whole["manifest"]["metrics"] == {"ndcg_at_10": 0.5}
    assert running.client.get("/model", headers=make(running, "events")[1]).json() == public


def test_what_needs_no_key_and_what_bentoml_serves_beside_it(running: Running) -> None:
    opened = ("/", "/docs.json", "/livez", "/readyz", "/static_content/swagger-ui.css", "/model")
    assert {path: running.client.get(path).status_code for path in opened} == dict.fromkeys(opened, 200)
    for path in ("/metrics", "/schema.json", "/healthz", "/docs", "/nowhere"):
        assert running.client.get(path).status_code == 401, path
    assert running.client.get("/metrics", headers=make(running, "read")[1]).status_code == 200
    assert running.client.get("/healthz", headers=make(running, "read")[1]).status_code == 403
    assert running.client.get("/nowhere", headers=make(running, "admin")[1]).status_code == 404


def test_what_no_data_gate_has_masked_is_read_with_the_scope_admin_alone(running: Running) -> None:
    admin, reader = make(running, "admin", "read")[1], make(running, "read")[1]
    for path in ("/v1/users/u-new", f"/v1/items/{ITEMS[0]}"):
        patch = {"attributes": {"contact": "ann@example.com"}}
        assert running.client.patch(path, json=patch, headers=admin).status_code == 200
        assert running.client.get(path, headers=admin).json()["said"]["attributes"] == patch["attributes"]
        found = running.client.get(path, headers=reader)
        assert found.status_code == 200
        assert found.json()["said"] is None
        assert found.json()["changed_at"] is not None
        assert "ann@example.com" not in found.text


def test_no_key_is_left_in_a_log_or_a_file(running: Running) -> None:
    _, headers = make(running, "read")
    secret = headers["Authorization"].rpartition("_")[2]
    for path in ("/recommend", "/events", "/nowhere"):
        ask(running, headers, path)
    wrong = {"Authorization": headers["Authorization"][:-1] + "g"}
    assert ask(running, wrong).status_code == 401
    work_dir: Path = running.shop.layout.work_dir
    files = [file for file in work_dir.rglob("*") if file.is_file()]
    assert running.log in files
    assert not [file for file in files if secret[:-1].encode() in file.read_bytes()]


def test_every_line_of_the_log_is_json_and_those_of_a_request_name_it(running: Running) -> None:
    _, headers = make(running, "read")
    keys = running.shop.layout.api_keys
    kept = keys.read_bytes()
    try:
        keys.write_text("no keys")
        words = {"user_id": "someone@example.org"}
        refused = running.client.post(
            "/v1/recommend?about=private", json=words, headers={**headers, "x-request-id": "q-7"}
        )
        assert (refused.status_code, refused.json()["request_id"]) == (503, "q-7")
    finally:
        keys.write_bytes(kept)
    said = running.log.read_text()
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines
    for line in lines:
        assert [*line][:4] == ["time", "level", "logger", "message"], line
    assert {"bentoml.serve", "serving.guard.gate"} <= {line["logger"] for line in lines}
    (own,) = [line for line in lines if line.get("request_id") == "q-7"]
    assert (own["level"], own["message"]) == ("ERROR", "API keys cannot be checked")
    assert "KeyFileError" in own["exception"]
    for private in ("private", "someone@example.org"):
        assert private not in said


BODIES = {
    "nested 10,000 deep": (b"[" * 10_000, "it is nested 10000 deep, expected at most 64"),
    "objects 10,000 deep": (b'{"k":' * 10_000, "it is nested 10000 deep"),
    "a million keys": (b"{" + b",".join(b'"k%d":1' % n for n in range(1_000_000)) + b"}", "it has 1000000 values"),
    "a number beyond all": (b'{"max_price": 1e999}', "max_price=Infinity, input should be a finite number"),
    "no number": (b'{"max_price": NaN}', "max_price=NaN"),
    "five thousand digits": (b'{"k": ' + b"9" * 5000 + b"}", "the body is not JSON (number out of range"),
    "half a character": (b'{"user_id": "\\ud800"}', "the body is not JSON"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_made_to_do_harm_is_refused_at_once(running: Running, name: str) -> None:
    body, said = BODIES[name]
    headers = {"content-type": "application/json", **make(running, "read")[1]}
    started = time.monotonic()
    answer = running.client.post("/v1/recommend", content=body, headers=headers)
    assert time.monotonic() - started < 5
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_of_a_name_that_comes_twice_the_last_counts(running: Running) -> None:
    headers = {"content-type": "application/json", **make(running, "read")[1]}
    answer = running.client.post("/v1/recommend", content=b'{"k": 1, "k": 2}', headers=headers)
    assert len(answer.json()["items"]) == 2


@pytest.mark.parametrize(
    ("head", "drops"),
    [
        (b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\nx-api-key: %s\r\n\r\n", b" "),
        (b"POST /v1/recommend HTTP/1.1\r\nx-api-key: %s\r\n", b"x: y\r\n"),
    ],
    ids=["the body", "the headers"],
)
def test_a_client_that_drips_is_ended(running: Running, head: bytes, drops: bytes) -> None:
    key = make(running, "read")[1]["Authorization"].removeprefix("Bearer ").encode()
    url = running.client.base_url
    with socket.create_connection((url.host, int(url.port or 0)), timeout=10) as client:
        client.sendall(head % key)
        client.settimeout(0.2)
        came, until = b"", time.monotonic() + 10
        while not came and time.monotonic() < until:
            client.sendall(drops)
            with contextlib.suppress(TimeoutError):
                came = client.recv(1000)
    assert came.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert running.client.get("/livez").status_code == 200


def test_a_key_that_asks_too_often_is_told_when_to_come_again(running: Running) -> None:
    headers = make(running, "admin")[1]
    answers = [running.client.get("/nowhere", headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert int(answers[3].headers["retry-after"]) > 60
    assert list(answers[3].json()) == ["error", "request_id"]


def test_browsers_are_told_to_keep_pages_of_others_away(running: Running) -> None:
    page, answer = running.client.get("/"), ask(running, make(running, "read")[1])
    assert "script-src 'self' 'sha256-" in page.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    elsewhere = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in running.client.options("/v1/recommend", headers=elsewhere).headers
    refused = ask(running, {**make(running, "read")[1], "origin": "https://evil.example"})
    assert (refused.status_code, "another origin" in refused.json()["error"]) == (403, True)
