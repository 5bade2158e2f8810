"""How every process of Bondstone logs: structlog, JSON lines for machines, colours for people.

Records of the standard library, of Temporal's SDK and of its Rust core go the same way, so that one process
writes one stream in one format, to standard error. Bind context with `structlog.contextvars.bind_contextvars`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, Final, TextIO

import structlog

from bondstone.base.settings import Settings
from bondstone.base.tracing import spans

LEAKY_PACKAGES: Final = ("python_terraform",)
"""Packages that log argument values, secrets among them, some on the root logger: nothing of theirs is written."""


def configure(settings: Settings, *, stream: TextIO | None = None, **context: Any) -> None:
    """Set up logging for this process; calling it again replaces what was set up before.

    Args:
        settings: `log_level` and `log_format` count.
        stream: Where to write; standard error unless told.
        context: Bound to every line, as in `process="executor"`.
    """
    target = sys.stderr if stream is None else stream
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _trace,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of every request
    handler = logging.StreamHandler(target)
    handler.addFilter(_is_safe)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _temporal_context],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings, target)],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    structlog.contextvars.bind_contextvars(**context)


def wants_json(settings: Settings, stream: TextIO) -> bool:
    """Whether lines are JSON: when asked for, or when nobody is looking."""
    return settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())


def _renderers(settings: Settings, stream: TextIO) -> Sequence[Any]:
    if wants_json(settings, stream):
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]


def _is_safe(record: logging.LogRecord) -> bool:
    return not any(f"/{package}/" in record.pathname for package in LEAKY_PACKAGES) and not record.name.startswith(
        LEAKY_PACKAGES
    )


def _trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Where in a trace the line is written, by the names that collectors look for."""
    place = spans.SpanPlace.parse(spans.here())
    if place is not None:
        event.update(trace_id=place.trace, span_id=place.span)
    return event


_TEMPORAL_KEYS = ("workflow_id", "workflow_type", "activity_type", "activity_id", "attempt", "run_id")


def _temporal_context(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Lift what the SDK's workflow and activity loggers attach into fields of the line."""
    record = event.get("_record")
    for source in ("temporal_workflow", "temporal_activity"):
        attached = getattr(record, source, None)
        if isinstance(attached, dict):
            event.update({key: attached[key] for key in _TEMPORAL_KEYS if key in attached})
    return event
