"""The control worker, `python -m bondstone.workers.control`: runs workflows and the cheap activities around them.

It holds no credentials of the tools. Run as many as there are cores to spare for workflows.
"""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig, WorkflowRunner

from bondstone.activities.control import control_activities
from bondstone.base.names import CONTROL_QUEUE
from bondstone.base.process_identity import poller_identity
from bondstone.base.processes import leave
from bondstone.base.settings import Settings
from bondstone.store import Store
from bondstone.temporal.sandbox import sandboxed
from bondstone.workers import attestation, runtime
from bondstone.workers.build_drain import keep_moving
from bondstone.workers.refusals import kept_refusals
from bondstone.workflows import served

MAX_WORKFLOW_TASKS: Final = 8
"""Workflow tasks at once. They are CPU-bound in one thread each; more only wait for the interpreter lock."""

MAX_ACTIVITIES: Final = 64
"""Control activities at once: small reads and writes of the store, and health probes that mostly wait."""


def workflow_runner(settings: Settings) -> WorkflowRunner:
    """Unsandboxed in production: the sandbox costs, and the tests run every workflow inside it."""
    return sandboxed() if settings.workflow_sandbox else UnsandboxedWorkflowRunner()


def deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """Which build this worker is; None when it has none.

    A run ends on the build that began it; what lives longer moves between two runs (`bondstone.workflows.builds`).
    """
    if not settings.build_id:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.deployment, settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


def main() -> int:
    """Run until told to stop; the exit status."""
    return runtime.main("control", build, fast_loop)


def fast_loop() -> asyncio.AbstractEventLoop:
    """An event loop of libuv: the SDK passes each workflow task from thread to thread, and this costs it less."""
    import uvloop  # noqa: PLC0415 - of the extra that `runtime.main` requires

    return uvloop.new_event_loop()


async def build(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """The control worker on its queue."""
    signer = await attestation.open_signer(store, settings)
    refusals = kept_refusals(store, settings)

    async def beside() -> None:
        movers = [keep_moving(client, settings)] if settings.build_id else []
        await asyncio.gather(attestation.keep_demanding(store), *(each.keep() for each in refusals), *movers)

    worker = Worker(
        client,
        task_queue=CONTROL_QUEUE,
        identity=poller_identity("control"),
        workflows=served.ALL,
        activities=control_activities(client, store, settings, signer),
        workflow_runner=workflow_runner(settings),
        interceptors=[*runtime.interceptors(settings), *refusals],
        deployment_config=deployment(settings),
        build_id=None if settings.build_id else runtime.CODE,
        max_concurrent_workflow_tasks=MAX_WORKFLOW_TASKS,
        max_concurrent_activities=MAX_ACTIVITIES,
        max_heartbeat_throttle_interval=runtime.HEARTBEAT_THROTTLE,
        graceful_shutdown_timeout=runtime.drain(settings),
    )
    return runtime.Serving(
        workers=[worker],
        queues={CONTROL_QUEUE: True},
        beside=beside,
    )


if __name__ == "__main__":
    leave(main())
