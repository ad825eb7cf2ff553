"""The service as others than its own machine meet it: keys, scopes, what is left in logs and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.keys import create_key, revoke_key
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import ITEMS, TinyShop, build_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return build_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def running(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "guarded", require_keys="always") as started:
        assert started.client.get("/readyz").json() == {"error": "Not ready: ask /v1/model with a key for more."}
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
    assert list(refused.json()) == ["error"]
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
