"""The verb that changes the world: one container for one plan, however many attempts it takes to see its end.

The container is named after the plan, and an engine gives a name once. An attempt that follows a dead one on the
same machine finds the container, waits for it and reads what it wrote; it starts none itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bondstone.activities.container.contract import read_outputs
from bondstone.activities.container.documents import (
    ContainerPlan,
    ContainerRecord,
    ContainerRun,
    read_plan,
    read_record,
)
from bondstone.activities.container.session import ContainerSession
from bondstone.activities.tooling.claims import claimed
from bondstone.base.canonical import digest
from bondstone.base.errors import BondError, Fenced, PlanStale, ToolFailed, from_info
from bondstone.executors.protocol import Outcome, Output

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim


async def apply(session: ContainerSession, artefact: bytes, position: int) -> Outcome:
    """Apply the plan in the artefact, made at that position of the state log."""
    plan, run = read_plan(artefact), ContainerRun(plan=digest(artefact), base=position)
    done = run.changed(done=True)
    async with claimed(session, session.context.state) as claim:
        record = read_record(claim.snapshot.payload)
        if record.run == done:  # an attempt before this one was done, and could not say so
            await claim.release()
            await session.clear()
            return _outcome(session, record)
        if record.run is not None and record.run.failed is not None and record.run.key == run.key:
            await claim.release()  # an attempt before this one saw it fail, and could not say so
            await session.clear()
            raise from_info(record.run.failed)
        if claim.snapshot.position != position and record.run != run:
            await claim.release()
            raise PlanStale(
                f"the step's record has moved since the plan was made (from entry {position} of its log to "
                f"{claim.snapshot.position})",
                where=session.where,
                hint="plan again",
            )
        if plan.action == "nothing":
            new = ContainerRecord(run=done) if plan.destroy else record
            await claim.release(new.pack() if new != record else None)
            return _outcome(session, new)
        try:
            return await _run(session, claim, plan, record, run)
        except BaseException as error:
            await _let_go(session, claim, error)
            raise


async def _run(
    session: ContainerSession, claim: StateClaim, plan: ContainerPlan, record: ContainerRecord, run: ContainerRun
) -> Outcome:
    if record.run != run:
        await claim.append(record.changed(stands=True, run=run).pack())
    told = {"outputs": record.outputs, "plan": plan.shown, "destroy": plan.destroy}

    async def failed(error: BondError) -> None:
        info = error.masked(session.context.redact).info()
        await claim.append(record.changed(stands=True, run=run.changed(failed=info)).pack())

    async with session.ran(plan.job, plan.action, told, key=run.key, lost=claim.lost, on_failure=failed) as output:
        new = ContainerRecord(run=run.changed(done=True))
        if not plan.destroy:
            outputs = read_outputs(output, session.where)
            new = new.changed(stands=True, told=plan.job.told, outputs=outputs)
        outcome = _outcome(session, new)
        await claim.release(
            new.pack()
        )  # before the container is forgotten: it is what the next attempt would find
    return outcome


async def _let_go(session: ContainerSession, claim: StateClaim, error: BaseException) -> None:
    """Before an error is raised again: release the record, if it is still this attempt's."""
    if isinstance(error, Fenced):
        return
    try:
        await claim.release()
    except BondError as other:
        session.context.log(f"the record could not be released: {other.message}; the one before stands")


def _outcome(session: ContainerSession, record: ContainerRecord) -> Outcome:
    """The outputs of a step, as its image has written them.

    Raises:
        ToolFailed: when the image did not write one of them.
    """
    if not record.stands:
        return Outcome({})
    declared = session.section.outputs
    missing = sorted(set(declared) - set(record.outputs))
    if missing:
        raise ToolFailed(
            f"the image's outputs.json lacks {', '.join(map(repr, missing))}, which the step declares as outputs",
            where=session.where,
            hint="correct the image, or the step's `outputs`",
        )
    return Outcome(
        {name: Output(record.outputs[name], sensitive=output.sensitive) for name, output in declared.items()}
    )
