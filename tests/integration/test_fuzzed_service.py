"""Requests made up from the OpenAPI document, and of anything at all: no failure, and nothing told of the inside."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from core.keys import create_key
from serving.api.openapi import describe_api
from tests.contract.documents import ROOT
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import TinyShop, copy_shop

pytestmark = pytest.mark.long

DOCUMENT = describe_api()
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]
# What a document may promise to fail with: a part that a bundle lacks, and a store that is away.
PROMISED = {501, 503}
INSIDE = re.compile(r"Traceback|site-packages|\.py\b|line \d+, in |0x[0-9a-f]{8}")
ANYTHING = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]
FEW, MANY = 400, 10_000


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def running(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "fuzzed", require_keys="always", timeout_s=60.0, max_body_bytes=1_000_000) as started:
        started.put_in_service(shop.whole)
        key = create_key(shop.layout.api_keys, "a fuzzer", ["admin"]).text.get_secret_value()
        started.client.headers["authorization"] = f"Bearer {key}"
        yield started


def check(running: Running, status: int, text: str, content_type: str, documented: set[int]) -> None:
    """No failure but those that are promised; every error is one sentence that says nothing of the inside."""
    assert status < 500 or status in PROMISED & documented, text
    if status >= 400:
        assert content_type == "application/json", text
        assert re.fullmatch(r'\{"error": ?".*","request_id":"[A-Za-z0-9._-]+"\}', text, flags=re.DOTALL), text
    for inside in (str(running.shop.layout.work_dir), str(ROOT)):
        assert inside not in text
    assert not INSIDE.search(text) or status < 400, text


def send_cases(running: Running, n_requests: int, **how: Any) -> Counter[int]:
    """So many requests over all operations, of those that fit the document and those that do not; answers by status."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    seen: Counter[int] = Counter()
    rounds = [
        (path, method, mode)
        for path, method in OPERATIONS
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if mode == GenerationMode.POSITIVE or "requestBody" in DOCUMENT["paths"][path][method]
    ]
    for path, method, mode in rounds:
        cases = schema[path][method.upper()].as_strategy(generation_mode=mode)
        seen += send(running, cases, max(n_requests // len(rounds), 1), **how)
    return seen


def send(running: Running, cases: Any, n_requests: int, **how: Any) -> Counter[int]:
    """So many requests of one operation."""
    headers, seen = dict(running.client.headers), Counter[int]()

    @settings(max_examples=n_requests, deadline=None, database=None, suppress_health_check=ANYTHING, **how)
    @given(case=cases)
    def ask(case: Any) -> None:
        answer = case.call(base_url=str(running.client.base_url), headers=headers, timeout=90)
        seen[answer.status_code] += 1
        operation = DOCUMENT["paths"][case.operation.path][case.operation.method.lower()]
        documented = {int(status) for status in operation["responses"]}
        check(running, answer.status_code, answer.text, answer.headers.get("content-type", [""])[0], documented)

    ask()
    return seen


def send_anything(running: Running, n_requests: int, **how: Any) -> Counter[int]:
    """So many requests whose method, path, headers and body are anything that HTTP can carry."""
    seen: Counter[int] = Counter()
    known = st.sampled_from([path for path, _ in OPERATIONS])
    paths = known | st.text(max_size=50).map(lambda text: f"/{quote(text, errors='surrogatepass')}")
    plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
    bodies = st.binary(max_size=500) | values.map(json_bytes)

    @settings(max_examples=n_requests, deadline=None, database=None, suppress_health_check=ANYTHING, **how)
    @given(
        method=st.sampled_from(["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]),
        path=paths,
        query=st.dictionaries(plain, plain, max_size=3),
        headers=st.dictionaries(
            st.sampled_from(["x-a", "accept", "content-type", "origin", "x-api-key", "cookie"]), plain
        ),
        body=bodies,
    )
    def ask(method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> None:
        answer = running.client.request(method, path, params=query, headers=headers, content=body)
        seen[answer.status_code] += 1
        if method != "HEAD":
            check(running, answer.status_code, answer.text, answer.headers.get("content-type", ""), {501, 503})

    ask()
    return seen


def json_bytes(value: Any) -> bytes:
    """As JSON, with what JSON has no word for too."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def test_hundreds_of_made_up_requests_meet_no_failure(running: Running) -> None:
    seen = send_cases(running, FEW, derandomize=True)
    assert sum(seen.values()) >= FEW // 2
    assert seen[200] >= 10
    assert seen[400] >= 20


def test_hundreds_of_requests_of_anything_meet_no_failure(running: Running) -> None:
    seen = send_anything(running, FEW, derandomize=True)
    assert seen.keys() >= {400, 404, 405}


def test_it_has_answered_all_of_that_and_said_nothing_of_failures_in_its_log(running: Running) -> None:
    assert running.client.get("/readyz").status_code == 200
    assert "Traceback" not in running.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_made_up_requests_meet_no_failure(running: Running) -> None:
    seen = send_cases(running, MANY * 9 // 10)
    # Of a request without parameters there is one example: the rest is made up of anything.
    seen += send_anything(running, max(MANY - sum(seen.values()), MANY // 10))
    assert sum(seen.values()) >= MANY
    assert "Traceback" not in running.log.read_text()
