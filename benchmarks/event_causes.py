"""What the events of a history are there for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

_NAMED = {
    "WORKFLOW_TASK": "workflow task",
    "CHILD_WORKFLOW": "child workflow",
    "WORKFLOW_EXECUTION_UPDATE": "update",
    "TIMER": "timer",
    "WORKFLOW_EXECUTION_STARTED": "start",
    "WORKFLOW_EXECUTION_COMPLETED": "end",
    "WORKFLOW_EXECUTION_FAILED": "end",
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": "continue as new",
    "WORKFLOW_EXECUTION_SIGNALED": "signal",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": "search attributes",
    "WORKFLOW_PROPERTIES_MODIFIED": "memo",
}


class Cause(NamedTuple):
    """One cause of cost."""

    workflow: str
    """`service` or `operation`."""
    name: str
    """What the events are there for."""
    what: str
    """`events`, `bytes` or `tasks` (workflow tasks that ended)."""


Costs = Counter[Cause]


def causes_of(workflow: str, events: Sequence[HistoryEvent]) -> Costs:
    """Count the events of one run by cause.

    Args:
        workflow: What kind of workflow it is.
        events: All events of the run.
    """
    costs: Costs = Counter()
    activities: dict[int, str] = {}
    for event in events:
        name = _name(event, activities)
        costs[Cause(workflow, name, "events")] += 1
        costs[Cause(workflow, name, "bytes")] += event.ByteSize()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            costs[Cause(workflow, name, "tasks")] += 1
    return costs


def _name(event: HistoryEvent, activities: dict[int, str]) -> str:
    kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    if event.workflow_execution_started_event_attributes.continued_execution_run_id:
        return "continue as new"
    if kind.startswith("ACTIVITY_TASK"):
        if kind == "ACTIVITY_TASK_SCHEDULED":
            activities[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        return f"activity {activities[_scheduled(event)]}"
    if kind == "MARKER_RECORDED":
        return _marker(event)
    named = (name for part, name in _NAMED.items() if part in kind)
    return next(named, kind.lower().replace("_", " "))


def _scheduled(event: HistoryEvent) -> int:
    attributes: Any = getattr(event, str(event.WhichOneof("attributes")))
    return int(getattr(attributes, "scheduled_event_id", 0)) or event.event_id


def _marker(event: HistoryEvent) -> str:
    attributes = event.marker_recorded_event_attributes
    if attributes.marker_name != "core_local_activity":
        return f"marker {attributes.marker_name}"
    for payload in attributes.details["data"].payloads:
        document = payload.data.decode(errors="replace")
        for part in document.split('"'):
            if "." in part and part.replace(".", "").replace("_", "").isalpha():
                return f"local activity {part}"
    return f"local activity {MessageToDict(attributes.header)}"
