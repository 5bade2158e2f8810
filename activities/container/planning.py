"""The verbs that change nothing: plan, plan to destroy, detect drift. The image itself says what it would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bondstone.activities.container.contract import ShownPlan, changes_of, read_shown_plan
from bondstone.activities.container.documents import ContainerJob, ContainerPlan, ContainerRecord
from bondstone.activities.container.session import ContainerSession
from bondstone.executors.protocol import Drifted, Planned
from bondstone.model.plan import Change

EFFECT: Final = "effect"
"""The attribute of a change of which nobody knows before what it does."""
WHOLE: Final = "container"
"""The address of what an image makes, where it cannot say more of it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is to be done, and what is known of it."""

    action: Literal["apply", "destroy", "nothing"]
    changes: Sequence[Change]
    shown: ShownPlan | None = None
    destroy: bool = False
    empty: bool = False


async def plan(session: ContainerSession, tool: str) -> Planned:
    """Ask the image what it would change; where it cannot say, its change is one of unknown effect."""
    position, record = await session.record()
    await session.end_abandoned(record)
    job = session.job()
    done = record.run is not None and record.run.done and record.stands
    same = done and record.told == job.told and set(session.section.outputs) <= set(record.outputs)
    if "plan" not in session.section.actions:
        changes = [] if same else [_unknown(job, "update" if record.stands else "create")]
        return _planned(session, job, position, tool, _Found("apply", changes, empty=same))
    shown = await _shown(session, job, record, "plan", destroy=False)
    changes = changes_of(shown, session.context.redact)
    return _planned(session, job, position, tool, _Found("apply", changes, shown, empty=not changes and same))


async def plan_destroy(session: ContainerSession, tool: str) -> Planned:
    """Ask the image what taking everything down would change; nothing is run where nothing was made."""
    position, record = await session.record()
    await session.end_abandoned(record)
    if not record.stands:
        return _planned(session, ContainerJob(), position, tool, _Found("nothing", [], destroy=True, empty=True))
    job = session.job()
    if "destroy" not in session.section.actions:
        left = [Change(address=WHOLE, action="forget", type=job.image)]
        return _planned(session, job, position, tool, _Found("nothing", left, destroy=True))
    if "plan" not in session.section.actions:
        return _planned(session, job, position, tool, _Found("destroy", [_unknown(job, "delete")], destroy=True))
    shown = await _shown(session, job, record, "plan", destroy=True)
    changes = changes_of(shown, session.context.redact)
    return _planned(session, job, position, tool, _Found("destroy", changes, shown, destroy=True))


async def detect_drift(session: ContainerSession) -> Drifted:
    """Ask the image what is no longer as it made it."""
    _, record = await session.record()
    if not record.stands:
        return Drifted(())
    if "drift" not in session.section.actions:
        session.context.log("no drift check: `actions` of the step has no `drift`")
        return Drifted(())
    shown = await _shown(session, session.job(), record, "drift", destroy=False)
    redact = session.context.redact
    return Drifted(changes_of(shown, redact), tuple(map(redact, shown.failed_checks)))


async def _shown(
    session: ContainerSession, job: ContainerJob, record: ContainerRecord, action: str, *, destroy: bool
) -> ShownPlan:
    told = {"outputs": record.outputs, "destroy": destroy}
    async with session.requested(job, action, told) as output:
        return read_shown_plan(output, session.where)


def _unknown(job: ContainerJob, action: Literal["create", "update", "delete"]) -> Change:
    return Change(address=WHOLE, action=action, type=job.image, unknown=(EFFECT,))


def _planned(
    session: ContainerSession,
    job: ContainerJob,
    position: int,
    tool: str,
    compared: _Found,
) -> Planned:
    shown, changes = compared.shown, compared.changes
    made = ContainerPlan(
        action="nothing" if compared.empty else compared.action,
        destroy=compared.destroy,
        job=job,
        shown=shown.model_dump(mode="json") if shown is not None else None,
    )
    return Planned(
        artefact=made.pack(),
        document=_document(job, changes),
        changes=changes,
        empty=compared.empty,
        position=position,
        tool=tool,
        failed_checks=tuple(map(session.context.redact, shown.failed_checks)) if shown is not None else (),
    )


def _document(job: ContainerJob, changes: Sequence[Change]) -> dict[str, Any]:
    """What policies see."""
    return {
        "format_version": "1.0",
        "container": job.model_dump(
            mode="json", include={"image", "network", "cpus", "memory_mib", "time_seconds"}
        ),
        "changes": [
            change.model_dump(mode="json", include={"address", "action", "type", "before", "after"})
            for change in changes
        ],
        "partial": any(EFFECT in change.unknown for change in changes),
        "errored": False,
    }
