"""What `bond doctor` calls stuck, out of what Temporal says of a workflow."""

from __future__ import annotations

from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from bondstone.client.direct.doctor import MANY_ATTEMPTS, MANY_TASKS, stuck


def described(*, activity: int = 1, task: int = 1) -> DescribeWorkflowExecutionResponse:
    pending = PendingActivityInfo(attempt=activity)
    pending.activity_type.name = "terraform.apply"
    pending.last_failure.message = "no such bucket"
    return DescribeWorkflowExecutionResponse(
        pending_activities=[pending], pending_workflow_task=PendingWorkflowTaskInfo(attempt=task)
    )


def test_a_few_attempts_are_no_trouble():
    assert stuck(described(activity=MANY_ATTEMPTS - 1, task=MANY_TASKS - 1)) == []


def test_an_activity_in_many_attempts_is_named_with_its_last_failure():
    assert stuck(described(activity=MANY_ATTEMPTS)) == [
        f"terraform.apply is in attempt {MANY_ATTEMPTS}: no such bucket"
    ]


def test_a_workflow_that_its_worker_cannot_go_on_with_is_named():
    [sentence] = stuck(described(task=MANY_TASKS))
    assert "control worker has failed 2 times in a row" in sentence
