"""A collector of OpenTelemetry spans on this machine, for tests of what is sent to it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """Receives spans by OTLP over HTTP.

    Attributes:
        spans: That came, in their order.
        service: What the sender is called.
        headers: Of the newest export.
    """

    spans: list[Span] = field(default_factory=list)
    service: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        told = ExportTraceServiceRequest.FromString(body)
        self.headers = headers
        for sent in told.resource_spans:
            self.service = str(attributes_of(sent.resource)["service.name"])
            self.spans += [span for scope in sent.scope_spans for span in scope.spans]

    def of_request(self, request_id: str) -> Span | None:
        found = [one for one in list(self.spans) if attributes_of(one).get("sommelier.request_id") == request_id]
        assert len(found) < 2
        return found[0] if found else None

    def below(self, span: Span) -> dict[str, Span]:
        """The other spans of its trace by name."""
        return {one.name: one for one in list(self.spans) if one.trace_id == span.trace_id and one is not span}


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(body, dict(self.headers))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def attributes_of(told: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in told.attributes}
