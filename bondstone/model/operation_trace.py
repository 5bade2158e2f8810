"""Which trace an operation belongs to."""

from __future__ import annotations

from bondstone.base.tracing.spans import SpanPlace, derived
from bondstone.model.service import OperationRecord


def of_operation(record: OperationRecord) -> tuple[SpanPlace, SpanPlace | None, SpanPlace | None]:
    """Where an operation is in a trace: its own place, its parent, and what it is linked to.

    An operation belongs to the trace of who asked for it. A campaign's is a trace of its own, linked to what
    started the campaign: a trace of a hundred thousand operations helps nobody. So is one that a service began by
    itself.
    """
    request = SpanPlace.parse(record.trace)
    parent = None if record.campaign else request
    place = derived(f"{record.workflow_id} {record.requested_at.isoformat()}", within=parent)
    return place, parent, request if record.campaign else None


def trace_id(record: OperationRecord) -> str:
    """The trace that an operation is in, for people; empty when whoever asked for it did not trace."""
    return of_operation(record)[0].trace if SpanPlace.parse(record.trace) else ""
