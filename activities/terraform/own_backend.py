"""`backend: own`: the state stays where the module's own backend block says, and that backend's lock is used.

Nothing of the state is written to the state log. The log's claim is taken all the same while something is applied:
it keeps two attempts of ours apart where a backend has no lock. What Terraform could not write to its backend at
the end, it leaves as `errored.tfstate`; the worker keeps that for a person, as it keeps orphans.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING

import structlog

from bondstone.activities.terraform import command
from bondstone.activities.terraform.artefact import locked_providers
from bondstone.activities.terraform.masking import state_secrets
from bondstone.activities.terraform.recovery import dead_attempts, stop_leftovers
from bondstone.activities.terraform.session import TerraformSession, outcome_of
from bondstone.activities.terraform.state import TerraformState, parse_state
from bondstone.activities.terraform.workspace import RunDirectory
from bondstone.activities.tooling.process import HURRIED, PATIENT, Exit, Graces, capture
from bondstone.base.errors import Fenced, InvalidInput, StoreUnavailable
from bondstone.base.files import write_private
from bondstone.executors.protocol import Outcome

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim

_ERRORED = "errored.tfstate"

_log = structlog.get_logger(__name__)


async def newest(session: TerraformSession, locked: bytes | None = None) -> TerraformState | None:
    """The state as its backend has it, after what dead attempts on this host still run has ended.

    Args:
        session: The attempt at work.
        locked: The dependency lock file of the plan in hand.
    """
    await _settle(session)
    await _connect(session, locked)
    return await _pull(session)


async def apply(session: TerraformSession, claim: StateClaim, saved: bytes) -> Outcome:
    """Apply the saved plan; Terraform itself says when it is stale."""
    await newest(session, locked_providers(saved))
    session.check_stop()
    session.run.write_plan(saved)

    def stop() -> Graces | None:
        if claim.lost.is_set():
            return HURRIED
        return PATIENT if session.stop.requested else None

    async with session.slots.changing(session.pulse, session.stop):
        ended, transcript = await session.execute(
            "apply", command.apply(session.run.plan_file, has_own_backend=True), stop=stop
        )
    error = None if ended.code == 0 else session.error("apply", transcript, ended)
    state = await _pull(session) if ended.code == 0 and not session.stop.requested else None
    if (session.run.module / _ERRORED).exists():
        kept = session.keep_as_orphan()
        session.log(f"the backend did not take the last state; the worker keeps it: {kept}/**/{_ERRORED}")
        _log.warning("terraform.state_orphaned", attempt=session.context.attempt, kept=str(kept))
    try:
        await claim.release()
    except Fenced:
        if error is not None:
            raise
    session.check_stop()
    if error is not None and claim.lost.is_set():
        raise StoreUnavailable(
            "the claim on the state could not be renewed in time, so Terraform was stopped",
            where=session.where,
            hint="see why the worker could not reach the store, or stood still",
        )
    if error is not None:
        raise error
    return outcome_of(session, state)


async def _connect(session: TerraformSession, locked: bytes | None) -> None:
    """`terraform init` with the backend, in a data directory of this run's own; what init installs is shared."""
    await session.prepare(locked)
    data = session.run.path / "data"
    await asyncio.to_thread(shutil.copytree, session.data, data, symlinks=True)
    session.data = data
    session.run.link_data(data)
    config = session.run.path / "backend.tfbackend.json"
    write_private(config, json.dumps(session.section.backend_config).encode())
    try:
        await session.connect(command.connect(config))
    finally:
        config.unlink(missing_ok=True)
    _refuse_lost(session)


def _refuse_lost(session: TerraformSession) -> None:
    """Refuse a local backend that would keep the state in the run's directory, which is removed."""
    try:
        backend = json.loads((session.data / "terraform.tfstate").read_bytes())["backend"]
        kind, config = str(backend["type"]), dict(backend["config"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if kind == "local" and not str(config.get("path") or "").startswith("/"):
        raise InvalidInput(
            "the module's local backend keeps the state in the module's folder, which is deleted after each run",
            where=session.where,
            hint="give an absolute `path` in backend_config, or let the platform keep it: `backend: local`",
        )


async def _pull(session: TerraformSession) -> TerraformState | None:
    arguments = session.tool.reading(command.state_pull())
    code, out, complaint = await session.stop.unless(
        capture(arguments, session.run.module, session.environment(), verb="state pull", sandbox=session.sandbox())
    )
    if code != 0:
        raise session.error("state pull", None, Exit(code, interrupted=False, complaint=complaint))
    state = parse_state(out)
    if state is not None:
        session.redact.add(state_secrets(state.content))
    return state


async def _settle(session: TerraformSession) -> None:
    """Wait until what dead attempts on this host had started is over; keep what they could not write away."""
    for dead in dead_attempts(session):
        await stop_leftovers(session, dead)
        _put_aside(session, dead)


def _put_aside(session: TerraformSession, dead: RunDirectory) -> None:
    if dead.record.verb != "apply" or not (dead.module / _ERRORED).exists():
        dead.close()
        return
    kept = dead.orphan(session.work / "orphans")
    session.log(f"attempt {dead.record.attempt} could not write its last state; the worker keeps it: {kept}")
    _log.warning("terraform.state_orphaned", attempt=dead.record.attempt, kept=str(kept))
