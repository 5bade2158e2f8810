"""Builds of the control workers, by Temporal's own records. `Bondstone.workers`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base import names
from bondstone.base.errors import InvalidInput, NotFound, Refused
from bondstone.client.documents.worker import BuildDocument, EvictedDocument, HeldDocument
from bondstone.temporal.builds import LIVES_ON, Build, are_settled, find_builds, held_by
from bondstone.temporal.calls import as_ours
from bondstone.temporal.connection import POLLER_FRESH_SECONDS, pollers, reason

POLLING_WITHIN_SECONDS: Final = 60
"""How long Temporal may take to see a new build's workers poll for everything that the old ones do."""

HEARD_WITHIN_SECONDS: Final = 30
"""How long to wait until all parts of the server have heard which build is current."""

AT_ONCE: Final = 16
"""Workflows that are moved at once."""

_NOTHING: Final = HeldDocument(services=0, operations=0, campaigns=0)


class Builds:
    """Builds as versions of one worker deployment in Temporal; see `Workers` for the verbs.

    Args:
        temporal: The connection to Temporal.
        deployment: Name of the platform's worker deployment.
        by: Who asks.
    """

    def __init__(self, temporal: Client, deployment: str, *, by: str) -> None:
        self._temporal = temporal
        self._deployment = deployment
        self._by = by

    async def list(self) -> list[BuildDocument]:
        """As `Workers.list`."""
        builds = await self._find()
        workers = await self._workers()
        shown = [
            BuildDocument(
                build=build.name,
                status=build.status,
                percent=build.percent,
                workers=workers[build.name],
                holds=await self._holds(build.name),
                first_seen=build.first_seen,
            )
            for build in builds
        ]
        current = any(build.status == "current" for build in builds)
        without = BuildDocument(
            build="",
            status="draining" if current else "current",
            percent=0.0,
            workers=workers[""],
            holds=await self._holds(""),
            first_seen=None,
        )
        return [without, *shown] if without.workers or without.holds != _NOTHING else shown

    async def promote(self, build: str, *, percent: float | None = None) -> None:
        """As `Workers.promote`."""
        if percent is not None and not 0 < percent <= 100:  # noqa: PLR2004 - percent
            raise InvalidInput(f"{percent:g} % of new work cannot be given", hint="more than 0, at most 100")
        known = self._known(build, await self._find())
        if percent is not None and known.status == "current":
            raise Refused(f"build {build} has all new work already", hint="ramp the build that is to follow it")
        if percent is not None:
            await self._ramp(build, percent)
        else:
            await self._once_it_polls(
                build,
                lambda: self._temporal.workflow_service.set_worker_deployment_current_version(
                    SetWorkerDeploymentCurrentVersionRequest(
                        namespace=self._temporal.namespace,
                        deployment_name=self._deployment,
                        build_id=build,
                        identity=self._by,
                    )
                ),
            )
            if any(other.status == "ramping" for other in await self._find()):
                await self._ramp("", 0)
        await self._once_it_is_heard()

    async def evict(self, build: str) -> EvictedDocument:
        """As `Workers.evict`."""
        builds = await self._find()
        if self._known(build, builds).status in {"current", "ramping"}:
            raise Refused(f"build {build} gets new work", hint="promote the build that is to follow it first")
        current = next((each.name for each in builds if each.status == "current"), None)
        if current is None:
            raise Refused("no build is current", hint="`bond worker promote BUILD` first")
        moved: Counter[str] = Counter()
        turn = asyncio.Semaphore(AT_ONCE)

        async def move(run: WorkflowExecution) -> None:
            async with turn:
                if await self._move(run, current):
                    moved[run.workflow_type] += 1

        try:
            runs = [run async for run in self._temporal.list_workflows(held_by(self._deployment, build))]
            await asyncio.gather(*(move(run) for run in runs))
        except RPCError as error:
            raise as_ours(error, "") from error
        return EvictedDocument(build=build, to=current, moved=_counted(moved))

    async def _find(self) -> Sequence[Build]:
        try:
            return await find_builds(self._temporal, self._deployment)
        except RPCError as error:
            raise as_ours(error, "") from error

    def _known(self, build: str, builds: Sequence[Build]) -> Build:
        for each in builds:
            if each.name == build:
                return each
        known = f"known are {', '.join(each.name for each in builds)}" if builds else "no control worker has one"
        raise NotFound(
            f"there is no build {build!r}", hint=f"{known}; a worker of BOND_BUILD_ID={build} has to poll first"
        )

    async def _workers(self) -> Counter[str]:
        """How many workers of each build poll."""
        fresh = datetime.now(UTC) - timedelta(seconds=POLLER_FRESH_SECONDS)
        recent = await pollers(self._temporal, names.CONTROL_QUEUE, workflows=True)
        return Counter(
            build for _, build in {(each.identity, each.build) for each in recent if each.last_seen > fresh}
        )

    async def _holds(self, build: str) -> HeldDocument:
        async def count(*workflows: str) -> int:
            return (await self._temporal.count_workflows(held_by(self._deployment, build, workflows))).count

        try:
            return HeldDocument(
                services=await count(names.SERVICE_WORKFLOW),
                operations=await count(*names.OPERATION_WORKFLOWS.values()),
                campaigns=await count(names.CAMPAIGN_WORKFLOW, names.SCHEDULED_CAMPAIGN_WORKFLOW),
            )
        except RPCError as error:
            raise as_ours(error, "") from error

    async def _ramp(self, build: str, percent: float) -> None:
        request = SetWorkerDeploymentRampingVersionRequest(
            namespace=self._temporal.namespace,
            deployment_name=self._deployment,
            build_id=build,
            percentage=percent,
            identity=self._by,
        )
        await self._once_it_polls(
            build, lambda: self._temporal.workflow_service.set_worker_deployment_ramping_version(request)
        )

    async def _once_it_polls(self, build: str, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask, and again while Temporal has not seen the build's workers poll for all that the old ones do."""
        deadline = asyncio.get_running_loop().time() + POLLING_WITHIN_SECONDS
        while True:
            try:
                await ask()
            except RPCError as error:
                if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                    raise as_ours(error, "") from error
                if asyncio.get_running_loop().time() > deadline:
                    raise Refused(
                        f"build {build} cannot get new work: {reason(error.message)}",
                        hint="`bond worker list` says whether its workers poll",
                    ) from error
            else:
                return
            await asyncio.sleep(0.5)

    async def _once_it_is_heard(self) -> None:
        """What is asked from here on finds the new build. A server that takes long gets there by itself."""
        deadline = asyncio.get_running_loop().time() + HEARD_WITHIN_SECONDS
        try:
            while not await are_settled(self._temporal, self._deployment):
                if asyncio.get_running_loop().time() > deadline:
                    return
                await asyncio.sleep(0.2)
        except RPCError as error:
            raise as_ours(error, "") from error

    async def _move(self, run: WorkflowExecution, build: str) -> bool:
        """Give one run's next task to a build; False when it has ended meanwhile."""
        request = UpdateWorkflowExecutionOptionsRequest(
            namespace=self._temporal.namespace,
            workflow_execution=Execution(workflow_id=run.id, run_id=run.run_id),
            workflow_execution_options=WorkflowExecutionOptions(
                versioning_override=VersioningOverride(
                    one_time=VersioningOverride.OneTimeOverride(
                        target_deployment_version=WorkerDeploymentVersion(
                            deployment_name=self._deployment, build_id=build
                        )
                    )
                )
            ),
            update_mask=FieldMask(paths=["versioning_override"]),
            identity=self._by,
        )
        try:
            await self._temporal.workflow_service.update_workflow_execution_options(request)
            if run.workflow_type in LIVES_ON:  # the task that this makes is what moves it
                await self._temporal.get_workflow_handle(run.id, run_id=run.run_id).signal(names.SIGNAL_MOVE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True


def _counted(moved: Counter[str]) -> HeldDocument:
    return HeldDocument(
        services=moved[names.SERVICE_WORKFLOW],
        operations=sum(moved[name] for name in names.OPERATION_WORKFLOWS.values()),
        campaigns=moved[names.CAMPAIGN_WORKFLOW] + moved[names.SCHEDULED_CAMPAIGN_WORKFLOW],
    )
