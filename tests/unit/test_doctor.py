"""What `bond doctor` says of an access document, and calls stuck out of what Temporal says of a workflow."""

from __future__ import annotations

import pytest
import yaml
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from bondstone.client.direct.doctor import MANY_ATTEMPTS, MANY_TASKS, access, stuck
from bondstone.model.identity import AccessDocument
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects

ACCESS = """\
apiVersion: bondstone.dev/v1
kind: Access
metadata: {reason: the first one}
spec:
  grants:
    - {roles: [viewer], scope: everything, subjects: [{user: ada}]}
    - roles: [developer]
      scope:%s
      subjects: [{user: eve}]
"""


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


@pytest.mark.parametrize(
    ("scope", "status", "words"),
    [(" everything", "ok", "document 1 is in force"), ("", "problem", "document 1:8:7: the scope is empty")],
)
async def test_a_scope_that_an_earlier_version_took_for_everything_is_named(tmp_path, scope, status, words):
    store = Store(await Objects.open(f"file://{tmp_path}"), KeyRing.generate())
    [none] = await access(store)
    assert (none.status, none.message) == ("ok", "no access document is published")
    source = ACCESS % scope
    await store.access.publish(AccessDocument.model_validate(yaml.safe_load(source)), source=source, by="ada")
    [finding] = await access(store)
    assert finding.status == status
    assert finding.message.startswith(words)
