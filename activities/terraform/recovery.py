"""What a dead attempt left on this host: its processes are stopped, its state is carried on.

A state is carried on only if nobody has written to the log since the dead attempt did. Otherwise the two have
parted, and what the dead one made is kept under `orphans/` for a person to look at.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import structlog

from bondstone.activities.terraform.session import TerraformSession
from bondstone.activities.terraform.state import TerraformState, parse_state
from bondstone.activities.terraform.workspace import RunDirectory, dead_runs
from bondstone.activities.tooling.process import PATIENT
from bondstone.activities.tooling.scratch import RUN_MARK

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim, StepState

_POLL_SECONDS = 0.2

_log = structlog.get_logger(__name__)


async def recover(
    session: TerraformSession, log: StepState, claim: StateClaim, dead_runs: list[RunDirectory]
) -> tuple[int, TerraformState | None]:
    """Bring home what dead attempts of this step left on this host.

    Args:
        session: The living attempt.
        log: The step's state log.
        claim: The living attempt's claim on it.
        dead_runs: The dead attempts' directories, oldest first; each is removed, or moved to `orphans/`.

    Returns:
        The newest state and its position in the log.
    """
    position, newest = claim.snapshot.position, parse_state(claim.snapshot.payload)
    for index, dead in enumerate(dead_runs):
        try:
            await stop_leftovers(session, dead)
            state = dead.newest_state() if dead.record.verb == "apply" else None
            if state is None or (newest is not None and _is_known(state, newest)):
                dead.close()
            elif state.follows(newest) and await _carries_on(log, dead, position):
                position, newest = await claim.append(state.raw), state
                session.log(f"recovered the state that attempt {dead.record.attempt} left on this host")
                _log.info("terraform.state_recovered", attempt=dead.record.attempt, serial=state.serial)
                dead.close()
            else:
                kept = dead.orphan(session.work / "orphans")
                session.log(
                    f"the state of attempt {dead.record.attempt} was overtaken; the worker keeps it: {kept}"
                )
                _log.warning("terraform.state_orphaned", attempt=dead.record.attempt, kept=str(kept))
        except BaseException:
            for rest in dead_runs[index:]:
                with suppress(OSError):
                    rest.abandon()
            raise
    return position, newest


def dead_attempts(session: TerraformSession) -> list[RunDirectory]:
    """The directories of dead attempts of this step on this host, locked."""
    return list(dead_runs(session.work, session.context.service, session.context.step))


def _is_known(state: TerraformState, newest: TerraformState) -> bool:
    return state.lineage == newest.lineage and state.serial <= newest.serial


async def _carries_on(log: StepState, dead: RunDirectory, position: int) -> bool:
    """Whether the log's newest state is the dead attempt's own, or the one it had started from."""
    if position == dead.record.base:
        return True
    return await log.attempt_of(position) == dead.record.attempt


async def stop_leftovers(session: TerraformSession, dead: RunDirectory) -> None:
    """Wait for the dead attempt's Terraform to finish saving, then kill what else it started.

    Its own death has sent SIGINT to it already where the kernel can do that; a second one would be a hard stop,
    so it is sent only to a Terraform that still works on long after.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENT.first_seconds
    stopped_once = False
    while (leader := _alive(dead.record.pid, dead)) is not None and loop.time() < until:
        session.pulse.note(f"waiting for the Terraform of the dead attempt {dead.record.attempt} to stop")
        if not stopped_once and loop.time() > until - PATIENT.first_seconds + PATIENT.second_seconds:
            stopped_once = True
            with suppress(psutil.NoSuchProcess):
                leader.send_signal(signal.SIGINT)
        await asyncio.sleep(_POLL_SECONDS)
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            # what has a session of its own was meant to stay; without a noted Terraform nothing can be
            ours = not dead.record.pid or os.getsid(pid) == dead.record.pid
            if ours and (process := _alive(pid, dead)) is not None:
                process.kill()
    session.pulse.note("")


def _alive(pid: int, dead: RunDirectory) -> psutil.Process | None:
    """The process, if it lives and its environment says that it is the dead attempt's."""
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or process.environ().get(RUN_MARK) != str(dead.path):
            return None
    except (psutil.Error, OSError):
        return None
    return process
