"""What led to a promotion can be opened: its evaluation, its run, the drift that it is for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from core.logs.timeline import PAGE, Entry, Timeline
from core.settings.platform import PlatformSettings
from core.settings.tree import Settings
from serving.web import model
from serving.web.answers import Answer
from serving.web.links import links_along, links_of

PLACES = PlatformSettings(prefect_page="https://shop.example/prefect", reports_page="https://shop.example/reports")


def story(tmp_path: Any) -> list[Entry]:
    line = Timeline(tmp_path / "timeline.sqlite")
    alarm = line.add("alarm", "data.price", "on", "It moved.", details={PAGE: "v1/drift/look.html"})
    decision = line.add("decision", "fine-tune", "wanted", "Enough is new.", cause=alarm.id)
    run = line.add("run", "fine-tune", "completed", "It ran.", cause=decision.id, details={"flow_run_id": "01-ab"})
    gate = line.add(
        "gate", "digest", "promoted", "It is better.", cause=run.id, details={PAGE: "v1/evaluation/digest.html"}
    )
    line.add("promotion", "sommelier-shop:7", "done", "It serves.", cause=gate.id)
    return line.read()


def test_all_that_led_to_an_entry_is_linked_in_order(tmp_path: Any) -> None:
    entries = story(tmp_path)
    assert links_along(entries[-1], {one.id: one for one in entries}, PLACES) == [
        ("Evaluation report", "https://shop.example/reports/v1/evaluation/digest.html"),
        ("Flow run in Prefect", "https://shop.example/prefect/runs/flow-run/01-ab"),
        ("Drift report", "https://shop.example/reports/v1/drift/look.html"),
    ]
    assert links_along(entries[-1], {entries[-1].id: entries[-1]}, PLACES) == [], "what led to it is not known"


def test_nothing_is_linked_of_which_settings_do_not_say_where_it_is(tmp_path: Any) -> None:
    assert [links_of(one, PlatformSettings()) for one in story(tmp_path)] == [[]] * 5


def test_the_page_of_the_model_links_what_was_decided_and_where_an_answer_came_from(
    tmp_path: Any, monkeypatch: Any
) -> None:
    entries = story(tmp_path)
    info = {"model": "sommelier-shop:7", "problem": None, "manifest": None, "capabilities": {}}
    shown = {"items": [], "model": "sommelier-shop:7", "at": "2026-03-01T00:00:00+00:00"}
    gate = entries[3].model_dump(mode="json")
    bodies = {
        "model": info,
        "timeline": {"entries": [one.model_dump(mode="json") for one in entries]},
        "lineage": {"shown": shown, "bundle": None, "promotions": [], "unknown": [], "run": gate},
    }

    async def read(asked: str, *_: Any) -> Answer:
        return Answer(bodies[asked], "", 200)

    monkeypatch.setattr(model, "read", read)
    monkeypatch.setattr(model, "current_caller", lambda: SimpleNamespace(may=lambda _: True))
    service = SimpleNamespace(model_info="model", operations=SimpleNamespace(timeline="timeline", lineage="lineage"))
    html, status = asyncio.run(model.show_model(service, Settings(shop="shop", platform=PLACES), "an-answer"))
    assert status == 200
    before, _, after = html.partition("led to by")
    for part in (before, after):
        assert '<a href="https://shop.example/reports/v1/evaluation/digest.html">Evaluation report</a>' in part
        assert '<a href="https://shop.example/prefect/runs/flow-run/01-ab">Flow run in Prefect</a>' in part
        assert '<a href="https://shop.example/reports/v1/drift/look.html">Drift report</a>' in part
