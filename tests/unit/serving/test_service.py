"""What the service does when something that it depends on is not there."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from core.logs.events import EventLog, EventLogError
from core.settings.platform import OnlineReadSettings
from core.tombstones import TombstoneFile, bury, nobody
from features.errors import StoreNotReady
from recommender.fitting.finiteness import finite_scores
from serving import beginning, service
from serving.api.events import EventsRequest
from serving.api.lists import SearchRequest
from serving.api.recommend import Recommendations, RecommendRequest
from serving.api.score import Score, ScoreRequest, Scores
from serving.batching import Batcher
from serving.beginning import EngineMaker, Settling, settle_memory
from serving.errors import ServiceMisconfigured
from serving.events.intake import EventIntake
from serving.guard.caller import Caller, set_caller
from serving.online.shop_store import ShopStore
from serving.processes.chores import Chores
from serving.processes.seats import PARENT, orphaned
from serving.watcher import Promoted, Watcher
from tests.unit.serving.processes.slow_loads import loads_at_once
from tests.unit.serving.writing.slow_writer import wait_for

INNER: Any = service.Sommelier.inner  # type: ignore[attr-defined]  # what the decorator wraps
EVENT = EventsRequest.model_validate({"events": [{"user_id": "u", "item_id": "i", "event": "view"}]})


TAG = "sommelier-tiny:v1"


@pytest.fixture
def shell() -> Any:
    """The service without its parts: nothing is opened and no thread runs."""
    made = object.__new__(INNER)
    made._experiments = SimpleNamespace(follow=lambda _: None, problems=lambda: [], engines=[])
    made._changes = SimpleNamespace(follow=lambda *_: None)
    made._chores = Chores()
    made._loader = loads_at_once()
    made._memory = Settling(lambda: False)
    return made


def answered(shell: Any, *asked: Any) -> Any:
    """What an endpoint that is answered in the computing thread answers."""
    shell._batcher = Batcher(4)
    try:
        return asyncio.run(shell._answer_together(*asked))
    finally:
        shell._batcher.close()


def watch(shell: Any, **more: Any) -> None:
    """Have a service follow a store; its bundles are loaded in the calling thread."""
    changes: Any = SimpleNamespace(bring_up=lambda _: None, look=lambda: None)
    maker = EngineMaker(service._LAYOUT, service.SETTINGS, shell._store, changes, shell._in_service)
    shell._watcher = Watcher(load=maker.make, poll_s=1.0, on_swap=shell._after_swap, loader=loads_at_once(), **more)


@pytest.fixture
def memory() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)


def test_without_a_model_store_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", "")
    with pytest.raises(ServiceMisconfigured, match=r"Cannot start the service: BENTOML_HOME='', expected the folder"):
        INNER()


def test_an_online_store_that_is_away_is_a_503_and_is_logged(shell: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object, requests: object) -> list[Recommendations | Exception]:
        return [StoreNotReady("Cannot open", got="folder=x", expected="a store", do="Refresh the features")]

    shell._watcher = SimpleNamespace(loaded=SimpleNamespace(value=None, model=TAG), problem=None)
    with caplog.at_level(logging.ERROR):
        answer = answered(shell, RecommendRequest(), "/v1/recommend", fail)
    assert answer.status_code == 503
    assert json.loads(answer.body) == {
        "error": "Cannot answer for a known user: the online store cannot be read. Try again later."
    }
    assert "Cannot open: folder=x" in caplog.text


def test_answers_are_counted_and_not_those_that_are_only_looked_at(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[str, Any]] = []
    monkeypatch.setattr(service, "_metrics", lambda: SimpleNamespace(gave=lambda *given: counted.append(given)))
    shell._watcher = SimpleNamespace(loaded=SimpleNamespace(value=None, model=TAG), problem=None)
    found = Recommendations(model="m:1", user_id="u", cold_start=True, reason="unknown user", items=[])
    looked_at = (
        RecommendRequest(preview=True),
        RecommendRequest(variant="champion"),
        SearchRequest(query="tea", preview=True),
    )
    for request in (*looked_at, RecommendRequest(), ScoreRequest(item_ids=["i"])):
        assert answered(shell, request, "/v1/recommend", lambda *_: [found]).status_code == 200
    assert counted == [("/v1/recommend", found)] * 2


def test_scores_that_are_no_numbers_are_a_500_that_names_the_part(shell: Any, caplog: pytest.LogCaptureFixture) -> None:
    def score(_: object, requests: object) -> list[Scores]:
        finite_scores("pair scorer", np.array([0.5, np.nan]))
        raise AssertionError

    shell._watcher = SimpleNamespace(loaded=SimpleNamespace(value=None, model=TAG), problem=None)
    answer = answered(shell, ScoreRequest(item_ids=["i"]), "/v1/score", score)
    assert answer.status_code == 500
    assert json.loads(answer.body)["error"].startswith("Cannot use scores of pair scorer: scores=nan in 1 of 2 places")
    assert "pair scorer" in caplog.text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_answer_can_hold_a_number_that_is_none(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Score(item_id="i", p_like=value, rating=3.0, median_rating=3.0)


def test_events_that_cannot_be_kept_are_a_503(shell: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise EventLogError("Cannot write the event log", got="path=x", expected="space", do="Make room")

    shell._watcher = SimpleNamespace(loaded=None, problem=None)
    shell._is_forgotten = nobody
    shell._intake = SimpleNamespace(accept=fail)
    answer = shell._take_in(EVENT)
    assert answer.status_code == 503
    assert "the event log cannot be written" in json.loads(answer.body)["error"]
    assert "path=x" in caplog.text


@pytest.mark.parametrize("when", ["before", "while it is written"])
def test_events_of_a_user_who_is_forgotten_are_refused(shell: Any, tmp_path: Path, when: str) -> None:
    forgotten = TombstoneFile(tmp_path / "forgotten.json")
    log = EventLog(tmp_path / "events.sqlite", forgotten.holds)
    shell._watcher = SimpleNamespace(loaded=None, problem=None)
    shell._is_forgotten = forgotten.holds if when == "before" else nobody
    shell._intake = EventIntake(log, forgotten.holds)
    bury(tmp_path / "forgotten.json", "u")
    answer = shell._take_in(EVENT)
    assert answer.status_code == 400
    assert "events.0.user_id='u', expected a user who was not forgotten" in json.loads(answer.body)["error"]
    assert log.count() == 0


def test_a_record_of_the_forgotten_that_is_damaged_is_a_503_and_nothing_is_written(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "forgotten.json").write_text("{")
    shell._watcher = SimpleNamespace(loaded=None, problem=None)
    shell._is_forgotten = TombstoneFile(tmp_path / "forgotten.json").holds
    assert shell._take_in(EVENT).status_code == 503


@pytest.mark.parametrize(("parent", "signals"), [(7, []), (1, [signal.SIGTERM])])
def test_a_worker_ends_with_its_supervisor(
    shell: Any, monkeypatch: pytest.MonkeyPatch, parent: int, signals: list[int]
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(service.os, "getppid", lambda: parent)
    monkeypatch.setattr(service.os, "kill", lambda _, number: sent.append(number))
    monkeypatch.setenv(PARENT, "7")
    shell._is_orphaned = orphaned()
    shell._watcher = SimpleNamespace(falls_back=False, loaded=None)
    shell._intake = SimpleNamespace(push_pending=lambda: True, n_pending=lambda: 0)
    shell._store = SimpleNamespace(sweep=lambda: None, is_away=False)
    shell._after_poll()
    assert sent == signals


def test_a_part_that_cannot_be_stopped_keeps_no_other_from_its_end(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def part(name: str) -> Any:
        def end(**_: Any) -> None:
            ended.append(name)
            raise OSError(name)

        return SimpleNamespace(close=end, stop=end, keep=end)

    names = ["watcher", "batcher", "desk", "experiments", "log"]
    for name in names:
        setattr(shell, f"_{name}", part(name))
    monkeypatch.setattr(service, "_ANSWERED", part("answered"))
    monkeypatch.setattr(service, "flush_spans", lambda _: ended.append("spans"))
    with pytest.raises(OSError, match="answered"):
        shell.end()
    assert ended == [*names, "answered", "spans"]


def test_no_chore_of_a_check_keeps_another_from_being_done(
    shell: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    done: list[Any] = []
    shell._is_orphaned = lambda: False
    engine = SimpleNamespace(features=SimpleNamespace(probe=fail))
    shell._watcher = SimpleNamespace(falls_back=False, loaded=SimpleNamespace(value=engine))
    shell._changes = SimpleNamespace(follow=fail)
    shell._experiments = SimpleNamespace(follow=fail, engines=[])
    shell._store = SimpleNamespace(sweep=fail, is_away=False)
    shell._intake = SimpleNamespace(push_pending=lambda: done.append("pushed"), n_pending=lambda: 3)
    metrics = SimpleNamespace(
        falls_back=lambda _: None, store_is_away=lambda _: None, pending_events=done.append, refused=lambda *_: None
    )
    shell._loader = SimpleNamespace(is_loading=True, check=fail)
    monkeypatch.setattr(service, "_metrics", lambda: metrics)
    for _ in range(2):
        shell._after_poll()
    assert done == ["pushed", 3] * 2
    failed = [record.message.rpartition(": ")[2] for record in caplog.records]
    assert failed == [
        "follow what clients say of items", "follow the experiments", "let go of who is forgotten",
        "probe the online store", "load bundles in time",
    ]  # fmt: skip
    shell._changes = SimpleNamespace(follow=lambda *_: None)
    shell._after_poll()
    assert caplog.records[-1].message.endswith("again at each check of the model store: " + failed[0])


def test_a_bundle_that_cannot_be_loaded_changes_not_how_the_store_is_read(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def engine_of(*, model: str, bundle: Any, features: Any, **_: Any) -> Any:
        def warm() -> None:
            if model == "m:2":
                raise ValueError("no")

        return SimpleNamespace(bundle=bundle, features=features, live=None, warm=warm, warm_encoder=lambda: None)

    manifests = {f"m:{n}": SimpleNamespace(recipe=SimpleNamespace(features=f"of m:{n}")) for n in (1, 2)}
    monkeypatch.setattr(
        beginning, "open_bundle", lambda folder, *_: SimpleNamespace(manifest=manifests[f"m:{folder.name}"])
    )
    monkeypatch.setattr(beginning, "Engine", engine_of)
    monkeypatch.setattr(beginning, "settle_memory", lambda: None)
    monkeypatch.setattr(service, "_metrics", lambda: SimpleNamespace(swapped=lambda *_: None))
    connected: list[str] = []
    shell._store = SimpleNamespace(read_as=lambda settings: f"a reader {settings}")
    shell._intake = SimpleNamespace(connect=connected.append)
    found = [Promoted("m:1", Path("/1"))]
    watch(shell, find=lambda: found)
    shell._watcher.poll()
    found.insert(0, Promoted("m:2", Path("/2")))
    shell._watcher.poll()
    assert shell._watcher.loaded.model == "m:1"
    assert connected == ["a reader of m:1"]
    manifests["m:3"] = manifests["m:1"]
    found.insert(0, Promoted("m:3", Path("/3")))
    shell._store = None  # as it is open
    shell._watcher.poll()
    assert (shell._watcher.loaded.model, connected) == ("m:3", ["a reader of m:1"] * 2)


def test_a_bundle_that_cannot_be_loaded_is_not_what_the_store_is_probed_by(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probed: list[Any] = []

    class Reader:
        def __init__(self, folder: Path, settings: Any, *_: Any, **__: Any) -> None:
            self.probe = lambda: probed.append(settings)

    monkeypatch.setattr("features.resilience.ResilientFeatures", Reader)
    monkeypatch.setattr(service, "_metrics", lambda: SimpleNamespace(swapped=lambda *_: None))
    shell._store = ShopStore(tmp_path, OnlineReadSettings(), TombstoneFile(tmp_path / "forgotten.json"))
    shell._is_orphaned = lambda: False
    shell._intake = SimpleNamespace(push_pending=lambda: True)
    shell._watcher = SimpleNamespace(loaded=None)
    shell._after_poll()
    assert probed == []
    shell._watcher.loaded = SimpleNamespace(value=SimpleNamespace(features=shell._store.read_as("in service")))
    shell._store.read_as("of a candidate")
    shell._after_poll()
    assert probed == ["in service"]


def test_the_encoder_is_warm_before_a_swap_and_warms_beside_requests_where_nothing_was_in_service(
    shell: Any, monkeypatch: pytest.MonkeyPatch, memory: None
) -> None:
    may_warm = threading.Event()
    warmed: list[tuple[str, bool]] = []

    def engine_of(*, model: str, **_: Any) -> Any:
        def warm_encoder() -> None:
            is_aside = threading.current_thread() is not threading.main_thread()
            if is_aside:
                may_warm.wait(20)
            warmed.append((model, is_aside))

        bundle = SimpleNamespace(manifest=SimpleNamespace(recipe=recipe))
        return SimpleNamespace(bundle=bundle, features=None, live=None, warm=lambda: None, warm_encoder=warm_encoder)

    recipe = SimpleNamespace(features=None)
    opened = SimpleNamespace(manifest=SimpleNamespace(recipe=recipe))
    monkeypatch.setattr(beginning, "open_bundle", lambda *_: opened)
    monkeypatch.setattr(beginning, "Engine", engine_of)
    monkeypatch.setattr(service, "_metrics", lambda: SimpleNamespace(swapped=lambda *_: None))
    shell._store = SimpleNamespace(read_as=lambda _: None)
    shell._intake = SimpleNamespace(connect=lambda _: None)
    promoted, erased = list[Promoted](), set[str]()
    watch(shell, find=lambda: promoted, find_erased=lambda: erased)

    def serve(model: str) -> None:
        promoted[:] = [Promoted(model, Path("/nowhere"))]
        shell._watcher.poll()
        assert shell._watcher.loaded.model == model

    serve("m:1")
    assert warmed == []
    may_warm.set()
    wait_for(lambda: warmed == [("m:1", True)])
    serve("m:2")
    assert warmed[1:] == [("m:2", False)]
    promoted.clear()
    erased.add("m:2")
    shell._watcher.poll()
    assert shell._watcher.loaded is None
    serve("m:3")
    wait_for(lambda: warmed[2:] == [("m:3", True)])


@pytest.mark.parametrize("is_loading", [True, False])
def test_a_start_settles_memory_but_not_while_a_bundle_of_an_experiment_is_loaded(
    shell: Any, monkeypatch: pytest.MonkeyPatch, memory: None, is_loading: bool
) -> None:
    settled: list[int] = []
    monkeypatch.setattr(beginning, "settle_memory", lambda: settled.append(1))
    begun: list[str] = []
    shell._experiments = SimpleNamespace(start=lambda: begun.append("to record"))
    shell._watcher = SimpleNamespace(start=lambda _: begun.append("to follow"))
    loads = [is_loading]
    shell._memory = Settling(lambda: loads[0])
    shell.begin()
    assert (begun, gc.get_freeze_count()) == (["to record", "to follow"], 0)
    assert settled == ([] if is_loading else [1])
    loads[0] = False
    shell._memory.run()  # as after each check of the model store
    assert settled == [1]


def test_what_is_loaded_leaves_the_collectors_rounds(memory: None) -> None:
    settle_memory()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == (50_000, 20, 1000)


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        (Caller(is_trusted=True), "Not ready: /srv/shop/manifest.json is damaged."),
        (Caller(), "Not ready: ask /v1/model with a key for more."),
    ],
)
@pytest.mark.parametrize("end", ["", "."])
def test_who_has_no_key_is_not_told_why_it_is_not_ready(shell: Any, caller: Caller, said: str, end: str) -> None:
    shell._watcher = SimpleNamespace(loaded=None, problem=f"/srv/shop/manifest.json is damaged{end}")

    async def ask() -> None:
        set_caller(caller)
        await shell.__is_ready__()

    with pytest.raises(HTTPException) as refused:
        asyncio.run(ask())
    assert (refused.value.status_code, refused.value.detail) == (503, said)
