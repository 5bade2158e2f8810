"""The SDK's workflow sandbox, and what is loaded once instead of anew for each run in it."""

from __future__ import annotations

from typing import Final

from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PURE_MODULES: Final = (
    "bondstone.base",
    "bondstone.campaign",
    "bondstone.model",
    "bondstone.temporal",
    "annotated_types",
    "pydantic",
    "pydantic_core",
)
"""What workflows stand on, and keeps no state. Not `bondstone` as a whole: that has `bondstone.workflows` in it,
which the sandbox is there to check."""


def sandboxed() -> WorkflowRunner:
    """A runner that loads the workflows anew for each run, and refuses what is not deterministic."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(*PURE_MODULES)
    )
