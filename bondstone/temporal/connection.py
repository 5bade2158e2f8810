"""The one place that connects to Temporal, and what every connection has in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base.errors import Unreachable
from bondstone.base.names import SEARCH_ATTRIBUTES
from bondstone.base.settings import Settings
from bondstone.temporal.patience import make_patient
from bondstone.temporal.payloads import data_converter

DEFAULT_ADDRESS = "127.0.0.1:7233"

MAX_REASON_CHARS: Final = 120

POLLER_FRESH_SECONDS: Final = 75
"""A poll lasts up to a minute; a worker not seen for longer than this is gone."""

_VALUE_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "KeywordList": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
}

SEARCH_ATTRIBUTE_TYPES: Final = {name: _VALUE_TYPES[kind] for name, kind in SEARCH_ATTRIBUTES.items()}
"""Our search attributes as the server's interface has them."""


@dataclass(frozen=True, slots=True)
class Poller:
    """A worker that polls a task queue."""

    identity: str
    last_seen: datetime
    build: str
    """The build of a control worker, if it has one."""


async def connect(settings: Settings) -> Client:
    """Connect to the platform's Temporal.

    The address of an embedded platform found in the data directory wins; otherwise Temporal's own environment
    configuration decides (`TEMPORAL_ADDRESS`, `TEMPORAL_PROFILE`, `temporal.toml`).

    Raises:
        Unreachable: nothing answers there.
        SettingsInvalid: the payload key ring cannot be read.
    """
    converter = data_converter(settings)
    config = dict(ClientConfig.load_client_connect_config())
    if settings.temporal_address:
        config = {"target_host": settings.temporal_address, "namespace": settings.temporal_namespace}
    config.setdefault("target_host", DEFAULT_ADDRESS)
    try:
        return make_patient(await Client.connect(data_converter=converter, **config))  # type: ignore[arg-type] # a TypedDict widened above
    except RuntimeError as error:
        raise Unreachable(
            f"Temporal does not answer at {config['target_host']}",
            where=reason(str(error)),
            hint="start the embedded platform with `bond up`, or set TEMPORAL_ADDRESS",
        ) from error


@cache
def silence_core() -> None:
    """Keep the SDK's native core from writing between the lines of a command, whose error says what is wrong.

    Before the first connection. Workers send what it says to their log instead, see `bondstone.workers.telemetry`.
    """
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)), error_if_already_set=False)


def reason(text: str) -> str:
    """What went wrong, out of what the transport says of it: layers of wrappers around one short message."""
    inner = re.findall(r'message: "([^"]+)"', text)
    words = inner[-1] if inner else re.split(r"[({]", text, maxsplit=1)[0].rpartition(": ")[2] or text
    return " ".join(words.split())[:MAX_REASON_CHARS].rstrip(" :,")


async def ensure_namespace(client: Client, retention: timedelta) -> None:
    """Make the connection's namespace if it is missing; one that is there stays as it is.

    Args:
        client: A connection; to a namespace that is not there, too.
        retention: How long a new one keeps closed workflows.
    """
    keep = Duration()
    keep.FromTimedelta(retention)
    try:
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=client.namespace, workflow_execution_retention_period=keep)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise


async def ensure_search_attributes(client: Client) -> None:
    """Create the search attributes that are missing; safe to call from every process at every start."""
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = {name: kind for name, kind in SEARCH_ATTRIBUTE_TYPES.items() if name not in known.custom_attributes}
    if missing:
        try:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise


async def pollers(client: Client, queue: str, *, workflows: bool = False) -> list[Poller]:
    """Who polls a task queue: the last five minutes, as Temporal remembers them.

    Args:
        client: A connection.
        queue: The task queue, see `bondstone.base.names.pool_queue`.
        workflows: Ask for those that poll for workflow tasks instead of activities.
    """
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    return [
        Poller(
            identity=poller.identity,
            last_seen=poller.last_access_time.ToDatetime(tzinfo=UTC),
            build=poller.deployment_options.build_id,
        )
        for poller in answer.pollers
    ]
