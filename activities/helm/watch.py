"""What is ready and what is not, while Helm waits: progress for people, and the reasons when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.status import MAX_REASONS, ObjectVerdict, pod_reason, rollout
from bondstone.activities.tooling.heartbeat import Pulse
from bondstone.base.errors import BondError
from bondstone.model.step import Progress

LOOK_SECONDS: Final = 2.0
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
        pairs = [(ref, item, rollout(item)) for ref, item in zip(self._workloads, objects, strict=True) if item]
        waiting = [(ref, item, verdict) for ref, item, verdict in pairs if not verdict.done]
        if reasons := await asyncio.to_thread(self._why, waiting):
            self.reasons = reasons[:MAX_REASONS]
        address = waiting[0][0].address if waiting else ""
        note = f"waiting for {address}: {waiting[0][2].why}" if waiting else ""
        total = len(self._workloads)
        self._pulse.report(Progress(done=total - len(waiting), total=total, address=address, note=note))

    def _why(self, waiting: Sequence[tuple[Ref, dict[str, Any], ObjectVerdict]]) -> list[str]:
        lines: list[str] = []
        for ref, item, verdict in waiting:
            selector = ((item.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
            labels = ",".join(f"{key}={value}" for key, value in selector.items())
            pods = self._cluster.list("v1", "Pod", ref.namespace, labels=labels) if labels else []
            reasons = [reason for pod in pods if (reason := pod_reason(pod))] or [verdict.why]
            lines += [f"{ref.address}: {reason}" for reason in dict.fromkeys(reasons)]
        return lines
