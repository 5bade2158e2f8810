"""The verb that changes the world: apply exactly one saved plan, and lose nothing of what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from bondstone.activities.terraform import command, own_backend
from bondstone.activities.terraform.artefact import TerraformHeader, locked_providers, unpack
from bondstone.activities.terraform.masking import state_secrets
from bondstone.activities.terraform.recovery import dead_attempts, recover
from bondstone.activities.terraform.session import TerraformSession, outcome_of
from bondstone.activities.terraform.state import TerraformState, parse_state
from bondstone.activities.terraform.stream import Transcript
from bondstone.activities.terraform.uploader import Uploader
from bondstone.activities.tooling.claims import claimed
from bondstone.activities.tooling.process import HURRIED, PATIENT, Exit, Graces
from bondstone.base.errors import Fenced, PlanStale, StoreError, StoreUnavailable
from bondstone.executors.protocol import Outcome

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim, StepState

_log = structlog.get_logger(__name__)


async def apply(session: TerraformSession, artefact: bytes, position: int) -> Outcome:
    """Apply the plan in the artefact, made at that position of the state log."""
    header, saved = unpack(artefact)
    session.redact.add(header.secrets)
    log = session.context.state
    if session.has_own_backend:
        if header.empty:
            state = await own_backend.newest(session)
            return Outcome(state.outputs if state else {})
        async with claimed(session, log) as claim:
            return await own_backend.apply(session, claim, saved)
    if header.empty:
        return await _nothing_to_do(session, log, position)
    async with claimed(session, log) as claim:
        newest, state = await recover(session, log, claim, dead_attempts(session))
        if newest != position:
            await claim.release()
            raise _moved(session, position, newest)
        if session.stop.requested:
            await claim.release()
        session.check_stop()
        session.run.note(base=position)
        return await _apply(session, claim, state, header, saved)


async def _nothing_to_do(session: TerraformSession, log: StepState, position: int) -> Outcome:
    snapshot = await log.read()
    if snapshot.position != position:
        raise _moved(session, position, snapshot.position)
    state = parse_state(snapshot.payload)
    return Outcome(state.outputs if state else {})


async def _apply(
    session: TerraformSession,
    claim: StateClaim,
    state: TerraformState | None,
    header: TerraformHeader,
    saved: bytes,
) -> Outcome:
    run = session.run
    if state is not None:
        session.redact.add(state_secrets(state.content))
        run.write_state(state.raw)
    run.write_plan(saved)
    in_plan = locked_providers(saved)
    await session.prepare(header.lock_file.encode() or in_plan, in_plan=in_plan)
    # what Terraform has just made may be secret, and the next error may show it
    uploader = Uploader(run, claim, state, on_state=lambda new: session.redact.add(state_secrets(new.content)))

    def stop() -> Graces | None:
        if claim.lost.is_set() or isinstance(uploader.fault, Fenced):
            return HURRIED
        return PATIENT if uploader.fault is not None or session.stop.requested else None

    async with uploader, session.slots.changing(session.pulse, session.stop):
        ended, transcript = await session.execute(
            "apply", command.apply(run.plan_file), on_tick=uploader.look, stop=stop
        )
    await _let_go(session, claim, uploader)
    if ended.code != 0 and claim.lost.is_set():
        raise StoreUnavailable(
            "the claim on the state could not be renewed in time, so Terraform was stopped; what it made is kept",
            where=session.where,
            hint="see why the worker could not reach the store, or stood still",
        )
    return _outcome(session, uploader, ended, transcript)


async def _let_go(session: TerraformSession, claim: StateClaim, uploader: Uploader) -> None:
    """Append the last state and release the claim; what cannot be appended is kept on this host."""
    unsent = uploader.unsent()
    try:
        if isinstance(uploader.fault, Fenced):
            raise uploader.fault
        await claim.release(unsent.raw if unsent else None)
    except Fenced:
        if unsent is not None:
            kept = session.keep_as_orphan()
            session.log(f"another attempt holds the state; what this one made is kept on the worker: {kept}")
            _log.warning("terraform.state_orphaned", attempt=session.context.attempt, kept=str(kept))
        raise
    except StoreError:
        session.keep_for_recovery()
        _log.warning("terraform.state_kept", attempt=session.context.attempt, kept=str(session.run.path))
        raise


def _outcome(session: TerraformSession, uploader: Uploader, ended: Exit, transcript: Transcript) -> Outcome:
    session.check_stop()
    if ended.code == 0:
        state = session.run.newest_state()
        return outcome_of(session, state)
    if uploader.fault is not None:
        raise uploader.fault
    raise session.error("apply", transcript, ended)


def _moved(session: TerraformSession, planned: int, newest: int) -> PlanStale:
    return PlanStale(
        f"the state has moved since the plan was made (from entry {planned} of its log to {newest})",
        where=session.where,
        hint="plan again",
    )
