"""A control worker of a build that gets no new work tells what it still holds to move on.

A workflow learns from its next workflow task that another build is to have it, and an idle service has none. So
the old build, which has to run until it holds nothing anyway, sends each service and campaign one signal. Whoever
promoted the new build, and however, has nothing else to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base import names
from bondstone.base.settings import Settings
from bondstone.temporal.builds import LIVES_ON, find_builds, held_by

LOOK_SECONDS: Final = 10
"""How often a worker asks whether its build still gets new work."""

AT_ONCE: Final = 8
"""Signals at once: a fleet of ten thousand moves within minutes, beside its daily work."""

log = structlog.get_logger(__name__)


async def keep_moving(client: Client, settings: Settings) -> None:
    """Look again and again, and move what is there while this build drains; until cancelled.

    Each run is told once by each worker: one that is busy moves when its operation has ended.
    """
    told: set[str] = set()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            if await _drains(client, settings):
                await _tell(client, settings, told)
            else:
                told.clear()
        except RPCError as error:
            log.warning("cannot see which build gets new work", error=error.message)


async def _drains(client: Client, settings: Settings) -> bool:
    builds = await find_builds(client, settings.deployment)
    return any(build.name == settings.build_id and build.status in {"draining", "drained"} for build in builds)


async def _tell(client: Client, settings: Settings, told: set[str]) -> None:
    query = held_by(settings.deployment, settings.build_id, LIVES_ON)
    runs = {run.run_id: run.id async for run in client.list_workflows(query) if run.run_id not in told}
    if not runs:
        return
    log.info("another build has taken over", moving=len(runs))
    waiting = iter(runs.items())

    async def feed(waiting: Iterable[tuple[str, str]]) -> None:
        for run_id, workflow_id in waiting:
            try:
                await client.get_workflow_handle(workflow_id, run_id=run_id).signal(names.SIGNAL_MOVE)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # it has moved, or ended
                    raise
            told.add(run_id)

    await asyncio.gather(*(feed(waiting) for _ in range(AT_ONCE)))
