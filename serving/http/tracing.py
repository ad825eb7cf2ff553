"""OpenTelemetry traces: a span for each request, and within it one for each stage that its answer passed.

BentoML makes the tracer and what sends its spans. Its own spans stay off: they name each address whole, with the ids
of users and what was searched for, and count each part of a body.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.logs.requests import current_request_id
from core.logs.traces import Trace, begin_trace
from core.settings.platform import TracingSettings
from core.stages import Timed
from serving.http.middleware import EndpointNames

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger("serving")
_NAME = "sommelier"
# What probes and scrapers ask all the time.
_UNTRACED = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_VARIABLES = "OTEL_"  # how their names begin
_CLIENT_LEFT = 499
_FAILED = 500
# What a collector that does not answer may cost an end.
_FLUSH_S = 2.0


def export_options(settings: TracingSettings) -> dict[str, Any]:
    """What `bentoml.service` is told of tracing: where spans are sent, and that it makes none of its own."""
    if not settings.endpoint:
        return {"excluded_urls": ".*"}
    return {
        "excluded_urls": ".*",
        "exporter_type": "otlp",
        "sample_rate": settings.share,
        "otlp": {"protocol": "http", "endpoint": settings.endpoint},
    }


def settle_tracer() -> None:
    """Make BentoML's tracer, before the app of a worker asks for it.

    Where OpenTelemetry refuses one of its own variables, they are taken out of this process's environment, and its
    spans are sent nowhere: BentoML wants a tracer also where no request is traced, and would not begin to answer.
    """
    try:
        _make_middleware()
        return
    except Exception as error:
        names = sorted(name for name in os.environ if name.startswith(_VARIABLES))
        logger.warning(
            "Requests are not traced: OpenTelemetry refuses its variables (%s), %s: %s",
            ", ".join(names) or "none is set",
            type(error).__name__,
            error,
        )
    for name in names:
        del os.environ[name]
    from bentoml._internal.configuration.containers import BentoMLContainer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    BentoMLContainer.tracer_provider.set(TracerProvider(sampler=ALWAYS_OFF, resource=Resource.get_empty()))


def _make_middleware() -> None:
    """Make once what BentoML makes for its app: some variables are read by imports, some as objects are made."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    OpenTelemetryMiddleware(None, excluded_urls=".*", tracer_provider=_provider())


def flush_spans(settings: TracingSettings) -> None:
    """Send the spans that still wait, as a worker ends: its process ends by a signal, and does no more after that."""
    if settings.endpoint:
        sending = Thread(target=_provider().force_flush, name="spans", daemon=True)
        sending.start()
        sending.join(_FLUSH_S)


class TraceRequests:
    """Makes a span of each request, as part of the caller's trace where there is one, and of each of its stages.

    Args:
        app: The next app.
        endpoints: The paths that have names, an id in braces standing for any; a span is called by one, never by an
            address as it was asked for.
        tracer: Makes spans; BentoML's by default.
    Source: OpenTelemetry's semantic conventions for HTTP; W3C Trace Context.
    """

    def __init__(self, app: ASGIApp, endpoints: frozenset[str], tracer: Callable[[], Tracer] | None = None) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._endpoint_of = EndpointNames(endpoints).of
        self._tracer = (tracer or _bentoml_tracer)()
        self._caller = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import SpanKind

        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        endpoint = self._endpoint_of(scope["path"])
        # Stages are timed by a clock that never goes back, spans by the time of day: one look at both is for the whole
        # trace, so that no stage stands outside its request, however long the look took or the time of day is set.
        offset_ns = time.time_ns() - time.perf_counter_ns()
        span = self._tracer.start_span(
            f"{scope['method']} {endpoint}",
            context=self._caller.extract(Headers(scope=scope)),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "http.route": endpoint},
            start_time=time.perf_counter_ns() + offset_ns,
        )
        trace, status = begin_trace(), _CLIENT_LEFT

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        except Exception:
            status = _FAILED
            raise
        finally:
            # BentoML's sampler has all spans record, also those that are not sent.
            if span.get_span_context().trace_flags.sampled:
                _describe(span, trace, status)
                self._add_stages(span, trace.stages, offset_ns)
            span.end(time.perf_counter_ns() + offset_ns)

    def _add_stages(self, request: Span, stages: Sequence[Timed], offset_ns: int) -> None:
        """A span for each stage, within that of the stage around it or of the request.

        Args:
            offset_ns: From the clock of the stages to the time of day.
        """
        from opentelemetry.trace import set_span_in_context

        around: list[tuple[Timed, Span]] = []  # from the outside in
        as_they_ended = sorted(stages, key=lambda one: (one.ended_ns, -one.began_ns))
        # Who ends last and begins first stands around the others.
        for one in reversed(as_they_ended):
            while around and one.began_ns < around[-1][0].began_ns:
                around.pop()
            within = set_span_in_context(around[-1][1] if around else request)
            span = self._tracer.start_span(one.stage, context=within, start_time=one.began_ns + offset_ns)
            span.set_attribute("sommelier.stage.own_ms", one.own_ns / 1e6)
            span.end(one.ended_ns + offset_ns)
            around.append((one, span))


def _describe(span: Span, trace: Trace, status: int) -> None:
    """What is known of a request when it has been answered."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", status)
    if status >= _FAILED:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)
    span.set_attribute("sommelier.request_id", current_request_id() or "")
    for name, words in trace.notes.items():
        span.set_attribute(f"sommelier.{name}", " ".join(words))
    if trace.together:
        span.set_attribute("sommelier.together", trace.together)


def _bentoml_tracer() -> Tracer:
    tracer: Tracer = _provider().get_tracer(_NAME)
    return tracer


def _provider() -> Any:
    from bentoml._internal.configuration.containers import BentoMLContainer

    return BentoMLContainer.tracer_provider.get()
