"""Builds of the control workers as Temporal knows them: versions of one worker deployment.

In Temporal's words, a platform's control workers are one *worker deployment* (`deployment` in the settings), a
build is a *version* of it (`build_id`), and new work goes to its *current version*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus as Status
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base import names
from bondstone.model.rows import BuildStatus

LIVES_ON: Final = (names.SERVICE_WORKFLOW, names.CAMPAIGN_WORKFLOW)
"""Workflows that outlive a build: told that another has taken over, they move to it."""

_STATUS: Final[dict[int, BuildStatus]] = {
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: "current",
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: "ramping",
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: "draining",
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: "drained",
}


@dataclass(frozen=True, slots=True)
class Build:
    """One build.

    Args:
        name: Its build id.
        status: `new` was never promoted; `current` gets all new work, or what `ramping` leaves; `draining` gets
            none and may still hold some; `drained` holds nothing, as Temporal found when it last looked.
        percent: The part of new work that a ramping build gets.
        first_seen: When one of its workers first polled.
    """

    name: str
    status: BuildStatus
    percent: float
    first_seen: datetime


async def find_builds(client: Client, deployment: str) -> list[Build]:
    """The builds whose workers have ever polled, oldest first; none when no worker has a build.

    Raises:
        RPCError: whatever Temporal says but that there are none.
    """
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
    try:
        answer = await client.workflow_service.describe_worker_deployment(request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return []
        raise
    builds = [
        _build(each, answer.worker_deployment_info) for each in answer.worker_deployment_info.version_summaries
    ]
    return sorted(builds, key=lambda build: build.first_seen)


async def are_settled(client: Client, deployment: str) -> bool:
    """Whether every part of the server has heard of the last change of what gets new work."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
    answer = await client.workflow_service.describe_worker_deployment(request)
    state = answer.worker_deployment_info.routing_config_update_state
    return state != RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS


def held_by(deployment: str, build: str, workflows: Iterable[str] = ()) -> str:
    """The visibility query for what a build holds: runs that began on it and have not ended.

    Args:
        deployment: The worker deployment.
        build: Its build; empty for runs of workers without builds.
        workflows: Workflow types; all of them when empty.
    """
    version = f"= '{deployment}:{build}'" if build else "IS NULL"
    types = ", ".join(f"'{name}'" for name in workflows)
    query = f"ExecutionStatus = 'Running' AND TemporalWorkerDeploymentVersion {version}"
    return f"{query} AND WorkflowType IN ({types})" if types else query


def _build(
    summary: WorkerDeploymentInfo.WorkerDeploymentVersionSummary, deployment: WorkerDeploymentInfo
) -> Build:
    status = _STATUS.get(summary.status, "new")
    percent = deployment.routing_config.ramping_version_percentage if status == "ramping" else 0.0
    return Build(
        name=summary.deployment_version.build_id,
        status=status,
        percent=round(percent, 2),
        first_seen=_time(summary.create_time),
    )


def _time(at: Timestamp) -> datetime:
    return at.ToDatetime(tzinfo=UTC)
