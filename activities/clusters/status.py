"""What the status of an object says: whether it is as far as it should be, and why not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_REASONS: Final = 20
ROLLED_OUT: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CustomResourceDefinition"})
"""Kinds whose status says when they are ready."""

_REASON_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class ObjectVerdict:
    """What is to be said of an object that something is waited for of."""

    done: bool
    why: str = ""
    """What is missing, in words."""
    failed: bool = False
    """It will not come any more."""


def rollout(item: Mapping[str, Any]) -> ObjectVerdict:
    """Whether a workload is rolled out, a Job complete, a definition served; anything else is at once.

    As `kubectl rollout status` and `kubectl wait` judge (Kubernetes API reference, the kinds' status).
    """
    kind, spec, status = str(item.get("kind")), item.get("spec") or {}, item.get("status") or {}
    behind = int(status.get("observedGeneration") or 0) < int((item.get("metadata") or {}).get("generation") or 0)
    if kind in _WORKLOADS:
        return ObjectVerdict(False, "not seen by its controller yet") if behind else _WORKLOADS[kind](spec, status)
    match kind:
        case "Job":
            if (failed := condition_of(item, "Failed")).get("status") == "True":
                return ObjectVerdict(False, f"the Job failed: {_words(failed)}", failed=True)
            return has_condition(item, "Complete", "True")
        case "CustomResourceDefinition":
            return has_condition(item, "Established", "True")
        case _:
            return ObjectVerdict(True)


def condition_of(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A condition of an object's status; empty when it is not there."""
    for condition in (item.get("status") or {}).get("conditions") or ():
        if isinstance(condition, Mapping) and str(condition.get("type", "")).lower() == name.lower():
            return condition
    return {}


def has_condition(item: Mapping[str, Any], name: str, status: str) -> ObjectVerdict:
    """Whether a condition of an object's status is what it should be."""
    condition = condition_of(item, name)
    if str(condition.get("status", "")).lower() == status.lower():
        return ObjectVerdict(True)
    if not condition:
        return ObjectVerdict(False, f"its status has no condition {name} yet")
    return ObjectVerdict(
        False, cut(f"condition {name} is {condition.get('status')}, not {status}: {_words(condition)}")
    )


def pod_reason(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready, in words; empty when it is."""
    status = pod.get("status") or {}
    name = (pod.get("metadata") or {}).get("name")
    if condition_of(pod, "Ready").get("status") == "True" or status.get("phase") == "Succeeded":
        return ""
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        state = container.get("state") or {}
        for detail in (state.get("waiting"), state.get("terminated")):
            if detail and detail.get("reason") not in {"PodInitializing", "Completed"}:
                code = f" (exit code {detail['exitCode']})" if detail.get("exitCode") else ""
                return cut(f"pod {name}, container {container.get('name')}: {_words(detail)}{code}")
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return cut(f"pod {name} is not scheduled: {_words(scheduled)}")
    ready = condition_of(pod, "Ready")
    return cut(f"pod {name} is {status.get('phase') or 'new'}{': ' + _words(ready) if ready else ''}")


def stuck_reason(item: Mapping[str, Any]) -> str:
    """Why an object that was deleted is still there, in words."""
    metadata = item.get("metadata") or {}
    finalizers = [str(name) for name in metadata.get("finalizers") or ()]
    finalizers += [
        str(name) for name in (item.get("spec") or {}).get("finalizers") or () if item.get("kind") == "Namespace"
    ]
    since = metadata.get("deletionTimestamp")
    if not since:
        return "its deletion has not begun"
    if finalizers == ["foregroundDeletion"]:
        return f"being deleted since {since}: what it owns is still there"
    words = f"being deleted since {since}: " + (
        f"waits for finalizer {', '.join(finalizers)}" if finalizers else "its grace period is not over"
    )
    left = [
        _words(condition)
        for condition in (item.get("status") or {}).get("conditions") or ()
        if condition.get("status") == "True" and item.get("kind") == "Namespace"
    ]
    return cut("; ".join([words, *left]))


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> ObjectVerdict:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return ObjectVerdict(False, f"the rollout made no progress: {_words(condition)}", failed=True)
    wanted = int(1 if spec.get("replicas") is None else spec["replicas"])
    if wanted and spec.get("paused"):
        return ObjectVerdict(False, "the Deployment is paused")
    updated, total, available = (
        _count(status, key) for key in ("updatedReplicas", "replicas", "availableReplicas")
    )
    if updated < wanted:
        return ObjectVerdict(False, f"{updated} of {wanted} replicas are updated")
    if total > updated:
        return ObjectVerdict(False, f"{total - updated} old replicas are still there")
    return _ready(available, wanted, "available")


def _stateful(spec: Mapping[str, Any], status: Mapping[str, Any]) -> ObjectVerdict:
    wanted = int(1 if spec.get("replicas") is None else spec["replicas"])
    update = spec.get("updateStrategy") or {}
    if update.get("type") != "OnDelete":
        partition = int((update.get("rollingUpdate") or {}).get("partition") or 0)
        updated = _count(status, "updatedReplicas")
        if status.get("updateRevision") != status.get("currentRevision") and updated < wanted - partition:
            return ObjectVerdict(False, f"{updated} of {wanted - partition} replicas are updated")
    return _ready(_count(status, "readyReplicas"), wanted, "ready")


def _daemons(_: Mapping[str, Any], status: Mapping[str, Any]) -> ObjectVerdict:
    wanted = _count(status, "desiredNumberScheduled")
    updated = _count(status, "updatedNumberScheduled")
    if updated < wanted:
        return ObjectVerdict(False, f"{updated} of {wanted} pods are updated")
    return _ready(_count(status, "numberAvailable"), wanted, "available")


_WORKLOADS: Final = {"Deployment": _deployment, "StatefulSet": _stateful, "DaemonSet": _daemons}


def _ready(count: int, wanted: int, word: str) -> ObjectVerdict:
    return (
        ObjectVerdict(True)
        if count >= wanted
        else ObjectVerdict(False, f"{count} of {wanted} replicas are {word}")
    )


def _count(status: Mapping[str, Any], key: str) -> int:
    return int(status.get(key) or 0)


def _words(condition: Mapping[str, Any]) -> str:
    return (
        ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key)) or "no reason given"
    )


def cut(text: str) -> str:
    """A reason on one line, as long as people read."""
    line = " ".join(text.split())
    return line if len(line) <= _REASON_CHARS else f"{line[:_REASON_CHARS]}…"
