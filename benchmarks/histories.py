"""Where the time of a service goes, read from the event times of its histories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from bondstone.base import names

WORKFLOW_TASK = "workflow task"


@dataclass
class Spent:
    """Where one service's time went, in seconds."""

    events: int = 0
    workflow_tasks: int = 0
    queued: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By activity type and `workflow task`: from scheduled to started."""
    ran: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By activity type and `workflow task`: from started to completed, as the server sees it."""
    began: datetime | None = None
    committed: datetime | None = None
    """When the service had taken in what the operation changed in it, after its record was written."""


async def spent_by(client: Client, service: str, *, operation: int = 1) -> Spent:
    """Read the histories of a service and one operation of it."""
    team, name = names.parse_service(service)
    return await spent_in(
        client, names.service_workflow_id(team, name), names.operation_workflow_id(team, name, operation)
    )


async def spent_in(client: Client, service: str, operation: str) -> Spent:
    """Read all runs of a workflow, and the last one of its child."""
    total = Spent()
    async for events in runs_of(client, service):
        _count(total, events)
    _count(total, list((await client.get_workflow_handle(operation).fetch_history()).events))
    return total


async def runs_of(client: Client, workflow_id: str) -> AsyncIterator[list[HistoryEvent]]:
    """The events of each run of a workflow that continued as new, newest run first."""
    handle = client.get_workflow_handle(workflow_id)
    run_id = (await handle.describe()).run_id
    while run_id:
        history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        events = list(history.events)
        yield events
        run_id = events[0].workflow_execution_started_event_attributes.continued_execution_run_id


def _count(total: Spent, events: list[HistoryEvent]) -> None:
    total.events += len(events)
    at = {event.event_id: event.event_time.ToDatetime(tzinfo=UTC) for event in events}
    kinds: dict[int, str] = {}
    recorded = False
    for event in events:
        when = at[event.event_id]
        total.began = min(total.began or when, when)
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                kinds[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                done = event.activity_task_completed_event_attributes
                recorded = recorded or kinds[done.scheduled_event_id] == names.LEDGER_RECORD
                _add(
                    total,
                    kinds[done.scheduled_event_id],
                    at,
                    (done.scheduled_event_id, done.started_event_id, event),
                )
            case EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                task = event.workflow_task_completed_event_attributes
                total.workflow_tasks += 1
                if recorded and total.committed is None:
                    total.committed = when
                _add(total, WORKFLOW_TASK, at, (task.scheduled_event_id, task.started_event_id, event))


def _add(total: Spent, kind: str, at: dict[int, datetime], events: tuple[int, int, HistoryEvent]) -> None:
    scheduled, started, ended = events
    total.queued[kind] += (at[started] - at[scheduled]).total_seconds()
    total.ran[kind] += (at[ended.event_id] - at[started]).total_seconds()
