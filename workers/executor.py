"""The executor worker, `python -m workers.executor`: the hands, standing where the credentials are.

One process serves each pool in `settings.pools`, with the activities of every installed executor.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from functools import partial
from typing import Final

from temporalio.client import Client
from temporalio.worker import Worker

from activities.executors import executor_activities
from activities.terraform.binary import find_tool
from bondstone.errors import BondError
from bondstone.executor import load_executors
from bondstone.leaving import leave
from bondstone.names import pool_queue
from bondstone.settings import Settings
from bondstone.store import Store
from workers import runtime

MAX_ACTIVITIES: Final = 100
"""Executor activities at once in one pool. Each executor bounds its own tool (Terraform by `terraform_slots`);
an activity that waits for its turn is cheap and heartbeats."""

VERSION_SECONDS: Final = 20
"""A cold Terraform may take seconds to say its version."""


async def build(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """One worker for each pool that this process serves."""
    executors = load_executors()
    activities = executor_activities(store, settings, executors)
    workers = [
        Worker(
            client,
            task_queue=pool_queue(pool),
            identity=runtime.identity("executor"),
            activities=activities,
            max_concurrent_activities=MAX_ACTIVITIES,
            graceful_shutdown_timeout=runtime.drain(settings),
        )
        for pool in settings.pools
    ]
    return runtime.Serving(
        workers=workers,
        queues={pool_queue(pool): False for pool in settings.pools},
        facts=partial(_versions, settings),
    )


async def _versions(settings: Settings) -> dict[str, str]:
    """What `bond status` says of the tools."""
    try:
        command = find_tool(settings).command(["version"])
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env={**os.environ, "CHECKPOINT_DISABLE": "1"}
        )
        said, _ = await asyncio.wait_for(process.communicate(), VERSION_SECONDS)
    except (BondError, OSError, TimeoutError) as error:
        return {"terraform": f"not available: {error}"}
    return {"terraform": said.decode(errors="replace").partition("\n")[0]}


if __name__ == "__main__":
    leave(runtime.main("executor", build))
