"""The BentoML service: `python -m serving` serves it. This file is the edge where settings are read.

They come from the environment (`SOMMELIER_SHOP`, `SOMMELIER_WORK_DIR`, `SOMMELIER_SERVING__POLL_S`, ...), and on
import, because BentoML's decorator wants threads and time limits before the class exists. BENTOML_HOME names the
model store and has to be set before the service starts: BentoML reads it before this file.

BentoML evaluates the annotations of this file itself, so it does without postponed ones.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, cast

import bentoml
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from core.keys import KeyFile
from core.layout import Layout
from core.logs.answered import AnswerCounts
from core.logs.events import EventLog, EventLogError, UserRefused
from core.logs.traces import note
from core.overrides import Overrides
from core.settings.loading import load_settings
from core.tombstones import TombstoneError, TombstoneFile
from serving.api.changes import UserForgotten
from serving.api.events import EventsReceipt
from serving.api.experiments import ExperimentsInfo
from serving.api.feedback import Feedback
from serving.api.lists import Found, Latest, Popular, Similar
from serving.api.message import API_PREFIX
from serving.api.model import ModelInfo
from serving.api.options import ListOptions
from serving.api.recommend import Recommendations
from serving.api.score import Scores
from serving.batching import Batcher
from serving.beginning import EngineMaker, Settling, check_model_store
from serving.bento.stack import stand_before
from serving.changes import ChangeDesk
from serving.engine import Engine
from serving.errors import BadRequest, NotAllowed
from serving.events.intake import EventIntake
from serving.events.terms import PLAIN_TERMS, EventTerms
from serving.experiments.desk import ExperimentDesk
from serving.experiments.named import check_may_name
from serving.feedback import FeedbackDesk, Limits
from serving.guard.caller import current_caller
from serving.http.flow_gauges import with_flow_gauges
from serving.http.inputs import (
    EventsInput,
    FeedbackInput,
    LatestInput,
    PopularInput,
    RecommendInput,
    ScoreInput,
    SearchInput,
    SimilarInput,
    Unreadable,
)
from serving.http.metrics import Metrics
from serving.http.overload import OverloadGate
from serving.http.pages import PAGES
from serving.http.refusals import refusal_of, sentence_of
from serving.http.responses import refuse, respond
from serving.http.stream import EventStream
from serving.http.tracing import export_options, flush_spans
from serving.online.shop_store import ShopStore
from serving.operations.desk import OperationsDesk
from serving.processes.chores import Chores
from serving.processes.loading import Loader
from serving.processes.log_lines import write_log_lines
from serving.processes.seats import orphaned
from serving.processes.stopping import told_to_stop
from serving.together import each_by
from serving.watcher import Loaded, PromotedFinder, Watcher, find_erased
from serving.web.routes import page_routes
from serving.writing.pool import WritingPool

logger = logging.getLogger("serving")

SETTINGS = load_settings(variables=os.environ)
_LAYOUT = Layout(SETTINGS.work_dir, SETTINGS.shop)
_KEYS = KeyFile(_LAYOUT.api_keys)
_ANSWERED = AnswerCounts(_LAYOUT.answered, **SETTINGS.serving.answered.model_dump())
_GATE = OverloadGate(SETTINGS.serving.in_flight, origins=SETTINGS.serving.cors_origins)
# Drafts compute as answers do, and more threads would only take the interpreter from each other.
_DRAFTING_THREADS = 1


@cache
def _metrics() -> Metrics:
    """The process's metrics: Prometheus takes each name once."""
    return Metrics(answered=_ANSWERED)


def _observe(endpoint: str, status: int, seconds: float, is_throttled: bool) -> None:
    _metrics().answered(endpoint, status, seconds, is_throttled)


@bentoml.service(
    workers=SETTINGS.serving.workers,
    threads=SETTINGS.serving.threads,
    logging={"access": {"enabled": False}},
    tracing=export_options(SETTINGS.service_tracing),
)
@bentoml.asgi_app(Starlette(routes=[*PAGES.routes, *page_routes(SETTINGS)]))
class Sommelier:
    """Recommends, scores and writes feedback with the promoted bundle, and receives events.

    An endpoint is a method here, a model of its request and answer in `serving.api`, and what answers it in `Engine`.
    """

    def __init__(self) -> None:
        import torch

        check_model_store(SETTINGS.work_dir)
        SETTINGS.check_exposure()
        write_log_lines(SETTINGS.logs.format)
        logging.getLogger("serving").setLevel(logging.INFO)
        # Requests run side by side in threads; more threads within one of them would only fight for the same cores.
        torch.set_num_threads(1)
        self._is_orphaned = orphaned()
        self._layout = layout = _LAYOUT
        tombstones = TombstoneFile(layout.forgotten)
        self._is_forgotten = tombstones.holds
        self._log = EventLog(layout.events, self._is_forgotten)
        self._changes = ChangeDesk(Overrides(layout.overrides, self._is_forgotten), layout.to_forget, layout.forgotten)
        self.operations = OperationsDesk(layout, SETTINGS, self._is_forgotten)
        self._chores = Chores(lambda chore: _metrics().chore_failed(chore))
        serving = SETTINGS.serving
        self._store = ShopStore(layout.feast, serving.online_store, tombstones)
        self._intake = EventIntake(self._log, self._is_forgotten, serving.online_store.retry_s)
        self._batcher = Batcher(serving.batch)
        pool = WritingPool(serving.feedback_threads, serving.feedback_waiting, serving.feedback_batch, _metrics().texts)
        limits = Limits(serving.timeout_s, serving.stream_s, serving.max_pairs)
        self._desk = FeedbackDesk(pool, _DRAFTING_THREADS, limits, _metrics().gave_text, _ANSWERED.add_praise)
        engines = EngineMaker(layout, SETTINGS, self._store, self._changes, self._in_service)
        self._memory = Settling(lambda: self._loader.is_loading)
        self._loader: Loader[Engine] = Loader(engines.bring_up, self._memory.ask)
        self._experiments = ExperimentDesk(
            layout,
            serving,
            engines.make_beside,
            self._log,
            self._is_forgotten,
            _metrics(),
            self._memory.ask,
            self._loader,
        )
        self._watcher: Watcher[Engine] = Watcher(
            find=PromotedFinder(layout.model_name),
            load=engines.make,
            find_erased=lambda: find_erased(layout.model_name),
            poll_s=SETTINGS.serving.poll_s,
            on_swap=self._after_swap,
            on_let_go=lambda: _metrics().let_go(),
            on_poll=self._after_poll,
            on_failure=lambda: _metrics().bundle_failed(),
            at_hand=self._experiments.at_hand,
            loader=self._loader,
        )

    @bentoml.on_startup
    def begin(self) -> None:
        """Load the promoted bundle, if there is one, and follow the model store from then on."""
        if SETTINGS.needs_keys and _KEYS.is_empty():
            logger.warning("Every request needs an API key, and there is none yet: make one with sommelier keys create")
        self._experiments.start()
        with told_to_stop() as is_told:
            self._watcher.start(is_told)
        self._memory.ask()
        self._memory.run()

    @bentoml.on_shutdown
    def end(self) -> None:
        """Stop following, stop what is written, close the event log, and send what is left to send."""
        with ExitStack() as steps:  # the last one first, and each whatever another raises
            steps.callback(flush_spans, SETTINGS.service_tracing)
            steps.callback(_ANSWERED.keep, at_once=True)
            steps.callback(self._log.close)
            steps.callback(self._experiments.close)
            steps.callback(self._desk.close)
            steps.callback(self._batcher.close)
            steps.callback(self._watcher.stop)

    async def __metrics__(self, content: str) -> str:
        """What /metrics shows: BentoML's figures and ours, and those that the shop's flows left."""
        return await asyncio.to_thread(with_flow_gauges, content, self._layout.gauges)

    async def __is_ready__(self) -> bool:
        """What /readyz asks; the exception's text becomes its answer."""
        if self._watcher.loaded is None:
            # Everybody may ask, and the reason may name files.
            reason = (
                self._not_ready() if current_caller().may("read") else "Not ready: ask /v1/model with a key for more."
            )
            raise HTTPException(503, reason)
        return True

    @bentoml.api(route=f"{API_PREFIX}/recommend")
    async def recommend(self, request: RecommendInput, /) -> Recommendations:
        """The k best items for a known user, for a visitor's history, or for nobody in particular; or for many."""
        endpoint = f"{API_PREFIX}/recommend"

        def answer(engine: Engine, requests: Sequence[Any]) -> Sequence[BaseModel | Exception]:
            return self._experiments.recommend_together(requests, engine, endpoint)

        if not isinstance(request, Unreadable):
            try:
                check_may_name(request, current_caller())
            except NotAllowed as error:
                return refusal_of(error)
        return await self._answer_together(request, endpoint, answer)

    @bentoml.api(route=f"{API_PREFIX}/score")
    async def score(self, request: ScoreInput, /) -> Scores:
        """How much the user would like each item."""
        return await self._answer_together(request, f"{API_PREFIX}/score", Engine.score_together)

    @bentoml.api(route=f"{API_PREFIX}/popular")
    async def popular(self, request: PopularInput, /) -> Popular:
        """The items with the most events, of all time or of the last days."""
        return await self._list(request, "popular", lambda engine: engine.lists.popular)

    @bentoml.api(route=f"{API_PREFIX}/latest")
    async def latest(self, request: LatestInput, /) -> Latest:
        """The newest items."""
        return await self._list(request, "latest", lambda engine: engine.lists.latest)

    @bentoml.api(route=f"{API_PREFIX}/similar")
    async def similar(self, request: SimilarInput, /) -> Similar:
        """Items that are like an item, or users who are like a user."""
        return await self._list(request, "similar", lambda engine: engine.lists.similar)

    @bentoml.api(route=f"{API_PREFIX}/search")
    async def search(self, request: SearchInput, /) -> Found:
        """The items that a text speaks of."""
        return await self._list(request, "search", lambda engine: engine.lists.search)

    @bentoml.api(route=f"{API_PREFIX}/feedback")
    async def feedback(self, request: FeedbackInput, /) -> Feedback:
        """The review that the user would write of an item, or why the item suits them; for many pairs, or in pieces."""
        return await self._write(request)

    @bentoml.api(route=f"{API_PREFIX}/events")
    def events(self, request: EventsInput, /) -> EventsReceipt:
        """Store events on disk, then push them to the online store."""
        return self._take_in(request)

    def _take_in(self, request: Any) -> Any:
        if isinstance(request, Unreadable):
            return refuse(400, request.sentence)
        loaded = self._watcher.loaded
        try:
            kept = request.interactions(self.event_terms, self._is_forgotten)
            receipt = self._intake.accept(kept)
        except BadRequest as error:
            return refuse(error.status, str(error))
        except UserRefused as error:  # since the request was read
            return refuse(400, str(error))
        except (EventLogError, TombstoneError):
            logger.exception("Events were refused")
            return refuse(503, "Cannot keep the events: the event log cannot be written. Send them again later.")
        _metrics().received_events(receipt.accepted, receipt.duplicates)
        items = [event.item_id for event in kept]
        answer = EventsReceipt(
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            left_out=len(request.events) - len(kept),
            pushed=receipt.pushed,
            unknown_items=None if loaded is None else loaded.value.unknown_items(items),
        )
        return answer if receipt.pushed else respond(answer, 202)

    @property
    def event_terms(self) -> EventTerms:
        """What clients call events, and how they rate."""
        loaded = self._watcher.loaded
        return PLAIN_TERMS if loaded is None else loaded.value.event_terms

    @property
    def capabilities(self) -> dict[str, bool]:
        """What the bundle in service can answer; empty without one."""
        loaded = self._watcher.loaded
        return {} if loaded is None else loaded.value.capabilities

    def model_info(self) -> ModelInfo:
        """What GET /v1/model answers."""
        loaded = self._watcher.loaded
        bundle = None if loaded is None else loaded.value.bundle
        return ModelInfo(
            ready=loaded is not None,
            model=None if loaded is None else loaded.model,
            loaded_at=None if loaded is None else loaded.loaded_at.isoformat(timespec="seconds"),
            promoted=self._watcher.promoted,
            problem=self._watcher.problem,
            store_problem=self._store.problem or None,
            changes_problem=self._changes.problem,
            experiment_problems=self._experiments.problems(),
            capabilities=self.capabilities,
            n_items=None if bundle is None else len(bundle.catalogue),
            manifest=None if bundle is None else bundle.manifest.model_dump(mode="json"),
        )

    def experiments_info(self) -> ExperimentsInfo:
        """What GET /v1/experiments answers."""
        loaded = self._watcher.loaded
        return self._experiments.info(None if loaded is None else loaded.value)

    def item_record(self, item_id: str) -> Any:
        """What GET /v1/items/{item_id} answers."""
        is_whole = current_caller().may("admin")
        return self._answer(
            None,
            f"{API_PREFIX}/items",
            lambda engine: engine.read_item(item_id, self._changes.said_of("items", item_id, is_whole)),
        )

    def user_record(self, user_id: str) -> Any:
        """What GET /v1/users/{user_id} answers."""
        is_whole = current_caller().may("admin")
        return self._answer(
            None,
            f"{API_PREFIX}/users",
            lambda engine: engine.read_user(user_id, self._changes.said_of("users", user_id, is_whole)),
        )

    async def _list(self, request: Any, name: str, method: Callable[[Engine], Callable[[Any], Any]]) -> Any:
        """Answer with a list of the bundle in service, and record it."""
        endpoint = f"{API_PREFIX}/{name}"
        recorded = each_by(lambda engine: self._experiments.recording(method(engine), endpoint))
        return await self._answer_together(request, endpoint, recorded)

    def keep_change(self, change: Callable[[ChangeDesk, Engine | None], BaseModel]) -> Any:
        """What the endpoints answer that change items and users, whether a bundle is in service or not."""
        loaded = self._watcher.loaded
        try:
            answer = change(self._changes, None if loaded is None else loaded.value)
            return respond(answer, 202 if isinstance(answer, UserForgotten) else 200)
        except Exception as error:
            return refusal_of(error)

    def _answer(self, request: Any, endpoint: str, answer: Callable[[Engine], BaseModel]) -> Any:
        """Answer with the engine of this moment; a swap in the meantime does not touch it."""
        if isinstance(request, Unreadable):
            return refuse(400, request.sentence)
        loaded = self._watcher.loaded
        if loaded is None:
            return refuse(503, self._not_ready())
        try:
            found = answer(loaded.value)
        except Exception as error:
            return refusal_of(error)
        _metrics().gave(endpoint, found)
        return found

    async def _answer_together(
        self, request: Any, endpoint: str, answer: Callable[[Engine, Sequence[Any]], Sequence[Any]]
    ) -> Any:
        """Answer with the engine of this moment, together with what else waits for it."""
        if isinstance(request, Unreadable):
            return refuse(400, request.sentence)
        loaded = self._watcher.loaded
        if loaded is None:
            return refuse(503, self._not_ready())
        engine = loaded.value
        note(model=loaded.model)

        def answer_each(requests: Sequence[Any]) -> list[Any]:
            return [_shown(endpoint, one, found) for one, found in zip(requests, answer(engine, requests), strict=True)]

        try:
            return await self._batcher.answer((engine, endpoint), answer_each, request, SETTINGS.serving.timeout_s)
        except Exception as error:
            return refusal_of(error)

    async def _write(self, request: Any) -> Any:
        """Answer with texts; the threads that answer everything else do not wait for them."""
        if isinstance(request, Unreadable):
            return refuse(400, request.sentence)
        loaded = self._watcher.loaded
        if loaded is None:
            return refuse(503, self._not_ready())
        note(model=loaded.model)
        try:
            if request.stream:
                streamed = await self._desk.stream(loaded.value, request)
                return EventStream(streamed.messages(), sentence_of, streamed.stop)
            return respond(await self._desk.answer(loaded.value, request))
        except Exception as error:
            return refusal_of(error)

    def _not_ready(self) -> str:
        problem = self._watcher.problem or "the service is starting"
        return f"Not ready: {problem.rstrip('.')}."

    def _in_service(self) -> Engine | None:
        loaded = self._watcher.loaded
        return None if loaded is None else loaded.value

    def _after_swap(self, loaded: Loaded[Engine]) -> None:
        self._intake.connect(cast(Any, loaded.value.features))
        _metrics().swapped(loaded.model, loaded.value.bundle.manifest)
        self._memory.ask()

    def _after_poll(self) -> None:
        """Probe the store, push what is left to push; and stop if the supervisor is gone: no worker outlives it."""
        if self._is_orphaned():
            logger.warning("The process that started this worker is gone: stopping")
            os.kill(os.getpid(), signal.SIGTERM)
        loaded = self._watcher.loaded
        self._chores.run(
            {
                "follow what clients say of items": lambda: self._changes.follow(loaded, self._experiments.engines),
                "follow the experiments": lambda: self._experiments.follow(loaded),
                "keep what was answered": _ANSWERED.keep,
                "let go of who is forgotten": self._store.sweep,
                "probe the online store": lambda: None if loaded is None else cast(Any, loaded.value.features).probe(),
                "push events": self._intake.push_pending,
                "show figures": self._show_figures,
                "settle memory": self._memory.run,
                "load bundles in time": self._loader.check,
            }
        )

    def _show_figures(self) -> None:
        (metrics := _metrics()).falls_back(self._watcher.falls_back)
        metrics.store_is_away(self._store.is_away)
        for endpoint, number in _GATE.take_refused().items():
            metrics.refused(endpoint, number)
        metrics.pending_events(self._intake.n_pending())


stand_before(Sommelier, SETTINGS, _KEYS.find, _GATE, _observe)


def _shown(endpoint: str, request: Any, found: BaseModel | Exception) -> Any:
    """An answer as a response, counted unless it is only looked at; an error as it is."""
    if isinstance(found, Exception):
        return found
    if not (isinstance(request, ListOptions) and request.is_preview):
        _metrics().gave(endpoint, found)
    return respond(found)
