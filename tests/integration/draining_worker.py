"""A worker process for `test_worker_runtime`: one workflow, activities that sleep politely or stubbornly."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bondstone.base.process_identity import poller_identity
from bondstone.workers import runtime

QUEUE = "draining"


def mark(text: str) -> None:
    """Tell the test how far we are."""
    Path(sys.argv[1]).write_text(text)


@activity.defn(name="sleep")
async def sleep(seconds: float) -> str:
    """Take some time; say when it began."""
    mark("began")
    await asyncio.sleep(seconds)
    return "slept"


@activity.defn(name="stubborn")
async def stubborn(seconds: float) -> str:
    """Take some time, deaf to cancellation."""
    mark("began")
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        try:
            await asyncio.sleep(end - loop.time())
        except asyncio.CancelledError:
            mark("cancelled")
    return "slept"


@workflow.defn(name="RunOne")
class RunOne:
    """Runs one activity."""

    @workflow.run
    async def run(self, name: str, seconds: float) -> str:
        """Run it once."""
        result: str = await workflow.execute_activity(
            name, seconds, start_to_close_timeout=timedelta(seconds=60), result_type=str
        )
        return result


async def build(client, _store, settings):
    worker = Worker(
        client,
        task_queue=QUEUE,
        identity=poller_identity("draining"),
        workflows=[RunOne],
        activities=[sleep, stubborn],
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=runtime.drain(settings),
    )
    return runtime.Serving(workers=[worker], queues={QUEUE: True}, facts=facts)


async def facts():
    return {"tool": "1.2"}


if __name__ == "__main__":
    runtime.CANCEL_SECONDS = float(sys.argv[2])
    sys.exit(runtime.main("draining", build))
