"""A collector of traces for tests and for reading them: `python -m harness.traces` prints each tree it is sent.

It takes OTLP over HTTP, as any collector does: point `OTEL_EXPORTER_OTLP_ENDPOINT` at it. Jaeger, Tempo or the
OpenTelemetry Collector are what keeps them.
"""

from __future__ import annotations

import argparse
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

PORT: Final = 4318
QUIET_SECONDS: Final = 3.0
"""A trace of which nothing has come for so long is printed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it arrived."""

    process: str
    """Its `service.name`."""
    name: str
    trace: str
    span: str
    parent: str
    seconds: float
    began: int
    failed: str
    """The description of its error status; empty when it is none."""
    links: tuple[str, ...]
    """Traces that it is linked to."""
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What has arrived."""

    port: int = 0
    spans: list[Seen] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """Each request's body, as it came."""
    last: dict[str, float] = field(default_factory=dict)
    """When something last came of each trace."""

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be."""
        return f"http://127.0.0.1:{self.port}"

    def take(self, body: bytes) -> None:
        """Take an export in."""
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    received = Seen(
                        process=str(about.get("service.name", "")),
                        name=span.name,
                        trace=span.trace_id.hex(),
                        span=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                        began=span.start_time_unix_nano,
                        failed=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else "",
                        links=tuple(link.trace_id.hex() for link in span.links),
                        attributes=_attributes(span.attributes),
                    )
                    self.spans.append(received)
                    self.last[received.trace] = time.monotonic()

    def of(self, trace: str) -> list[Seen]:
        """The spans of one trace, the first to begin first."""
        return sorted((span for span in list(self.spans) if span.trace == trace), key=lambda span: span.began)

    def tree(self, trace: str) -> Iterator[str]:
        """One trace, a line for each span."""
        spans = self.of(trace)
        known = {span.span for span in spans}
        yield f"trace {trace}"
        for span in spans:
            if span.parent not in known:
                yield from _branch(spans, span, 1)


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """A collector on a loopback port, for as long as it is needed."""
    collector = Collector()
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(collector.take))
    collector.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


def main() -> int:
    """Print traces until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT)
    with collecting(parser.parse_args().port) as collector:
        print(f"export OTEL_EXPORTER_OTLP_ENDPOINT={collector.endpoint}", flush=True)
        try:
            while True:
                time.sleep(0.2)
                _print_quiet(collector)
        except KeyboardInterrupt:
            return 0


def _print_quiet(collector: Collector) -> None:
    for trace, last in list(collector.last.items()):
        if time.monotonic() - last > QUIET_SECONDS:
            del collector.last[trace]
            print("\n".join(["", *collector.tree(trace)]), flush=True)


def _branch(spans: list[Seen], span: Seen, depth: int) -> Iterator[str]:
    name = f"{'  ' * depth}{span.name}"
    failed = f"  failed: {span.failed}" if span.failed else ""
    yield f"{name:42} {span.seconds:8.3f} s  {span.process}{failed}"
    for other in spans:
        if other.parent == span.span:
            yield from _branch(spans, other, depth + 1)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


def _handler(take: Callable[[bytes], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing of each request."""

    return Handler


if __name__ == "__main__":
    raise SystemExit(main())
