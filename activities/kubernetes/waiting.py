"""Waiting for what was applied to be ready and what was removed to be gone, and saying what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.status import MAX_REASONS, ObjectVerdict, pod_reason, stuck_reason
from bondstone.activities.kubernetes.documents import Named
from bondstone.activities.kubernetes.planning import gather
from bondstone.activities.kubernetes.session import Api, Session
from bondstone.activities.kubernetes.verdicts import Judge
from bondstone.base.errors import OperationFailed, Problem, StepTimedOut, ToolFailed
from bondstone.model.step import Progress

_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


@dataclass(slots=True)
class Awaited:
    """An object, and all that is waited for of it."""

    ref: Ref
    judges: list[Judge] = field(default_factory=list)
    last: Mapping[str, Any] | None = None


async def until_ready(
    session: Session, api: Api, waits: Sequence[Awaited], check: Callable[[], None], deadline: float
) -> None:
    """Wait until all is as it should be.

    Args:
        session: The attempt at work.
        api: The cluster.
        waits: What is waited for.
        check: Called again and again; raises when the work must end.
        deadline: On the event loop's clock.

    Raises:
        StepTimedOut: when it is not in time; it says which object lacks what, and what its pods say.
        ToolFailed: when it will not come any more.
    """
    waiting = list(waits)
    pause = _FIRST_SECONDS
    while True:
        check()
        verdicts = await gather(*(_look(api, one) for one in waiting))
        pairs = [(one, verdict) for one, verdict in zip(waiting, verdicts, strict=True) if not verdict.done]
        if failed := [(one, verdict) for one, verdict in pairs if verdict.failed]:
            problems = await _problems(session, api, failed)
            raise _error(session, ToolFailed, f"{failed[0][0].ref.address} failed", problems)
        if not pairs:
            return
        waiting = [one for one, _ in pairs]
        first, verdict = pairs[0]
        note = f"{first.ref.address}: {verdict.why}"
        session.pulse.report(
            Progress(
                done=len(waits) - len(waiting),
                total=len(waits),
                address=first.ref.address,
                note=session.redact(f"waiting for {note}"),
            )
        )
        if asyncio.get_running_loop().time() >= deadline:
            problems = await _problems(session, api, pairs)
            words = f"{first.ref.address} is not ready after {session.section.timeout}"
            raise _error(session, StepTimedOut, words, problems)
        await _rest(session, pause, deadline)
        pause = min(pause * 1.5, _LONGEST_SECONDS)


async def until_gone(
    session: Session, api: Api, removed: Sequence[Named], check: Callable[[], None], deadline: float
) -> None:
    """Wait until none of some objects stands any more.

    Raises:
        StepTimedOut: when some do; it says which, and what holds them.
    """
    left = list(removed)
    pause = _FIRST_SECONDS
    while True:
        check()
        lives = await gather(*(api.get(item.ref) for item in left))
        standing = [
            (item, live)
            for item, live in zip(left, lives, strict=True)
            if live is not None and live["metadata"]["uid"] == item.uid
        ]
        if not standing:
            return
        left = [item for item, _ in standing]
        note = f"{left[0].ref.address}: {stuck_reason(standing[0][1])}"
        session.pulse.report(
            Progress(
                done=len(removed) - len(left), total=len(removed), address=left[0].ref.address,
                note=session.redact(note),
            )
        )  # fmt: skip
        if asyncio.get_running_loop().time() >= deadline:
            problems = [
                Problem(message=session.redact(f"{item.ref.address}: {stuck_reason(live)}"))
                for item, live in standing[:MAX_REASONS]
            ]
            many = "1 object is" if len(left) == 1 else f"{len(left)} objects are"
            raise StepTimedOut(
                f"{many} still there {session.section.timeout} after their deletion was asked for",
                where=session.where,
                hint="see what should remove the finalizer, then retry: what is gone stays gone",
                problems=problems,
            )
        await _rest(session, pause, deadline)
        pause = min(pause * 1.5, _LONGEST_SECONDS)


async def _look(api: Api, one: Awaited) -> ObjectVerdict:
    one.last = await api.get(one.ref)
    if one.last is None:
        return ObjectVerdict(done=False, why="it is not there")
    verdicts = [judge(one.last) for judge in one.judges]
    return next((verdict for verdict in verdicts if not verdict.done), ObjectVerdict(done=True))


async def _problems(session: Session, api: Api, pairs: Sequence[tuple[Awaited, ObjectVerdict]]) -> list[Problem]:
    problems: list[str] = []
    for one, verdict in pairs[:MAX_REASONS]:
        problems.append(f"{one.ref.address}: {verdict.why}")
        selector = ((one.last or {}).get("spec") or {}).get("selector") or {}
        labels = selector.get("matchLabels") if one.ref.kind in _WORKLOADS else None
        if labels:
            reasons = (pod_reason(pod) for pod in await api.pods(one.ref.namespace, labels))
            problems += [f"{one.ref.address}: {reason}" for reason in reasons if reason]
    return [Problem(message=session.redact(text)) for text in problems[:MAX_REASONS]]


def _error(
    session: Session, kind: type[OperationFailed], message: str, problems: Sequence[Problem]
) -> OperationFailed:
    return kind(
        message,
        where=session.where,
        hint="what was applied stays; correct what it says below, then retry",
        problems=problems,
    )


async def _rest(session: Session, pause: float, deadline: float) -> None:
    left = deadline - asyncio.get_running_loop().time()
    await session.stop.unless(asyncio.sleep(min(pause, max(left, 0.05))))
