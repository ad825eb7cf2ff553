"""The page of the bundle in service, asked where an answer came from."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from types import SimpleNamespace

from core.settings.tree import Settings
from monitoring.origin import Lineage, Served
from serving.api.model import ModelInfo
from serving.api.timeline import TimelineInfo
from serving.guard.caller import Caller, set_caller
from serving.web.model import show_model


def page_of(found: Lineage) -> str:
    told = {"ready": False, "model": None, "loaded_at": None, "promoted": None, "problem": None, "capabilities": {}}
    service = SimpleNamespace(
        model_info=lambda: ModelInfo.model_validate({**told, "n_items": None, "manifest": None}),
        operations=SimpleNamespace(timeline=lambda: TimelineInfo(problem=None, entries=[]), lineage=lambda _: found),
    )
    set_caller(Caller(is_trusted=True))
    html, status = asyncio.run(show_model(service, Settings(), "r"))
    assert status == 200
    return html


def words_of(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", html).split()))


def test_of_an_answer_that_is_gone_the_page_says_what_answered_then() -> None:
    change = {"action": "promoted", "at": "2026-01-01T00:00:00+00:00", "reason": "better"}
    then = Served(model="m:v1", says="in service from 2026-01-01T00:00:00", bundle=None, promotions=[change], run=None)
    found = Lineage(
        recommendation_id="r", shown={}, shadows=[], bundle=None, promotions=[], run=None, unknown=["The list itself."],
        given_at="2026-01-02T00:00:00+00:00", served=[then],
    )  # fmt: skip
    said = words_of(page_of(found))
    assert "; the list is no longer kept answered then m:v1, in service from 2026-01-01T00:00:00; promoted" in said
    assert ": better not known The list itself." in said


def test_the_features_as_they_were_read_are_on_the_page() -> None:
    read = {"history": ["i1", "<i2>"], "n_history": 12, "mean_rating": None, "counts": {"n_events": 14, "n_carts": 2}}
    shown = {"items": ["a"], "model": "m:v", "at": "2026-01-02T00:00:00+00:00", "features": read | {"attributes": ""}}
    found = Lineage(recommendation_id="r", shown=shown, shadows=[], bundle=None, promotions=[], run=None, unknown=[])
    html = page_of(found)
    said = words_of(html)
    assert "history as read i1, <i2> n history as read 12 counts as read n_events 14, n_carts 2" in said
    assert "<i2>" not in html
    assert "mean rating" not in said
    assert "attributes as read" not in said


def test_a_record_of_before_features_were_kept_has_a_page() -> None:
    shown = {"items": ["a"], "model": "m:v", "at": "2026-01-02T00:00:00+00:00"}
    found = Lineage(recommendation_id="r", shown=shown, shadows=[], bundle=None, promotions=[], run=None, unknown=[])
    said = words_of(page_of(found))
    assert "1 items by m:v" in said
    assert "as read" not in said
