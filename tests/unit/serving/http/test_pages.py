"""Records are found, changed and removed by their ids, whatever stands in these."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from core.logs.timeline import Timeline
from serving.api.timeline import TimelineInfo
from serving.http import pages
from serving.http.pages import PAGES
from serving.http.responses import respond

IDS = ["i1", "a/b", "a\nb", "a\n", "\na", "a/\n/b", " a ", "é", "..b", "a?b#c"]


class Said(BaseModel):
    what: str
    id: str


class Desk:
    """Says what it was asked to change."""

    def __getattr__(self, name: str) -> Any:
        return lambda id_, *_: Said(what=name, id=id_)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    service = SimpleNamespace(
        item_record=lambda id_: Said(what="item_record", id=id_),
        user_record=lambda id_: Said(what="user_record", id=id_),
        keep_change=lambda change: respond(change(Desk(), None)),
    )
    for module in ("pages", "changes"):
        monkeypatch.setattr(f"serving.http.{module}.bentoml.get_current_service", lambda: service)
    return TestClient(PAGES)


@pytest.mark.parametrize("id_", IDS)
@pytest.mark.parametrize(
    ("method", "folder", "what"),
    [
        ("GET", "items", "item_record"),
        ("GET", "users", "user_record"),
        ("PATCH", "items", "change_item"),
        ("PATCH", "users", "change_user"),
        ("DELETE", "items", "delete_item"),
        ("DELETE", "users", "forget_user"),
    ],
)
def test_an_id_is_all_that_is_left_of_the_path(
    client: TestClient, method: str, folder: str, what: str, id_: str
) -> None:
    body = {"json": {"attributes": {"colour": "red"}}} if method == "PATCH" else {}
    found = client.request(method, f"/v1/{folder}/{quote(id_, safe='')}", **body)
    assert (found.status_code, found.json()) == (200, {"what": what, "id": id_})


def test_the_description_is_made_once_and_not_on_the_loop(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made_on_loop: list[bool] = []

    def describe() -> dict[str, str]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            made_on_loop.append(False)
        else:
            made_on_loop.append(True)
        return {"openapi": "é"}

    monkeypatch.setattr("serving.http.pages.describe_api", describe)
    pages._description.cache_clear()
    try:
        for _ in range(3):
            found = client.get("/docs.json")
            assert (found.json(), found.headers["content-type"]) == ({"openapi": "é"}, "application/json")
    finally:
        pages._description.cache_clear()
    assert made_on_loop == [False]


@pytest.mark.parametrize(("before", "status"), [(2**63 - 1, 200), (2**63, 400), (10**30, 400)])
def test_an_entry_of_the_time_line_has_an_id_that_sqlite_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: int, status: int
) -> None:
    timeline = Timeline(tmp_path / "timeline.sqlite")
    timeline.add("alarm", "x", "on", "It rains.")
    operations = SimpleNamespace(
        timeline=lambda asked: TimelineInfo(problem=None, entries=timeline.read(before=asked.before))
    )
    monkeypatch.setattr(
        "serving.http.pages.bentoml.get_current_service", lambda: SimpleNamespace(operations=operations)
    )
    found = TestClient(PAGES).get("/v1/timeline", params={"before": before})
    assert found.status_code == status
    assert status == 200 or found.json()["error"].endswith(f"input should be less than or equal to {2**63 - 1}.")
