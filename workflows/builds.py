"""Builds of the control workers: how what lives for long moves from one to the next.

Workflows are pinned: a run ends on the build that began it, so that no build has to understand half a run of
another. Services and campaigns live longer than any build. They continue as new when another build is to have
them, and the new run begins there. What they carry over is a wire model, which every build reads.
"""

from __future__ import annotations

from typing import Any, NoReturn

from temporalio import workflow


def outdated() -> bool:
    """Whether another build is to have this workflow from its next run on, as of this workflow task."""
    return workflow.info().is_target_worker_deployment_version_changed()


def next_run(carried: Any) -> NoReturn:
    """Continue as new, on the build that is to have new work; without builds, on any worker."""
    workflow.continue_as_new(
        carried, initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
    )
