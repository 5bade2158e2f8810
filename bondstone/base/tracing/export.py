"""Sends the spans of one of our own processes to a collector, by OTLP, as `OTEL_*` variables say.

See https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/: endpoint, headers, sampler,
resource and limits are OpenTelemetry's own business. Without an endpoint nothing of it is imported.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

FLUSH_SECONDS: Final = 2.0
"""How long a process that ends may take to send its last spans."""

_provider: TracerProvider | None = None


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a collector, and nothing forbids to send it traces."""
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() in {"none", "console"}
    return any(environ.get(name) for name in _ENDPOINTS) and not off and not none


def start(process: str) -> bool:
    """Trace this process, if its environment wants that; whether it does.

    Args:
        process: What a collector knows it by, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` says.
    """
    global _provider  # noqa: PLW0603 - one for each process, as OpenTelemetry's own
    if _provider is not None or not wanted():
        return _provider is not None
    try:
        _provider = _provide(process)
    except ImportError as error:
        import structlog  # noqa: PLC0415 - this module is looked at by every command

        structlog.get_logger(__name__).warning(
            "a collector is set, but nothing is traced: a package is missing",
            package=error.name,
            hint="pip install 'bondstone[tracing]'",
        )
        return False
    return True


def on() -> bool:
    """Whether this process is traced."""
    return _provider is not None


def stop() -> None:
    """Send what has not been sent yet, for a short while."""
    if _provider is not None:
        # Its own timeout does not count while it waits for a collector that does not answer.
        sending = threading.Thread(target=_provider.force_flush, daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


def sampled(trace: str) -> bool:
    """Whether the sampler keeps a trace that begins with us.

    Args:
        trace: Its id.
    """
    if _provider is None:
        return False
    decided: bool = _provider.sampler.should_sample(None, int(trace, 16), "operation").decision.is_sampled()  # type: ignore[no-untyped-call] # the SDK's
    return decided


def _provide(process: str) -> TracerProvider:
    from opentelemetry import trace  # noqa: PLC0415 - only where something is traced
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from bondstone import __version__  # noqa: PLC0415
    from bondstone.base.tracing.ids import Ids  # noqa: PLC0415

    ours = Resource.create(
        {"service.name": process, "service.namespace": "bondstone", "service.version": __version__}
    )
    provider = TracerProvider(
        resource=ours.merge(OTELResourceDetector().detect()),
        id_generator=Ids(),
        shutdown_on_exit=False,  # it would wait for a collector that does not answer
    )
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    trace.set_tracer_provider(provider)
    return provider


def _exporter() -> Any:
    protocol = next((value for name in _PROTOCOLS if (value := os.environ.get(name))), "http/protobuf")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter  # noqa: PLC0415 - a package of its own

        return trace_exporter.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()
