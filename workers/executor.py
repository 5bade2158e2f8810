"""The executor worker, `python -m bondstone.workers.executor`: the hands, standing where the credentials are.

One process serves each pool in `settings.pools`, with the activities of every installed executor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from temporalio.client import Client
from temporalio.worker import Worker

from bondstone.activities.executors import executor_activities
from bondstone.activities.temporal_watch import TemporalWatch
from bondstone.activities.tooling.sandbox import check, describe
from bondstone.base.errors import BondError
from bondstone.base.names import SERVICE_EXECUTOR, pool_queue
from bondstone.base.platform_file import SANDBOX
from bondstone.base.process_identity import poller_identity
from bondstone.base.processes import leave
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Executor
from bondstone.executors.registry import load_executors
from bondstone.store import Store
from bondstone.workers import runtime
from bondstone.workers.refusals import kept_refusals

MAX_ACTIVITIES: Final = 100
"""Executor activities at once in one pool. Each executor bounds its own tool (Terraform by `terraform_slots`);
an activity that waits for its turn is cheap and heartbeats."""


def main() -> int:
    """Run until told to stop; the exit status."""
    return runtime.main("executor", build)


async def build(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """One worker for each pool that this process serves."""
    check(settings)
    kept_by = describe(settings)
    (runtime.log.warning if kept_by.startswith("none") else runtime.log.info)("tools run", sandbox=kept_by)
    refusals = kept_refusals(store, settings)
    executors = {kind: each for kind, each in load_executors().items() if kind != SERVICE_EXECUTOR}
    activities = executor_activities(store, settings, executors, TemporalWatch.of(client))
    workers = [
        Worker(
            client,
            task_queue=pool_queue(pool),
            identity=poller_identity("executor"),
            activities=activities,
            build_id=runtime.CODE,
            interceptors=[*runtime.interceptors(settings), *refusals],
            max_concurrent_activities=MAX_ACTIVITIES,
            max_heartbeat_throttle_interval=runtime.HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=runtime.drain(settings),
        )
        for pool in settings.pools
    ]
    return runtime.Serving(
        workers=workers,
        queues={pool_queue(pool): False for pool in settings.pools},
        facts=partial(_versions, executors, settings),
        beside=refusals[0].keep if refusals else None,
    )


async def _versions(executors: Mapping[str, Executor], settings: Settings) -> dict[str, str]:
    """The versions of the tools by executor and what they run in, for `bond status`."""
    versions = await asyncio.gather(*(_version(executor, settings) for executor in executors.values()))
    known_versions = {kind: version for kind, version in zip(executors, versions, strict=True) if version}
    return {**known_versions, SANDBOX: describe(settings)}


async def _version(executor: Executor, settings: Settings) -> str:
    try:
        return await executor.version(settings)
    except BondError as error:
        return f"not available: {error.message}"


if __name__ == "__main__":
    leave(main())
