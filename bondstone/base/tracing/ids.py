"""Ids of spans: random, but for those that were told beforehand. Imported only where something is traced."""

from __future__ import annotations

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from bondstone.base.tracing.spans import preset


class Ids(RandomIdGenerator):
    """See `bondstone.base.tracing.spans.write`."""

    def generate_span_id(self) -> int:
        """That of the span which is being written down, else a random one."""
        place = preset()
        return int(place.span, 16) if place else super().generate_span_id()

    def generate_trace_id(self) -> int:
        """That of the span which is being written down, else a random one."""
        place = preset()
        return int(place.trace, 16) if place else super().generate_trace_id()
