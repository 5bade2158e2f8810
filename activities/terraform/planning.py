"""The verbs that change nothing: plan, plan to destroy, detect drift."""

from __future__ import annotations

import asyncio
from typing import Any

from bondstone.activities.terraform import command, own_backend
from bondstone.activities.terraform.artefact import TerraformHeader, pack
from bondstone.activities.terraform.changes import drifted_changes, is_empty, planned_changes
from bondstone.activities.terraform.checks import planned_checks
from bondstone.activities.terraform.masking import document_secrets, state_secrets
from bondstone.activities.terraform.recovery import dead_attempts, recover
from bondstone.activities.terraform.session import TerraformSession
from bondstone.activities.terraform.state import TerraformState, parse_state
from bondstone.activities.terraform.workspace import read_inside
from bondstone.activities.tooling.claims import claimed
from bondstone.base.errors import ToolFailed
from bondstone.executors.protocol import Drifted, Planned

_EMPTY_DOCUMENT = {"format_version": "1.2", "resource_changes": [], "output_changes": {}, "errored": False}


async def plan(session: TerraformSession) -> Planned:
    """Plan what the section asks for."""
    position, state = await _newest(session)
    return await _planned(session, position, state, mode="normal")


async def plan_destroy(session: TerraformSession, label: str) -> Planned:
    """Plan to take everything down; nothing is run where there is nothing.

    Args:
        session: The attempt at work.
        label: What to call the tool if it is not run.
    """
    position, state = await _newest(session)
    if state is None or state.is_bare:
        artefact = pack(TerraformHeader(empty=True, destroy=True), b"")
        return Planned(artefact, dict(_EMPTY_DOCUMENT), (), empty=True, position=position, tool=label)
    return await _planned(session, position, state, mode="destroy")


async def detect_drift(session: TerraformSession) -> Drifted:
    """Compare reality with what was last applied."""
    _, state = await _newest(session)
    if state is None or state.is_bare:
        return Drifted(())
    document, _ = await _run(session, state, mode="refresh-only")
    session.redact.add(document_secrets(document))
    return Drifted(drifted_changes(document, session.redact), planned_checks(document, session.redact))


async def _planned(
    session: TerraformSession, position: int, state: TerraformState | None, *, mode: command.Mode
) -> Planned:
    document, tool = await _run(session, state, mode=mode)
    secrets = document_secrets(document)
    session.redact.add(secrets)
    empty = is_empty(document)
    saved = await asyncio.to_thread(read_inside, session.run.path, session.run.plan_file)
    if saved is None:
        raise ToolFailed("terraform plan left no plan", where=session.where, hint="see the log of the step")
    return Planned(
        artefact=pack(
            TerraformHeader(empty, mode == "destroy", tuple(sorted(secrets)), session.whole_lock_file), saved
        ),
        document=document,
        changes=planned_changes(document, session.redact),
        empty=empty,
        position=position,
        tool=tool,
        failed_checks=planned_checks(document, session.redact),
    )


async def _run(
    session: TerraformSession, state: TerraformState | None, *, mode: command.Mode
) -> tuple[dict[str, Any], str]:
    run = session.run
    if state is not None:
        session.redact.add(state_secrets(state.content))
    if not session.has_own_backend:
        if state is not None:
            run.write_state(state.raw)
        await session.prepare()
    async with session.slots.reading(session.pulse, session.stop):
        variables = run.write_variables(session.variables())
        try:
            ended, transcript = await session.execute(
                "plan",
                command.plan(
                    out=run.plan_file, variables=variables, mode=mode, has_own_backend=session.has_own_backend
                ),
            )
        finally:
            run.drop_variables()
        session.check_stop()
        if ended.code != 0:
            raise session.error("plan", transcript, ended)
        return await session.show(), transcript.tool


async def _newest(session: TerraformSession) -> tuple[int, TerraformState | None]:
    """The newest state and its position, after what a dead attempt left on this host has been brought home."""
    if session.has_own_backend:
        return 0, await own_backend.newest(session)
    log = session.context.state
    if dead := dead_attempts(session):
        async with claimed(session, log) as claim:
            position, state = await recover(session, log, claim, dead)
            await claim.release()
            return position, state
    snapshot = await log.read()
    return snapshot.position, parse_state(snapshot.payload)
