"""Waiting for what was applied to be ready and what was removed to be gone, and saying what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bondstone.activities.clusters.jsonpath import JsonPath
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.status import (
    MAX_REASONS,
    ObjectVerdict,
    has_condition,
    pod_reason,
    stuck_reason,
)
from bondstone.activities.kubernetes.crossplane import composed_refs, holding_below, unready_below
from bondstone.activities.kubernetes.documents import Named
from bondstone.activities.kubernetes.planning import gather
from bondstone.activities.kubernetes.section import Wait
from bondstone.activities.kubernetes.session import Api, ClusterSession
from bondstone.base.errors import OperationFailed, Problem, StepTimedOut, ToolFailed
from bondstone.model.step import Progress

Judge = Callable[[Mapping[str, Any]], ObjectVerdict]
"""Whether an object is what is waited for, and why not yet."""

_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0
_EXPLAIN_SECONDS: Final = 10.0
"""How often it is looked below an object that is waited for what keeps it."""
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


@dataclass(slots=True)
class Awaited:
    """An object, and all that is waited for of it."""

    ref: Ref
    judges: list[Judge] = field(default_factory=list)
    last: Mapping[str, Any] | None = None


def judge(wait: Wait) -> Judge:
    """What decides whether a wait of the section is over.

    Raises:
        ValueError: when its path is none that is understood.
    """
    if wait.condition:
        name, _, status = wait.condition.partition("=")
        return lambda item: has_condition(item, name, status or "True")
    path = JsonPath(wait.path)

    def on_path(item: Mapping[str, Any]) -> ObjectVerdict:
        try:
            value = path.find(item)
        except KeyError:
            return ObjectVerdict(False, f"{wait.path} is not there")
        if wait.equals is None or value == wait.equals or str(value) == str(wait.equals):
            return ObjectVerdict(True)
        return ObjectVerdict(False, f"{wait.path} is not yet what it should be")

    return on_path


class _Explained:
    """What keeps the first of some objects, looked up now and then: it costs requests.

    Args:
        api: The cluster.
        look: Finds what below an object keeps it.
    """

    def __init__(self, api: Api, look: Callable[[Api, Mapping[str, Any]], Awaitable[list[str]]]) -> None:
        self._api = api
        self._look = look
        self._next = asyncio.get_running_loop().time() + _EXPLAIN_SECONDS
        self._reason = ""
        self._uid = ""

    async def reason(self, item: Mapping[str, Any] | None) -> str:
        """The deepest reason, to stand behind the object's own; empty where nothing is known."""
        now = asyncio.get_running_loop().time()
        uid = str(((item or {}).get("metadata") or {}).get("uid") or "")
        if uid != self._uid:
            self._uid, self._reason = uid, ""  # what keeps another object
        if now >= self._next:
            lines = await self._look(self._api, item) if item is not None else []
            self._reason = f"; {lines[0]}" if lines else ""
            self._next = now + _EXPLAIN_SECONDS
        return self._reason


async def until_ready(
    session: ClusterSession, api: Api, waits: Sequence[Awaited], check: Callable[[], None], deadline: float
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
    explained = _Explained(api, unready_below)
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
        note = f"{first.ref.address}: {verdict.why}{await explained.reason(first.last)}"
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
    session: ClusterSession, api: Api, removed: Sequence[Named], check: Callable[[], None], deadline: float
) -> None:
    """Wait until none of some objects stands any more.

    Raises:
        StepTimedOut: when some do; it says which, and what holds them.
    """
    left = list(removed)
    pause = _FIRST_SECONDS
    explained = _Explained(api, holding_below)
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
        live = standing[0][1]
        note = f"{left[0].ref.address}: {stuck_reason(live)}{await explained.reason(live)}"
        session.pulse.report(
            Progress(
                done=len(removed) - len(left), total=len(removed), address=left[0].ref.address,
                note=session.redact(note),
            )
        )  # fmt: skip
        if asyncio.get_running_loop().time() >= deadline:
            reasons: list[str] = []
            for item, held in standing[:MAX_REASONS]:
                reasons += [f"{item.ref.address}: {stuck_reason(held)}", *await holding_below(api, held)]
            problems = [Problem(message=session.redact(text)) for text in reasons[:MAX_REASONS]]
            many = "1 object is" if len(left) == 1 else f"{len(left)} objects are"
            raise StepTimedOut(
                f"{many} still there {session.section.timeout} after their deletion was requested",
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


async def _problems(
    session: ClusterSession, api: Api, pairs: Sequence[tuple[Awaited, ObjectVerdict]]
) -> list[Problem]:
    problems: list[str] = []
    for one, verdict in pairs[:MAX_REASONS]:
        problems.append(f"{one.ref.address}: {verdict.why}")
        if one.last is not None and composed_refs(one.last):
            problems += await unready_below(api, one.last)
        selector = ((one.last or {}).get("spec") or {}).get("selector") or {}
        labels = selector.get("matchLabels") if one.ref.kind in _WORKLOADS else None
        if labels:
            reasons = (pod_reason(pod) for pod in await api.pods(one.ref.namespace, labels))
            problems += [f"{one.ref.address}: {reason}" for reason in reasons if reason]
    return [Problem(message=session.redact(text)) for text in problems[:MAX_REASONS]]


def _error(
    session: ClusterSession, kind: type[OperationFailed], message: str, problems: Sequence[Problem]
) -> OperationFailed:
    return kind(
        message,
        where=session.where,
        hint="what was applied stays; correct the cause below, then retry",
        problems=problems,
    )


async def _rest(session: ClusterSession, pause: float, deadline: float) -> None:
    left = deadline - asyncio.get_running_loop().time()
    await session.stop.unless(asyncio.sleep(min(pause, max(left, 0.05))))
