"""Changing a schedule only as it was read, and starting its campaigns once for each request."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from temporalio.api.enums.v1 import ScheduleOverlapPolicy as OverlapNumber
from temporalio.api.schedule.v1 import message_pb2 as schedule_pb
from temporalio.api.workflowservice.v1 import PatchScheduleRequest, UpdateScheduleRequest
from temporalio.client import Client, Schedule, ScheduleDescription, ScheduleOverlapPolicy
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base import names
from bondstone.base.errors import Changed, Unreachable
from bondstone.client.direct.schedules.specs import run_of
from bondstone.model.campaign.schedule import ScheduledRun

SETTLES_SECONDS: Final = 10.0
"""The server carries a change out after it has answered, or drops it without a word."""


def version_of(described: ScheduleDescription) -> str:
    """Tells a schedule from what it was before each change of it; runs do not change it."""
    return described.raw_description.conflict_token.hex()


def require_version(described: ScheduleDescription, expected: str) -> None:
    """Refuse to change a schedule that is not the one which the caller has read.

    Raises:
        Changed: somebody changed it since.
    """
    if expected and expected != version_of(described):
        raise _changed(described.id)


def trigger_now(overlap: ScheduleOverlapPolicy | None) -> schedule_pb.SchedulePatch:
    """A run now; by default under the schedule's own policy of overlaps."""
    policy = OverlapNumber.ValueType(overlap or 0)
    return schedule_pb.SchedulePatch(
        trigger_immediately=schedule_pb.TriggerImmediatelyRequest(overlap_policy=policy)
    )


def backfill_of(
    spans: Iterable[tuple[datetime, datetime]], overlap: ScheduleOverlapPolicy
) -> schedule_pb.SchedulePatch:
    """The runs of those spans of time."""
    patched = schedule_pb.SchedulePatch()
    for begin, end in spans:
        backfill = patched.backfill_request.add(overlap_policy=OverlapNumber.ValueType(overlap))
        backfill.start_time.FromDatetime(begin)
        backfill.end_time.FromDatetime(end)
    return patched


async def patch(client: Client, name: str, content: schedule_pb.SchedulePatch, request: str) -> None:
    """Trigger or backfill a schedule, once for each request: Temporal drops what it has had before.

    It forgets when the schedule's workflow continues as new: `DirectSchedules.trigger` reads the ledger first.

    The SDK's own `ScheduleHandle.trigger` and `backfill` make a new request id each time.

    Args:
        client: The connection to Temporal.
        name: Of the schedule.
        content: What to start.
        request: Tells the request from others; empty for one that is sent once.

    Raises:
        RPCError: the server refuses it.
    """
    await client.workflow_service.patch_schedule(
        PatchScheduleRequest(
            namespace=client.namespace,
            schedule_id=names.schedule_id(name),
            patch=content,
            identity=client.identity,
            request_id=request or str(uuid.uuid4()),
        ),
        retry=True,
    )


async def change(client: Client, described: ScheduleDescription, schedule: Schedule, run: ScheduledRun) -> None:
    """Update a schedule, unless somebody changed it since it was described.

    The SDK's own `ScheduleHandle.update` sends no conflict token: the last of two would win.

    Args:
        client: The connection to Temporal.
        described: As it was read.
        schedule: As it shall be.
        run: What each of its runs shall be told, which is in the schedule too.

    Raises:
        Changed: somebody changed it since.
        RPCError: the server refuses it.
    """
    request = UpdateScheduleRequest(
        namespace=client.namespace,
        schedule_id=described.id,
        schedule=await schedule._to_proto(client),  # noqa: SLF001 - no public way sends a conflict token
        conflict_token=described.raw_description.conflict_token,
        identity=client.identity,
        request_id=str(uuid.uuid4()),
    )
    try:
        await client.workflow_service.update_schedule(request, retry=True)
    except RPCError as error:
        if error.status in {RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.ABORTED}:
            raise _changed(described.id) from error
        raise
    wanted = request.schedule
    deadline = asyncio.get_running_loop().time() + SETTLES_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        now = await client.get_schedule_handle(described.id).describe()
        if now.raw_description.conflict_token != described.raw_description.conflict_token:
            if _settings(now.raw_description.schedule) == _settings(wanted) and await run_of(now) == run:
                return
            raise _changed(described.id)
        await asyncio.sleep(0.1)
    raise Unreachable(
        f"Temporal has not carried out the change of {described.id}", hint="look at it, and try again"
    )


def _settings(schedule: schedule_pb.Schedule) -> tuple[object, ...]:
    """What a schedule has beside its run: of two updates that differ in these alone, one was dropped too."""
    policies = schedule.policies
    return policies.overlap_policy, policies.catchup_window.ToTimedelta(), schedule.spec.jitter.ToTimedelta()


def _changed(schedule: str) -> Changed:
    return Changed(
        "somebody changed it since you read it",
        where=f"schedule {names.schedule_of(schedule)}",
        hint="read it again: `bond schedule show`",
    )
