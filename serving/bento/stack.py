"""What every request of the service passes, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.middleware.cors import CORSMiddleware

from core.layout import Layout
from core.settings.tree import Settings
from serving.api.endpoints import ENDPOINTS, SUCCESSORS
from serving.api.message import API_PREFIX
from serving.bento.application import GatedService
from serving.bento.time_limit import TimeLimit
from serving.guard.changes import AuditRequests
from serving.guard.connections import limit_heads
from serving.guard.cors import cors_options
from serving.guard.gate import FindKey, KeyGate
from serving.guard.shape import ShapeLimit
from serving.http.headers import SecurityHeaders
from serving.http.middleware import EndpointNames, JsonBodyLimit, ObserveRequests, UniformErrors
from serving.http.overload import ANSWERED_TOGETHER, FREE, OverloadGate
from serving.http.stream import StopAtHangUp
from serving.http.tracing import TraceRequests
from serving.http.versions import EarlierPaths

if TYPE_CHECKING:
    from serving.http.middleware import Observer


def stand_before(service: Any, settings: Settings, find_key: FindKey, gate: OverloadGate, observe: Observer) -> None:
    """Put before a service what each of its requests passes; the first is outermost, the second counts what others
    refuse.

    Args:
        service: What BentoML's decorator made of the class.
        settings: Of the shop.
        find_key: The valid key of what a client gave.
        gate: Refuses what is too much.
        observe: Called with each answer; see `ObserveRequests`.
    """
    serving = settings.serving

    def is_crowded() -> bool:
        return gate.now("answers") > 2 * serving.batch

    limit_heads(serving.header_s, serving.max_header_bytes, gate.refuse_early)
    service.add_asgi_middleware(EarlierPaths, successors=SUCCESSORS)
    endpoints = frozenset(endpoint.path for endpoint in ENDPOINTS)
    if settings.service_tracing.endpoint:
        service.add_asgi_middleware(TraceRequests, endpoints=endpoints)
    service.add_asgi_middleware(ObserveRequests, endpoints=endpoints, observe=observe)
    service.add_asgi_middleware(SecurityHeaders)
    service.add_asgi_middleware(UniformErrors)
    if serving.cors_origins:
        service.add_asgi_middleware(CORSMiddleware, **cors_options(serving.cors_origins))
    service.add_asgi_middleware(
        KeyGate,
        find=find_key,
        needs_keys=settings.needs_keys,
        by_address=not settings.is_open_to_all,
        open_metrics=serving.open_metrics,
        origins=serving.cors_origins,
        rates=serving.rates,
    )
    layout = Layout(settings.work_dir, settings.shop)
    service.add_asgi_middleware(AuditRequests, changes=layout.audit, reads=layout.audit_reads)
    service.add_asgi_middleware(
        JsonBodyLimit,
        max_body_bytes=serving.max_body_bytes,
        seconds=serving.body_s,
        shape=ShapeLimit(serving.max_json_depth, serving.max_json_values),
    )
    service.add_asgi_middleware(TimeLimit, timeout_s=serving.timeout_s)
    service.add_asgi_middleware(StopAtHangUp, endpoints=frozenset({f"{API_PREFIX}/feedback"}))
    # Watching each client costs time: who is answered within a batch or two is not watched.
    service.add_asgi_middleware(StopAtHangUp, endpoints=ANSWERED_TOGETHER, when=is_crowded)
    names = EndpointNames(endpoints | FREE)
    GatedService.around(service, gate, lambda path: names.of(SUCCESSORS.get(path, path)))
