"""The executor worker, `python -m bondstone.workers.executor`: the hands, standing where the credentials are.

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

from bondstone.activities.executors import executor_activities
from bondstone.activities.temporal_watch import Contact
from bondstone.activities.terraform.binary import find_tool
from bondstone.base.errors import BondError
from bondstone.base.names import pool_queue
from bondstone.base.settings import Settings
from bondstone.base.shutdown import leave
from bondstone.executors.registry import load_executors
from bondstone.store import Store
from bondstone.workers import runtime

MAX_ACTIVITIES: Final = 100
"""Executor activities at once in one pool. Each executor bounds its own tool (Terraform by `terraform_slots`);
an activity that waits for its turn is cheap and heartbeats."""

VERSION_SECONDS: Final = 20
"""A cold Terraform may take seconds to say its version."""


async def build(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """One worker for each pool that this process serves."""
    executors = load_executors()
    activities = executor_activities(store, settings, executors, Contact.of(client))
    workers = [
        Worker(
            client,
            task_queue=pool_queue(pool),
            identity=runtime.identity("executor"),
            activities=activities,
            interceptors=runtime.interceptors(),
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
        said = await asyncio.wait_for(_ask_version(find_tool(settings).reading(["version"])), VERSION_SECONDS)
    except (BondError, OSError, TimeoutError) as error:
        said = f"not available: {str(error) or 'it does not answer'}"
    return {"terraform": said}


async def _ask_version(command: list[str]) -> str:
    # Standard input stays open: its end would tell the shim that this worker died.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={**os.environ, "CHECKPOINT_DISABLE": "1"}
    )
    try:
        said = await process.stdout.read() if process.stdout else b""
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace").partition("\n")[0].strip() or f"exit status {process.returncode}"


if __name__ == "__main__":
    leave(runtime.main("executor", build))
