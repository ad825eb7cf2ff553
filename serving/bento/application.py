"""The app that BentoML makes of a service, and in it what is ours in the place of BentoML's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory  # type: ignore[import-untyped]
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from bentoml._internal.utils.uri import join_paths
from starlette.middleware import Middleware

from serving.bento.calls import Call, EndpointCalls
from serving.bento.traffic import CountTraffic
from serving.http.overload import OverloadGate
from serving.http.request_ids import RequestIds
from serving.http.tracing import settle_tracer


class ApplicationFactory(ServiceAppFactory):
    """BentoML's, whose apps spend less on each request.

    Args:
        service: What BentoML's decorator made of the class.
        name_of: By what name a path is counted.
        options: As BentoML's own takes them.
    """

    def __init__(self, service: Service[Any], name_of: Callable[[str], str], **options: Any) -> None:
        self._name_of = name_of
        super().__init__(service, **options)

    @property
    def middlewares(self) -> list[Middleware]:
        """What each request passes, from the outside in."""
        # Not before `settle_tracer`: an import may refuse variables.
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        # In whose place requests pass `TimeLimit`, and `TraceRequests`: all addresses are excluded from BentoML's own.
        left_out = (TimeoutMiddleware, OpenTelemetryMiddleware)
        kept: list[Middleware] = []
        for its in super().middlewares:
            options: dict[str, Any] = its.kwargs
            if its.cls is RunnerTrafficMetricsMiddleware:
                kept.append(Middleware(CountTraffic, name_of=self._name_of, **options))
            elif its.cls is ContextMiddleware:
                kept += [self._calls(), its]  # no endpoint of ours asks for BentoML's context
            elif its.cls not in left_out:
                kept.append(its)
        return kept

    def _calls(self) -> Middleware:
        service = self.service
        found = {join_paths(service.path_prefix, api.route): Call.of(api) for api in service.apis.values()}
        return Middleware(
            EndpointCalls,
            calls={path: call for path, call in found.items() if call is not None},
            service=lambda: self._service_instance,
            in_thread=self._to_thread,
            name=service.name,
        )


class GatedService(Service[Any]):
    """A BentoML service whose app stands behind a gate.

    BentoML's own middleware would run before any that is added to a service: a refusal would cost half an answer.
    """

    __slots__ = ()

    @staticmethod
    def around(service: Service[Any], gate: OverloadGate, name_of: Callable[[str], str]) -> None:
        """Put a service that the decorator made behind a gate.

        Args:
            name_of: By what name a path is counted.
        """
        _MADE[service.name] = partial(_behind, gate, name_of)
        service.__class__ = GatedService

    def to_asgi(self, is_main: bool = True) -> Any:
        """The service's app, behind the gate; what the gate refuses has an id too."""
        return _MADE[self.name](self, is_main=is_main)


def _behind(gate: OverloadGate, name_of: Callable[[str], str], service: Service[Any], **options: Any) -> Any:
    service.inject_config()
    settle_tracer()  # by the settings of tracing, which are BentoML's only now
    return RequestIds(gate.around(ApplicationFactory(service, name_of, **options)()))


# By the service's name: a service has no place for further attributes.
_MADE: dict[str, Callable[..., Any]] = {}
