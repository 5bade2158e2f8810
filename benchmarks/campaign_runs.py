"""One campaign of a benchmark, or what the bare SDK does in its place, from start to end and what it took."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from temporalio.client import Client

from bondstone.base import names
from bondstone.client.direct.client import DirectClient
from bondstone.model.campaign.run import CampaignDescription
from harness import processes

MEMORY_SECONDS = 0.5
SPEC = "  outputs:\n    name: {value: '${service.name}'}\n  steps:\n    - id: main\n      noop: {}\n"
CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, reason: benchmark}}
spec:
  operation: patch
  promise: noop
  to: {to}
  select: {{where: "{where}"}}
  max_concurrent: {at_once}
  waves:
    - {{name: all, rest: true}}
"""


@dataclass(frozen=True)
class Took:
    """What something took, all its targets together."""

    seconds: float
    cpu: Mapping[str, float]
    """CPU seconds by process."""
    memory: Mapping[str, float]
    """The most MiB by process."""


@dataclass(frozen=True)
class Grown:
    """The history of a workflow, all its runs together."""

    runs: int
    events: int
    size: int
    """Bytes."""


async def timed(work: Awaitable[None], watched: Mapping[str, psutil.Process]) -> Took:
    """Await something and watch processes while it lasts."""
    memory = dict.fromkeys(watched, 0.0)
    before = {who: processes.cpu_seconds(process) for who, process in watched.items()}
    watching = asyncio.create_task(_watch_memory(watched, memory))
    began = time.monotonic()
    try:
        await work
    finally:
        seconds = time.monotonic() - began
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    cpu = {who: processes.cpu_seconds(process) - before[who] for who, process in watched.items()}
    return Took(seconds, cpu, memory)


async def carried_out(bond: DirectClient, document: bytes, name: str, targets: int) -> None:
    """Start a campaign and wait until each of its targets has succeeded.

    Raises:
        RuntimeError: it ended otherwise.
    """
    await bond.campaigns.run(document, "benchmark.yaml")
    handle = (await bond.connection.temporal()).get_workflow_handle(
        names.campaign_workflow_id(name), result_type=CampaignDescription
    )
    ended = await handle.result()
    if ended.counts != {"succeeded": targets}:
        raise RuntimeError(f"campaign {name} ended otherwise: {ended.counts}")


async def grown(client: Client, workflow_id: str) -> Grown:
    """How long the history of a workflow is that may have continued as new."""
    runs = events = size = 0
    run_id = (await client.get_workflow_handle(workflow_id).describe()).run_id
    while run_id:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        info = (await handle.describe()).raw_description.workflow_execution_info
        first = await anext(aiter(handle.fetch_history_events(page_size=1)))
        runs, events, size = runs + 1, events + info.history_length, size + info.history_size_bytes
        run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id
    return Grown(runs, events, size)


def campaign(name: str, where: str, to: str, at_once: int) -> bytes:
    """A campaign of no-op patches."""
    return CAMPAIGN.format(name=name, where=where, to=to, at_once=at_once).encode()


def promise(directory: Path, patch: int) -> Path:
    """The promise of a tool that does nothing, as its patch of this number."""
    version = f"1.0.{patch}"
    return processes.write_promise(directory / f"promise-{version}", "noop", {}, SPEC, version=version)


async def _watch_memory(watched: Mapping[str, psutil.Process], most: dict[str, float]) -> None:
    while True:
        for who, process in watched.items():
            most[who] = max(most[who], processes.resident_mib(process))
        await asyncio.sleep(MEMORY_SECONDS)
