"""How workflows call activities: queues, timeouts and retries, in one place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

from bondstone.base import names
from bondstone.model.service import StepSpec

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=30)
CONTROL_TIMEOUT: Final = timedelta(seconds=30)
"""How long one attempt of a short control activity may take."""

STATE_TIMEOUT: Final = timedelta(minutes=5)
"""For what claims a state: a holder that died elsewhere is waited for, for as long as its lease runs."""

TOOL_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=30
)
"""Only transient failures and dead workers are retried; wrong input never is."""

CONTROL_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)
)
"""A control activity fails for want of a store; it waits for it as long as it takes."""

ADMISSION_RETRIES: Final = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_attempts=5)
"""Somebody waits for the answer of an update: better a clear refusal than a long silence."""

GLANCE_TIMEOUT: Final = timedelta(minutes=2)
"""How long somebody waits, at most, for what is only good to know."""

_T = TypeVar("_T")


async def control(
    name: str, call: Any, result: type[_T], *, summary: str = "", retries: RetryPolicy = CONTROL_RETRIES
) -> _T:
    """Run a short control activity and return its result, on the worker that runs the workflow, within its task.

    As a local activity it costs one event instead of three events and a workflow task. But when that workflow task
    is lost, the workflow calls it again, perhaps with other arguments: use it only for what may run twice. A
    failure is raised here as the activity raised it, not wrapped in an `ActivityError`.
    """
    answer: _T = await workflow.execute_local_activity(
        name,
        call,
        result_type=result,
        start_to_close_timeout=CONTROL_TIMEOUT,
        retry_policy=retries,
        summary=summary or None,
    )
    return answer


async def apart(
    name: str,
    call: Any,
    result: type[_T],
    *,
    summary: str,
    within: timedelta = CONTROL_TIMEOUT,
    heartbeat: timedelta | None = None,
    retries: RetryPolicy = CONTROL_RETRIES,
) -> _T:
    """Run a control activity that may take long, or whose first arguments must hold, on any control worker."""
    answer: _T = await workflow.execute_activity(
        name,
        call,
        result_type=result,
        task_queue=names.CONTROL_QUEUE,
        start_to_close_timeout=within,
        heartbeat_timeout=heartbeat,
        retry_policy=retries,
        summary=summary,
    )
    return answer


async def tool(spec: StepSpec, verb: str, call: Any, result: type[_T], *, summary: str) -> _T:
    """Run an executor's activity in the step's pool; a cancel waits until the tool has stopped and saved."""
    is_part = spec.executor == names.SERVICE_EXECUTOR
    answer: _T = await workflow.execute_activity(
        names.executor_activity(spec.executor, verb),
        call,
        result_type=result,
        task_queue=names.CONTROL_QUEUE if is_part else names.pool_queue(spec.pool),
        start_to_close_timeout=timedelta(seconds=spec.timeout_seconds),
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=CONTROL_RETRIES if is_part else TOOL_RETRIES,  # a part may wait for people for days
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )
    return answer


async def glance(spec: StepSpec, verb: str, call: Any, result: type[_T], *, summary: str) -> _T:
    """Run an executor's activity that changes nothing, once and soon or not at all."""
    answer: _T = await workflow.execute_activity(
        names.executor_activity(spec.executor, verb),
        call,
        result_type=result,
        task_queue=names.pool_queue(spec.pool),
        schedule_to_close_timeout=GLANCE_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(maximum_attempts=1),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )
    return answer
