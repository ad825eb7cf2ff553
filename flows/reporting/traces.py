"""OpenTelemetry traces of flows: a span for each run, and within it one for each of its steps.

A run's trace has the id of the flow run, so that a run that waited or was tried again goes on in the same one.
Prefect's own spans stay off, as no tracer is set for them: they hold what an error says, which may name a person.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from inspect import signature
from threading import Thread
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from prefect.exceptions import Pause
from prefect.runtime import flow_run

from flows.environment import current_settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)
_NAME = "sommelier"
_SERVICE = "sommelier-flows"
# What a collector that does not answer may cost the end of a run.
_FLUSH_S = 2.0
_TRACER: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


def traced(flow: Callable[P, R]) -> Callable[P, R]:
    """Make a span of a run of a flow, where `platform.tracing` names an endpoint; for the function below Prefect's
    decorator.

    Its parameters name the shop.
    """

    @wraps(flow)
    def run(*args: P.args, **named: P.kwargs) -> R:
        settings = current_settings()
        endpoint = settings.platform.tracing.endpoint
        provider = _provider_of(endpoint) if endpoint else None
        if provider is None:
            return flow(*args, **named)
        shop = getattr(next(iter((*args, *named.values())), None), "shop", settings.shop)
        about = {"shop": shop}
        if flow_run.id:
            about |= {"flow_run": str(flow_run.name), "flow_run_id": str(flow_run.id)}
        tracer = provider.get_tracer(_NAME)
        token = _TRACER.set(tracer)
        try:
            with _spanning(tracer, f"flow {flow.__name__.replace('_', '-')}", about):
                return flow(*args, **named)
        finally:
            _TRACER.reset(token)
            _flush(provider)

    # Prefect checks the parameters by it, and would look for the names of types in this module.
    run.__signature__ = signature(flow, eval_str=True)  # type: ignore[attr-defined]
    return run


@contextmanager
def step_span(title: str, shop: str, tries: Callable[[], int], *, is_kept: bool) -> Iterator[None]:
    """Make a span of a step, as a part of that of its run; nothing where runs are not traced.

    Args:
        title: The step's, as the table of steps has it.
        tries: Says how often its function was called by now: never, where its result was kept from before.
        is_kept: Whether results of the step are kept at all.
    """
    tracer = _TRACER.get()
    if tracer is None:
        yield
        return
    with _spanning(tracer, title, {"shop": shop}) as span:
        try:
            yield
            if is_kept:
                span.set_attribute("sommelier.step.cached", tries() == 0)
        finally:
            span.set_attribute("sommelier.step.tries", tries())


@contextmanager
def _spanning(tracer: Tracer, name: str, about: dict[str, str]) -> Iterator[Span]:
    """A span around the block, with how it ended; of an error its kind alone."""
    from opentelemetry.trace import StatusCode

    attributes = {f"sommelier.{key}": value for key, value in about.items()}
    quiet: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(name, attributes=attributes, **quiet) as span:
        outcome = "failed"
        try:
            yield span
            outcome = "completed"
        except Pause:  # it goes on in another process
            outcome = "waiting"
            raise
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.set_attribute("sommelier.outcome", outcome)


@cache
def _provider_of(endpoint: str) -> TracerProvider | None:
    """What sends the spans of this process, in the background; None where OpenTelemetry refuses its own variables."""
    try:
        return _make_provider(endpoint)
    except Exception as error:
        logger.warning("Flows are not traced: OpenTelemetry refuses its variables, %s: %s", type(error).__name__, error)
        return None


def _make_provider(endpoint: str) -> TracerProvider:
    # Some variables are read by the import already.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import RandomIdGenerator, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class IdOfRun(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return UUID(str(flow_run.id)).int if flow_run.id else super().generate_trace_id()

    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", _SERVICE)})
    # A process that ends does not wait for the collector: `_flush` has sent what there was.
    provider = TracerProvider(resource=resource, id_generator=IdOfRun(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider


def _flush(provider: TracerProvider) -> None:
    """Send the spans that still wait, as the process of a run ends next."""
    sending = Thread(target=provider.force_flush, name="spans", daemon=True)
    sending.start()
    sending.join(_FLUSH_S)
