"""Pages of what is refused: each says why, in the sentence of the API, and keeps the ways out of it."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse

from core.settings.tree import Settings
from serving.api.experiments import ExperimentsInfo
from serving.api.model import ModelInfo
from serving.api.timeline import AuditInfo, TimelineInfo
from serving.events.terms import PLAIN_TERMS
from serving.guard.caller import Caller, set_caller
from serving.http.responses import refuse
from serving.web.audit import show_audit
from serving.web.compare import show_compare
from serving.web.explore import show_explore, show_item
from serving.web.front import show_front
from serving.web.model import show_experiments, show_model
from serving.web.quarantine import show_quarantine
from serving.web.view import View

SETTINGS = Settings()
WHY = "Not ready: nothing was <promoted> yet."
STATUSES = (400, 404, 501, 503)


class Refusing:
    """The service as pages ask it; whatever may be refused is."""

    def __init__(self, status: int) -> None:
        async def refuse_request(_: Any) -> Any:
            return refuse(status, WHY)

        def refuse_record(*_: Any, **__: Any) -> Any:
            return refuse(status, WHY)

        self.event_terms, self.capabilities = PLAIN_TERMS, {"feedback": True, "reasons": True}
        asked = SimpleNamespace(local=refuse_request)
        self.recommend = self.search = self.popular = self.similar = self.score = self.feedback = asked
        self.user_record = self.item_record = refuse_record
        self.operations = SimpleNamespace(
            timeline=lambda *_: TimelineInfo(problem=WHY, entries=[]),
            audit=lambda *_: AuditInfo(problem=WHY, acts=[], next=None),
            lineage=refuse_record,
            quarantine=refuse_record,
        )

    def model_info(self) -> ModelInfo:
        return ModelInfo(
            ready=False,
            model=None,
            loaded_at=None,
            promoted=None,
            problem=WHY,
            capabilities={},
            n_items=None,
            manifest=None,
        )

    def experiments_info(self) -> ExperimentsInfo:
        return ExperimentsInfo(problem=WHY, pinned=None, experiments=[])


@pytest.fixture(autouse=True)
def trusted() -> None:
    set_caller(Caller(is_trusted=True))


def shown(page: Any) -> tuple[str, int]:
    """The words of a page, and its status."""
    found = asyncio.run(page)
    html, status = found if isinstance(found, tuple) else (found, 200)
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", html).split())), status


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "address",
    ["", "user_id=u1", "query=tea", "user_id=u1&query=tea&pin=i1", "history=i1&history=i2&boost_category=tea"],
)
def test_a_list_that_is_refused_says_why_and_keeps_what_takes_its_rules_back(status: int, address: str) -> None:
    view = View.of(QueryParams(address))
    words, told = shown(show_explore(Refusing(status), SETTINGS, view))
    assert told == status
    assert WHY in words
    assert ("Rules of this list" in words) is bool(view.shown_rules)


@pytest.mark.parametrize("status", STATUSES)
def test_every_other_page_says_why_too(status: int) -> None:
    service = Refusing(status)
    view = View(user_id="u1")
    pages = [
        show_front(service, SETTINGS),
        show_item(service, SETTINGS, view, "i1"),
        show_compare(service, SETTINGS, view, "blend", "popular"),
        show_model(service, SETTINGS, "an-answer"),
        show_experiments(service, SETTINGS),
        show_quarantine(service, SETTINGS, {"table": "items"}),
        show_audit(service, SETTINGS, ""),
    ]
    for page in pages:
        assert WHY in shown(page)[0]


@pytest.mark.parametrize("refused", ["score", "feedback", "similar"])
def test_an_item_is_shown_without_what_is_refused(refused: str) -> None:
    service = Refusing(501)
    record = {"item_id": "i1", "label": "Tea", "category": None, "brand": None, "price": None, "text": "Green."}
    found = {
        "score": {"items": [{"p_like": 0.5, "rating": 3.0}], "cold_start": False},
        "feedback": {"text": "It is tea.", "facts": []},
        "similar": {"items": []},
    }

    def answering(body: dict[str, Any]) -> Any:
        async def answer(_: Any) -> Any:
            return JSONResponse(body)

        return SimpleNamespace(local=answer)

    service.item_record = lambda _: JSONResponse({**record, "now": {}, "attributes": {}, "state": "available"})
    for name in {*found} - {refused}:
        setattr(service, name, answering(found[name]))
    words, status = shown(show_item(service, SETTINGS, View(user_id="u1"), "i1"))
    assert status == 200
    assert WHY in words
    assert "What the model reads of it Green." in words


def test_an_item_that_no_list_holds_is_shown_with_the_reason() -> None:
    service = Refusing(501)
    record = {"item_id": "i1", "label": "Tea", "category": None, "brand": None, "price": None, "text": "Green."}
    said = {"state": "deleted", "said": None, "changed_at": "2026-03-01T12:00:00+00:00"}
    service.item_record = lambda _: JSONResponse({**record, **said, "now": {}, "attributes": {}})
    words, _ = shown(show_item(service, SETTINGS, View(), "i1"))
    assert "It was deleted: no list holds it. Said 2026-03-01T12:00:00+00:00." in words
