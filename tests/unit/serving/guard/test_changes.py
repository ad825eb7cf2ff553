"""Requests that change something are on record before they begin, and their outcome before the answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from core.keys import KeyFile, create_key
from core.logs.audit import read_acts
from serving.guard.changes import AuditRequests
from serving.guard.gate import KeyGate

CHANGING = ["PUT", "POST", "DELETE"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def client(file: Path) -> TestClient:
    async def answer(request: Request) -> Response:
        if request.method == "DELETE":
            raise HTTPException(404, "no such thing")
        return JSONResponse([act.outcome for act in read_acts(file)])

    async def fail(_: Request) -> Response:
        raise RuntimeError("u1 is secret")

    routes = [
        Route(path, answer, methods=["GET", *CHANGING]) for path in ("/v1/items/{i}", "/v1/users/{i}", "/v1/events")
    ]
    looks = (
        "/v1/lineage/{i}",
        "/v1/quarantine",
        "/v1/audit",
        "/app/audit",
        "/app/model",
        "/app/quarantine",
        "/app/status",
    )
    routes += [Route(path, answer) for path in (*looks, "/app/audit")]
    inner = Starlette(routes=[*routes, Route("/v1/experiments", fail, methods=CHANGING)])
    app = AuditRequests(inner, file, file.with_name("audit_reads.jsonl"))
    gate = KeyGate(app, KeyFile(file.with_name("keys.json")).find, needs_keys=True)
    key = create_key(file.with_name("keys.json"), "n", ["admin"]).text.get_secret_value()
    return TestClient(gate, base_url="http://127.0.0.1:3000", headers={"X-API-Key": key}, raise_server_exceptions=False)


def test_a_change_is_on_record_before_it_begins_and_its_outcome_after(client: TestClient, file: Path) -> None:
    assert client.put("/v1/items/i7").json() == ["begun"]
    assert client.delete("/v1/items/i8").status_code == 404
    assert client.post("/v1/experiments").status_code == 500
    acts = read_acts(file)
    assert [(act.what, act.outcome) for act in acts] == [
        ("PUT /v1/items/i7", "status 200"),
        ("DELETE /v1/items/i8", "status 404"),
        ("POST /v1/experiments", "status 500"),
    ]
    assert {act.who[:4] for act in acts} == {"key:"}
    assert len({act.who for act in acts}) == 1


def test_no_record_has_the_id_of_a_user(client: TestClient, file: Path) -> None:
    assert client.put("/v1/users/ann-7").status_code == 200
    assert read_acts(file)[0].what == "PUT /users/*"
    assert "ann-7" not in file.read_text()


def test_what_only_asks_or_sends_events_is_not_recorded(client: TestClient, file: Path) -> None:
    client.get("/v1/items/i7")
    client.post("/v1/events")
    client.post("/nowhere")
    assert not file.exists()


def test_who_is_refused_leaves_no_record(client: TestClient, file: Path) -> None:
    assert client.put("/v1/items/i7", headers={"X-API-Key": "x"}).status_code == 401
    assert not file.exists()


def test_where_nothing_can_be_recorded_nothing_is_changed(client: TestClient, file: Path) -> None:
    file.mkdir()
    answer = client.put("/v1/items/i7")
    assert answer.status_code == 503
    assert str(file) not in answer.text


ANSWER = "019b76da-a800-7000-8000-000000000000"


@pytest.fixture
def reads(file: Path) -> Path:
    return file.with_name("audit_reads.jsonl")


def test_who_looks_at_what_is_of_people_is_on_record_apart_from_changes(
    client: TestClient, file: Path, reads: Path
) -> None:
    client.get(f"/v1/lineage/{ANSWER}")
    client.get("/v1/quarantine?table=users&rule=id_present&limit=5")
    client.get(f"/app/model?recommendation_id={ANSWER}")
    client.get("/app/quarantine")
    client.get("/v1/audit?of=reads")
    assert [(act.what, act.details, act.outcome) for act in read_acts(reads)] == [
        (f"GET /v1/lineage/{ANSWER}", {}, "status 200"),
        ("GET /v1/quarantine", {"table": "users", "rule": "id_present", "limit": "5"}, "status 200"),
        ("GET /app/model", {"recommendation_id": ANSWER}, "status 200"),
        ("GET /app/quarantine", {}, "status 200"),
        ("GET /v1/audit", {"of": "reads"}, "status 200"),
    ]
    assert {act.who[:4] for act in read_acts(reads)} == {"key:"}
    assert not file.exists()


def test_who_polls_the_audit_log_drives_no_other_look_out_of_it(
    client: TestClient, reads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [5.0]
    monkeypatch.setattr("serving.guard.changes.time", SimpleNamespace(monotonic=lambda: now[0]))
    other = create_key(reads.with_name("keys.json"), "n", ["admin"]).text.get_secret_value()
    reads.mkdir()
    assert [client.get("/v1/audit").status_code for _ in range(2)] == [503, 503]
    reads.rmdir()
    for moment in (5.0, 6.0, 64.0, 66.0):
        now[0] = moment
        assert client.get("/v1/audit").status_code == 200
        client.get("/app/audit?of=reads")
        client.get(f"/v1/lineage/{ANSWER}")
    client.get("/v1/audit", headers={"X-API-Key": other})
    acts = read_acts(reads)
    looks = [act for act in acts if "audit" in act.what]
    assert [act.what for act in looks] == ["GET /v1/audit"] * 3
    assert [act.who == acts[0].who for act in looks] == [True, True, False]
    assert len(acts) == 3 + 4


def test_what_tells_nothing_of_people_or_is_not_told_is_not_recorded(client: TestClient, reads: Path) -> None:
    key = create_key(reads.with_name("keys.json"), "n", ["read"]).text.get_secret_value()
    for path in ("/v1/items/i7", "/app/model", "/app/model?recommendation_id=", "/app/status"):
        client.get(path)
    client.get("/v1/quarantine", headers={"X-API-Key": key})  # counts alone
    assert client.get(f"/v1/lineage/{ANSWER}", headers={"X-API-Key": key}).status_code == 403
    assert not reads.exists()


def test_what_a_look_asks_for_is_recorded_without_what_may_be_of_a_person(client: TestClient, reads: Path) -> None:
    client.get("/v1/lineage/ann-7")
    client.get("/app/model?recommendation_id=ann-7&name=ann-7")
    client.get("/v1/quarantine?rule=ann 7")
    acts = read_acts(reads)
    assert [(act.what, act.details) for act in acts] == [
        ("GET /lineage/*", {}),
        ("GET /app/model", {"recommendation_id": "*"}),
        ("GET /v1/quarantine", {"rule": "*"}),
    ]
    assert "ann" not in reads.read_text()


def test_where_a_look_cannot_be_recorded_nothing_is_shown(client: TestClient, file: Path, reads: Path) -> None:
    reads.mkdir()
    answer = client.get(f"/v1/lineage/{ANSWER}")
    assert answer.status_code == 503
    assert "nothing is shown without it" in answer.text
    assert client.put("/v1/items/i7").status_code == 200
