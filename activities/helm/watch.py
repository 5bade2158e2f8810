"""What is ready and what is not, while Helm waits: progress for people, and the reasons when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from activities.clusters.api import Cluster
from activities.clusters.manifests import Ref
from activities.tooling.pulse import Pulse
from bondstone.errors import BondError
from bondstone.model.step import Progress

LOOK_SECONDS: Final = 2.0
MAX_REASONS: Final = 10
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job"})


class Watch:
    """An async context manager: looks at the workloads of a release every other second.

    Args:
        cluster: They are in.
        refs: All objects of the release; only workloads are looked at.
        pulse: Told how many are ready.
    """

    def __init__(self, cluster: Cluster, refs: Sequence[Ref], pulse: Pulse) -> None:
        self._cluster = cluster
        self._workloads = [ref for ref in refs if ref.kind in _WORKLOADS]
        self._pulse = pulse
        self._task: asyncio.Task[None] | None = None
        self.reasons: list[str] = []
        """What was not ready when it was last looked at, and why; kept when a rollback takes the pods away."""

    async def __aenter__(self) -> Self:
        if self._workloads:
            self._task = asyncio.create_task(self._look_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(BondError):  # Helm itself says what is wrong with the cluster
                await self._look()

    async def _look(self) -> None:
        objects = await asyncio.to_thread(self._cluster.each, self._cluster.get, self._workloads)
        waiting = [
            (ref, item)
            for ref, item in zip(self._workloads, objects, strict=True)
            if item is not None and not is_ready(item)
        ]
        reasons = await asyncio.to_thread(self._why, waiting)
        if reasons:
            self.reasons = reasons[:MAX_REASONS]
        note = f"waiting for {waiting[0][0].address}" if waiting else ""
        total = len(self._workloads)
        address = waiting[0][0].address if waiting else ""
        self._pulse.report(Progress(done=total - len(waiting), total=total, address=address, note=note))

    def _why(self, waiting: Sequence[tuple[Ref, dict[str, Any]]]) -> list[str]:
        found: list[str] = []
        for ref, item in waiting:
            selector = ((item.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
            labels = ",".join(f"{key}={value}" for key, value in selector.items())
            pods = self._cluster.list("v1", "Pod", ref.namespace, labels=labels) if labels else []
            reasons = [reason for pod in pods for reason in pod_reasons(pod)] or [_counts(item)]
            found += [f"{ref.address}: {reason}" for reason in dict.fromkeys(reasons)]
        return found


def is_ready(item: Mapping[str, Any]) -> bool:
    """Whether a workload is as far as Helm waits for."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int((item.get("metadata") or {}).get("generation") or 0):
        return item.get("kind") == "Job"
    match item.get("kind"):
        case "Deployment" | "StatefulSet":
            wanted = spec.get("replicas", 1)
            ready = int(status.get("readyReplicas") or 0)
            return ready >= int(wanted) and int(status.get("updatedReplicas") or 0) >= int(wanted)
        case "DaemonSet":
            return int(status.get("numberReady") or 0) >= int(status.get("desiredNumberScheduled") or 0)
        case _:
            return True


def pod_reasons(pod: Mapping[str, Any]) -> Iterator[str]:
    """Why a pod is not ready, in words; nothing when it is."""
    name, status = (pod.get("metadata") or {}).get("name"), pod.get("status") or {}
    conditions = {item.get("type"): item for item in status.get("conditions") or ()}
    if (conditions.get("Ready") or {}).get("status") == "True":
        return
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        yield f"pod {name} is not scheduled: {scheduled.get('message') or scheduled.get('reason')}"
        return
    said = False
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            found = state.get("waiting") or state.get("terminated")
            if found and found.get("reason") not in {None, "Completed", "PodInitializing", "ContainerCreating"}:
                message = f": {found['message']}" if found.get("message") else ""
                yield f"pod {name}, container {container.get('name')}: {found['reason']}{message}"
                said = True
                break
    if not said:
        yield f"pod {name} is {status.get('phase') or 'Pending'} and not ready"


def _counts(item: Mapping[str, Any]) -> str:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    return f"{status.get('readyReplicas') or 0} of {spec.get('replicas', 1)} pods are ready"
