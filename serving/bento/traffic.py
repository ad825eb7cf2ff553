"""BentoML's own figures of requests, counted by the endpoints' names, and looked up once for each.

BentoML counts by each address as it was asked for: so the ids of users stood in what /metrics shows, and made-up paths
filled a worker's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from bentoml._internal.context import server_context
from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METRICS = "/metrics"


class CountTraffic(RunnerTrafficMetricsMiddleware):
    """In the place of BentoML's own, with its metrics.

    Args:
        app: The next app.
        name_of: By what name a path is counted.
        namespace: Before the metrics' names.
        skip_paths: Beginnings of paths that do not count as the last request.
    """

    def __init__(
        self, app: ASGIApp, name_of: Callable[[str], str], namespace: str, skip_paths: Sequence[str] = ()
    ) -> None:
        super().__init__(app, namespace, skip_paths)
        self._name_of, self._skipped = name_of, tuple(skip_paths)
        self._in_progress: dict[str, Any] = {}
        self._answered: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._last: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request, and its answer as its last part is sent."""
        if not self._is_setup:
            self._setup()
        path = scope.get("path", "")
        if scope["type"] != "http" or path == _METRICS:
            await self.app(scope, receive, send)
            return
        endpoint = self._name_of(path)
        if not path.startswith(self._skipped):
            self._seen_last().set_to_current_time()
        started = perf_counter()
        status = 0

        async def count(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                total, duration = self._counted(endpoint, status)
                total.inc()
                duration.observe(max(perf_counter() - started, 0))
            await send(message)

        in_progress = self._of(endpoint)
        in_progress.inc()
        try:
            await self.app(scope, receive, count)
        finally:
            in_progress.dec()

    def _of(self, endpoint: str) -> Any:
        found = self._in_progress.get(endpoint)
        if found is None:
            found = self.metrics_request_in_progress.labels(endpoint=endpoint, **self._labels())
            self._in_progress[endpoint] = found
        return found

    def _counted(self, endpoint: str, status: int) -> tuple[Any, Any]:
        found = self._answered.get((endpoint, status))
        if found is None:
            labels = {"endpoint": endpoint, "http_response_code": status, **self._labels()}
            found = self.metrics_request_total.labels(**labels), self.metrics_request_duration.labels(**labels)
            self._answered[endpoint, status] = found
        return found

    def _seen_last(self) -> Any:
        if self._last is None:
            self._last = self.metrics_last_request_timestamp.labels(**self._labels())
        return self._last

    @staticmethod
    def _labels() -> dict[str, Any]:
        return {
            "service_name": server_context.bento_name,
            "service_version": server_context.bento_version,
            "runner_name": server_context.service_name,
        }
