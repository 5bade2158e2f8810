"""The floor of an operation: what Bondstone's rules make durable, by the bare SDK, and nothing else.

A service that outlives its operations and takes a request by update-with-start; a child workflow for the
operation; three activities that are durable points (plan, apply, ledger); three more within workflow tasks
(resolve, policy, outputs); the search attributes that lists and campaigns choose by. A plan is kept as one sealed
file, of which the digest is compared before it is applied, and a record as one file, both flushed to the disk.
The payloads are nearly empty, nothing else is done, and nobody is told more than that the operation has ended.
Events and workflow tasks are as many as a provision of one step has, which `benchmarks.throughput` prints of both.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from temporalio import activity, workflow
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base import names
from bondstone.base.files import write_durably
from bondstone.store.crypto import KEY_BYTES, KeyRing
from harness.waiting import until_async

WORKFLOW_QUEUE: Final = "bare-workflows"
TOOL_QUEUE: Final = "bare-tools"
NOOP: Final = "noop"
"""The activity that does nothing."""
PLAN: Final = "durable-plan"
"""The activity that keeps a plan."""
APPLY: Final = "durable-apply"
"""The activity that reads it again."""
RECORD: Final = "durable-record"
"""The activity that keeps a record."""

_ARTEFACT: Final = b"-"
_PATIENCE: Final = timedelta(seconds=300)
_PHASE: Final = SearchAttributeKey.for_keyword(names.SA_PHASE)
_READY: Final = "ready"
_SERVICE_KEYWORDS: Final = (names.SA_TEAM, names.SA_SERVICE, names.SA_PROMISE, names.SA_REVISION, names.SA_HEALTH)


@workflow.defn
class DurableService:
    """Takes requests, runs each as a child workflow, writes a record of it, and waits for the next."""

    def __init__(self) -> None:
        self._accepted = 0
        self._ended = 0
        self._repliers: dict[int, tuple[str, int]] = {}

    @workflow.run
    async def run(self) -> None:
        """Until it is terminated with its server."""
        while True:
            await workflow.wait_condition(lambda: self._accepted > self._ended)
            await self._operate(self._ended + 1)

    @workflow.update
    async def request(self, verb: str) -> int:
        """Accept an operation; its number."""
        del verb
        return await self._accept()

    @request.validator
    def _validate_request(self, verb: str) -> None:
        if not verb:
            raise ValueError("no verb")  # the rule that every request is checked before it is in a history

    @workflow.signal
    async def submit(self, reply_to: str, target: int) -> None:
        """A parent requests an operation, and hears when it is accepted and when it has ended."""
        self._repliers[await self._accept()] = reply_to, target
        await _reply(reply_to, target, finished=False)

    async def _accept(self) -> int:
        await _within_task()
        self._accepted += 1
        return self._accepted

    async def _operate(self, number: int) -> None:
        _show("provisioning")
        me = workflow.info().workflow_id
        await workflow.execute_child_workflow(
            DurableOperation.run,
            id=f"{me}/op/{number}",
            search_attributes=TypedSearchAttributes(
                [SearchAttributePair(SearchAttributeKey.for_keyword(name), me) for name in _SERVICE_KEYWORDS]
            ),
        )
        await _on(WORKFLOW_QUEUE, RECORD, f"{me}/{number}")
        self._ended = number
        _show(_READY)
        if (replier := self._repliers.pop(number, None)) is not None:
            await _reply(*replier, finished=True)


@workflow.defn
class DurableOperation:
    """One step: plan, policy, apply, outputs."""

    @workflow.run
    async def run(self) -> None:
        """Plan and apply where the tool is, the rest within workflow tasks."""
        key = f"plans/{workflow.info().workflow_id}"
        digest = await _on(TOOL_QUEUE, PLAN, key)
        await _within_task()
        await _on(TOOL_QUEUE, APPLY, key, digest)
        await _within_task()


class Kept:
    """What the rules keep of an operation.

    Args:
        root: Where it is kept.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._keys = KeyRing(active="floor", keys={"floor": bytes(KEY_BYTES)})  # of all processes that keep here

    @activity.defn(name=PLAN)
    async def plan(self, key: str) -> str:
        """Keep a plan; its digest."""
        write_durably(self._root, key, self._keys.seal(_ARTEFACT, key=key), create=False)
        return hashlib.sha256(_ARTEFACT).hexdigest()

    @activity.defn(name=APPLY)
    async def apply(self, key: str, digest: str) -> None:
        """Read the plan that has this digest."""
        if hashlib.sha256(self._keys.unseal((self._root / key).read_bytes(), key=key)).hexdigest() != digest:
            raise ValueError("another plan")

    @activity.defn(name=RECORD)
    async def record(self, key: str) -> None:
        """Keep a record."""
        write_durably(self._root, f"records/{key}", _ARTEFACT, create=True)


async def operate(client: Client, name: str) -> None:
    """Request one operation of a new service, and wait until it is on record."""
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        DurableService.run,
        id=name,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    number = await client.execute_update_with_start_workflow(
        DurableService.request, "provision", start_workflow_operation=start
    )
    await _ended(client, f"{name}/op/{number}")

    async def is_ready() -> bool:
        described = await client.get_workflow_handle(name).describe()
        return described.typed_search_attributes.get(_PHASE) == _READY

    await until_async(is_ready, f"{name} ready")


async def _ended(client: Client, operation: str) -> None:
    """Wait until a child has ended that is just being started."""

    async def ended() -> bool:
        try:
            await client.get_workflow_handle(operation).result()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    await until_async(ended, f"the end of {operation}")


async def _on(queue: str, name: str, *arguments: str) -> str:
    kept: str = await workflow.execute_activity(
        name, args=arguments, task_queue=queue, start_to_close_timeout=_PATIENCE
    )
    return kept


async def _within_task() -> None:
    await workflow.execute_local_activity(NOOP, start_to_close_timeout=_PATIENCE)


async def _reply(parent: str, target: int, *, finished: bool) -> None:
    await workflow.get_external_workflow_handle(parent).signal("reply", args=[target, finished])


def _show(phase: str) -> None:
    me = workflow.info().workflow_id
    updates: list[SearchAttributeUpdate[Any]] = [
        SearchAttributeKey.for_keyword(name).value_set(me) for name in (*_SERVICE_KEYWORDS, names.SA_OPERATION)
    ]
    updates.append(_PHASE.value_set(phase))
    updates.append(SearchAttributeKey.for_keyword_list(names.SA_LABELS).value_set(["rank=0"]))
    changed_at = SearchAttributeKey.for_datetime(names.SA_CHANGED_AT)
    updates.append(changed_at.value_set(workflow.now()))
    workflow.upsert_search_attributes(updates)
