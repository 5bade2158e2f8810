"""What a Job and its pod say of the run, in the words of a container engine. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from bondstone.activities.clusters.status import condition_of, pod_reason
from bondstone.activities.container.contract import KILLED
from bondstone.activities.container.engine import ContainerState
from bondstone.activities.container.jobs.manifests import STEP

_DEADLINE: Final = "DeadlineExceeded"


def job_state(job: Mapping[str, Any], pod: Mapping[str, Any] | None) -> ContainerState:
    """How far a run is.

    Args:
        job: The Job.
        pod: Its pod; None when there is none, or none any more.
    """
    if (job.get("spec") or {}).get("suspend"):
        return ContainerState("created", 0, out_of_memory=False)
    failed = condition_of(job, "Failed")
    is_over = is_pod_over(pod) or "True" in {condition_of(job, "Complete").get("status"), failed.get("status")}
    ended = step_end(pod)
    if not is_over:
        return ContainerState("running", 0, out_of_memory=False, note=start_note(pod))
    if failed.get("reason") == _DEADLINE:
        allowed = float(job["spec"]["activeDeadlineSeconds"])
        return ContainerState("exited", KILLED, out_of_memory=False, ran_seconds=allowed)
    if not ended:  # the pod was deleted, or lost with its node
        return ContainerState("exited", KILLED, out_of_memory=False)
    return ContainerState(
        "exited",
        int(ended.get("exitCode") or 0),
        out_of_memory=ended.get("reason") == "OOMKilled",
        ran_seconds=_between(str(ended.get("startedAt") or ""), str(ended.get("finishedAt") or "")),
    )


def is_pod_over(pod: Mapping[str, Any] | None) -> bool:
    """Whether a pod ended by itself: its Job says so a second later, since the Job controller waits for more news.

    A pod that is being deleted does not count: of it the Job knows why, such as its deadline.
    """
    is_deleted = bool(((pod or {}).get("metadata") or {}).get("deletionTimestamp"))
    return not is_deleted and ((pod or {}).get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def start_note(pod: Mapping[str, Any] | None) -> str:
    """What keeps the image of a pod from starting, in words; empty once it has begun."""
    has_begun = step_end(pod) or "running" in _step_state(pod)
    return pod_reason(pod) if pod is not None and not has_begun else ""


def step_end(pod: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """How the image's container ended; empty when that is not known."""
    ended: Mapping[str, Any] = _step_state(pod).get("terminated") or {}
    return ended


def _step_state(pod: Mapping[str, Any] | None) -> Mapping[str, Any]:
    statuses = ((pod or {}).get("status") or {}).get("initContainerStatuses") or ()
    return next((status.get("state") or {} for status in statuses if status.get("name") == STEP), {})


def error_file(pod: Mapping[str, Any] | None) -> bytes | None:
    """The `error.json` that an image wrote, as its pod's status has it; None when that holds no such document."""
    text = str(step_end(pod).get("message") or "")
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return text.encode() if isinstance(document, dict) else None


def _between(began: str, ended: str) -> float:
    try:
        first, last = (datetime.fromisoformat(text) for text in (began, ended))
    except ValueError:
        return 0
    return max(0, (last - first).total_seconds())
