"""Rule 10: replay is forever. Histories of every release are replayed; `tools/histories.py` records them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from bondstone.temporal.payloads import DATA_CONVERTER
from bondstone.workflows import served

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*/*.json"))


def read(file: Path) -> dict:
    return json.loads(file.read_text())


async def replay(document: dict) -> None:
    replayer = Replayer(
        workflows=served.ALL, data_converter=DATA_CONVERTER, workflow_runner=UnsandboxedWorkflowRunner()
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(document["id"], document))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
async def test_rule_10_a_recorded_history_replays(file: Path) -> None:
    await replay(read(file))


def test_every_workflow_type_is_recorded() -> None:
    types = {
        read(file)["events"][0]["workflowExecutionStartedEventAttributes"]["workflowType"]["name"]
        for file in FILES
    }
    assert types == {kind.__name__ for kind in served.ALL}


@pytest.mark.parametrize("kind", ["service", "provision", "decommission"])
async def test_a_workflow_that_went_another_way_is_noticed(kind: str) -> None:
    file = next(
        file for file in FILES if file.stem.endswith(f".{kind}") and "activityTaskScheduled" in file.read_text()
    )
    document = read(file)
    scheduled = [
        event["activityTaskScheduledEventAttributes"]
        for event in document["events"]
        if "activityTaskScheduledEventAttributes" in event
    ]
    scheduled[-1]["activityType"]["name"] = "another.activity"
    with pytest.raises(NondeterminismError):
        await replay(document)
