"""Traces, from a client's call to the tool's process, for whatever OpenTelemetry the process has set up.

Nothing of OpenTelemetry is imported here: where a process has not loaded it, spans cost a look at `sys.modules`.
`bondstone.base.tracing.export` loads it, for our own processes, when the environment names a collector.

Where we are in a trace is a W3C `traceparent` in a context variable. It travels in `Request.trace` to the service,
in the operation's record from there, in a header to activities, and as `TRACEPARENT` to the tool.

Spans say what ran, how long and how it ended: names, ids, counts, codes. Never a value, a message or an argument.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

HEADER: Final = "traceparent"
"""Of activities, as Temporal carries it."""

VARIABLE: Final = "TRACEPARENT"
"""Of processes: what Terraform, and many a script, looks for."""

Kind = Literal["INTERNAL", "CLIENT", "SERVER", "CONSUMER"]
Value = str | int | float | bool

_FORM = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")

_here: ContextVar[str] = ContextVar("bondstone_traceparent", default="")
_preset: ContextVar[SpanPlace | None] = ContextVar("bondstone_preset_ids", default=None)


@dataclass(frozen=True, slots=True)
class SpanPlace:
    """A span, as others refer to it."""

    trace: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits."""
    flags: str = "01"
    """`01`: it is kept; `00`: a sampler has decided against it."""

    @classmethod
    def parse(cls, traceparent: str) -> SpanPlace | None:
        """What a W3C `traceparent` says; None when it is none."""
        match = _FORM.fullmatch(traceparent)
        if match is None or not int(match["trace"], 16) or not int(match["span"], 16):
            return None
        return cls(match["trace"], match["span"], match["flags"])

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags}"


class Span:
    """What is being traced; deaf while nothing is."""

    def __init__(self, inner: Any = None) -> None:
        self._inner = inner

    def set(self, key: str, value: Value) -> None:
        """Say something of it: a count or a word of ours, never a value of the user's."""
        if self._inner is not None:
            self._inner.set_attribute(key, value)

    def fail(self, code: str) -> None:
        """Mark it failed, with a stable code."""
        if self._inner is not None:
            _mark(self._inner, code)


def here() -> str:
    """The `traceparent` of where we are; empty when nothing is traced."""
    return _here.get()


@contextmanager
def inside(traceparent: str) -> Iterator[None]:
    """Be in a span of somebody else's."""
    token = _here.set(traceparent)
    try:
        yield
    finally:
        _here.reset(token)


def enter(traceparent: str) -> None:
    """Be in a span of somebody else's for the rest of this task."""
    _here.set(traceparent)


@contextmanager
def span(
    name: str, attributes: Mapping[str, Value] | None = None, *, parent: str = "", kind: Kind = "INTERNAL"
) -> Iterator[Span]:
    """Trace what happens inside; an error marks the span with its code, and is raised again.

    Args:
        name: The same for all of its kind: no ids in it.
        attributes: What is known at its start; empty ones are left out.
        parent: A `traceparent`; default: where we are.
        kind: Which side of a call it is.
    """
    trace = _opentelemetry()
    if trace is None:
        yield Span()
        return
    with trace.get_tracer("bondstone").start_as_current_span(
        name,
        context=_context(trace, parent),
        kind=trace.SpanKind[kind],
        attributes=_filled(attributes),
        record_exception=False,  # messages and tracebacks are the log's, which is ours to redact
        set_status_on_exception=False,
    ) as inner:
        place = _place(inner.get_span_context())
        token = _here.set(str(place) if place else "")
        try:
            yield Span(inner)
        except BaseException as error:
            if code := code_of(error):
                _mark(inner, code)
            raise
        finally:
            _here.reset(token)


def write(
    name: str,
    place: SpanPlace,
    *,
    parent: SpanPlace | None,
    began: datetime,
    ended: datetime,
    attributes: Mapping[str, Value],
    link: SpanPlace | None = None,
    error: str = "",
    kind: Kind = "INTERNAL",
) -> None:
    """Write down a span that is over: of a workflow, which may have run in many processes.

    Args:
        name: As for `span`.
        place: What its children already call it.
        parent: The span it belongs to; None for one that begins a trace.
        began: When.
        ended: When.
        attributes: As for `span`.
        link: The span that caused it, in another trace.
        error: The code it failed with.
        kind: Which side of a call it is.
    """
    trace = _opentelemetry()
    if trace is None:
        return
    token = _preset.set(place)
    try:
        inner = trace.get_tracer("bondstone").start_span(
            name,
            context=_context(trace, str(parent) if parent else None),
            kind=trace.SpanKind[kind],
            attributes=_filled(attributes),
            links=[trace.Link(_span_context(trace, link))] if link else None,
            start_time=_nanoseconds(began),
        )
    finally:
        _preset.reset(token)
    if error:
        _mark(inner, error)
    inner.end(end_time=_nanoseconds(ended))


def preset() -> SpanPlace | None:
    """The ids that the span which is being made must have."""
    return _preset.get()


def derived(seed: str, *, within: SpanPlace | None) -> SpanPlace:
    """The place of a span whose ids anybody can tell beforehand, as replays must.

    Args:
        seed: The same for the same span, and for no other.
        within: Its parent; without one it begins a trace.
    """
    digest = hashlib.sha256(seed.encode()).hexdigest()
    if within is not None:
        return SpanPlace(within.trace, digest[:16], within.flags)
    return SpanPlace(digest[16:48], digest[:16])


def environment() -> dict[str, str]:
    """The variable that lets a tool go on with the trace."""
    return {VARIABLE: place} if (place := here()) else {}


def code_of(error: BaseException) -> str:
    """A stable word for an error, and nothing of its message; empty when it is none, as a command's `exit 0`."""
    if getattr(error, "exit_code", None) == 0:
        return ""
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    for name in ("code", "type"):
        if isinstance(code := getattr(error, name, None), str) and code:
            return code
    return type(error).__name__


def _opentelemetry() -> Any:
    """OpenTelemetry's API, in a process that has loaded it."""
    return sys.modules.get("opentelemetry.trace")


def _context(trace: Any, parent: str | None) -> Any:
    """The context of a new span: its parent's; by default that of the current span, whoever made it."""
    context = sys.modules["opentelemetry.context"].Context()
    if parent is None:
        return context
    if not parent:
        if trace.get_current_span().get_span_context().is_valid:
            return None
        parent = here()
    place = SpanPlace.parse(parent)
    if place is None:
        return context
    return trace.set_span_in_context(trace.NonRecordingSpan(_span_context(trace, place)), context)


def _span_context(trace: Any, place: SpanPlace) -> Any:
    return trace.SpanContext(
        int(place.trace, 16),
        int(place.span, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(place.flags, 16)),
    )


def _place(context: Any) -> SpanPlace | None:
    if not context.is_valid:
        return None
    return SpanPlace(f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{context.trace_flags:02x}")


def _mark(inner: Any, code: str) -> None:
    status = sys.modules["opentelemetry.trace"]
    inner.set_status(status.Status(status.StatusCode.ERROR, code))
    inner.set_attribute("error.type", code)


def _filled(attributes: Mapping[str, Value] | None) -> dict[str, Value]:
    return {key: value for key, value in (attributes or {}).items() if value != ""}


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
