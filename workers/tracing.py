"""Traces through Temporal: an interceptor of workers. No workflow knows of it.

A service lives for years, so a trace cannot be its own: each request is one. `Request.trace` brings it, the
operation's record keeps it while it waits in the queue and over continue-as-new, and here it becomes a header of
the activities. A workflow's span is written down when it is over, with ids that every replay finds again, and
never while replaying: none is open for as long as a service lives, and a cold worker repeats none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.exceptions import FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleUpdateInput,
    Interceptor,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from bondstone.base.tracing import spans
from bondstone.base.tracing.export import sampled
from bondstone.base.tracing.spans import SpanPlace, Value
from bondstone.model import operation_trace
from bondstone.model.campaign.run import CampaignInput, SubmitCall
from bondstone.model.service import OperationInput, OperationRecord, Request


class Traces(Interceptor):
    """For every worker of a process that is traced."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Activities become spans."""
        return _Activities(next)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002, ARG002
        """Workflows hand on where they are."""
        return _Inbound


class _Activities(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the interface's name
        payload = input.headers.get(spans.HEADER)
        if payload is None:
            return await super().execute_activity(input)
        parent = PayloadConverter.default.from_payload(payload, str)
        info = activity.info()
        waited = (info.started_time - info.current_attempt_scheduled_time).total_seconds()
        about: dict[str, Value] = {
            "temporal.workflow_id": info.workflow_id or "",
            "temporal.run_id": info.workflow_run_id or "",
            "temporal.task_queue": info.task_queue,
            "bond.attempt": info.attempt,
            "bond.queued_seconds": round(max(waited, 0), 3),
            **_about(input.args[0] if input.args else None),
        }
        with spans.span(info.activity_type, about, parent=parent, kind="CONSUMER"):
            return await super().execute_activity(input)


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self._outbound = _Outbound(outbound)
        super().init(self._outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 - the interface's name
        call = input.args[0] if input.args else None
        if isinstance(call, OperationInput):
            record = call.record
            place = _place(record)
            spans.enter(str(place))
            began = workflow.info().start_time
            return await _until(super().execute_workflow(input), partial(_write_operation, record, place, began))
        if isinstance(call, CampaignInput):
            self._outbound.campaign = call.trace
        return await super().execute_workflow(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: A002 - the interface's name
        request = input.args[0] if input.args else None
        parent = SpanPlace.parse(request.trace) if isinstance(request, Request) else None
        if parent is None:
            return await super().handle_update_handler(input)
        place = spans.derived(f"{workflow.info().workflow_id} {input.id}", within=parent)
        spans.enter(str(place))
        write = partial(_write_update, f"Service.{input.update}", place, parent, workflow.now())
        return await _until(super().handle_update_handler(input), write)


class _Outbound(WorkflowOutboundInterceptor):
    campaign = ""
    """Of a campaign: where it was started, which its operations link to. Its own activities are in no trace."""

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = _headers(input.headers)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = _headers(input.headers)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self,
        input: StartChildWorkflowInput,  # noqa: A002
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        call = input.args[0] if input.args else None
        if isinstance(call, OperationInput):
            # What the service's main task does from here on, as its record in the ledger, is for this operation.
            spans.enter(str(_place(call.record)))
        return await super().start_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:  # noqa: A002
        call = input.args[0] if input.args else None
        if isinstance(call, SubmitCall) and self.campaign:
            request = call.request.changed(trace=self.campaign)
            input.args = [call.changed(request=request)]
        await super().signal_external_workflow(input)


def _place(record: OperationRecord) -> SpanPlace:
    place, parent, _link = operation_trace.of_operation(record)
    if parent is None and not sampled(place.trace):
        return SpanPlace(place.trace, place.span, "00")
    return place


async def _until(work: Awaitable[Any], write: Callable[[str], None]) -> Any:
    """Wait for what a workflow does, and write its span; not when it was only dropped from the worker's cache.

    That cancels its tasks, which is no FailureError.
    """
    try:
        result = await work
    except FailureError as error:
        write(spans.code_of(error))
        raise
    write("")
    return result


def _write_update(name: str, place: SpanPlace, parent: SpanPlace, began: datetime, error: str) -> None:
    if not workflow.unsafe.is_replaying():
        about: dict[str, Value] = {"temporal.workflow_id": workflow.info().workflow_id}
        spans.write(
            name,
            place,
            parent=parent,
            began=began,
            ended=workflow.now(),
            attributes=about,
            error=error,
            kind="SERVER",
        )


def _write_operation(record: OperationRecord, place: SpanPlace, began: datetime, error: str) -> None:
    if workflow.unsafe.is_replaying():
        return
    _, parent, link = operation_trace.of_operation(record)
    info = workflow.info()
    about: dict[str, Value] = {
        **_about(record),
        "bond.operation": record.number,
        "bond.promise": record.revision.promise,
        "bond.version": record.revision.version,
        "bond.campaign": record.campaign,
        "bond.dry_run": record.dry_run,
        "bond.queued_seconds": round(max((began - record.requested_at).total_seconds(), 0), 3),
        "temporal.workflow_id": info.workflow_id,
        "temporal.run_id": info.run_id,
    }
    spans.write(
        str(record.kind),
        place,
        parent=parent,
        began=began,
        ended=workflow.now(),
        attributes=about,
        link=link,
        error=error,
        kind="SERVER",
    )


def _headers(headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
    if not (place := spans.here()):
        return headers
    return {**headers, spans.HEADER: PayloadConverter.default.to_payload(place)}


def _about(call: Any) -> dict[str, Value]:
    """What of an activity's argument may be said: names and numbers that lists show, too."""
    attributes: dict[str, Value] = {}
    for name in ("service", "operation", "step", "kind"):
        value = getattr(call, name, None)
        if value is not None:
            attributes[f"bond.{name}"] = value if isinstance(value, int) else str(value)
    return attributes
