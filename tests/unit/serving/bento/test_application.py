"""What a request passes: BentoML's own where it is needed, and ours in the place of what costs more."""

from __future__ import annotations

from typing import Any

from bentoml._internal.server.http.traffic import TimeoutMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

from serving.bento.application import ApplicationFactory, GatedService
from serving.bento.calls import EndpointCalls
from serving.bento.time_limit import TimeLimit
from serving.bento.traffic import CountTraffic
from serving.guard.changes import AuditRequests
from serving.guard.gate import KeyGate
from serving.http.headers import SecurityHeaders
from serving.http.middleware import ObserveRequests, UniformErrors
from serving.service import Sommelier


def test_ours_stand_in_the_place_of_bentoml_s() -> None:
    made: Any = Sommelier
    assert isinstance(made, GatedService)
    made.inject_config()
    kinds: list[Any] = [one.cls for one in ApplicationFactory(made, name_of=str, is_main=True).middlewares]
    assert kinds[0] is CountTraffic
    # What ends an answer late stands within what observes, marks and audits answers.
    for outer in (ObserveRequests, SecurityHeaders, UniformErrors, KeyGate, AuditRequests):
        assert kinds.index(outer) < kinds.index(TimeLimit)
    assert [kind.__name__ for kind in kinds[-2:]] == [EndpointCalls.__name__, "ContextMiddleware"]
    assert not {TimeoutMiddleware, OpenTelemetryMiddleware} & set(kinds)
