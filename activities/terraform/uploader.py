"""Carry each state that Terraform writes to the state log, within a moment of its being written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bondstone.activities.terraform.state import TerraformState, parse_state
from bondstone.activities.terraform.workspace import RunDirectory
from bondstone.base.errors import BondError, StoreUnavailable

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim


class Uploader:
    """Watches the state file of a run. An async context manager; leaving it waits for an upload under way.

    The local backend rewrites the file after every resource. If the store is slower than Terraform, states in
    between are skipped: each holds all of those before it.

    Args:
        run: Whose state file.
        claim: Where it goes.
        base: The state that Terraform started from.
        on_state: Called with each new state that is seen.
    """

    def __init__(
        self,
        run: RunDirectory,
        claim: StateClaim,
        base: TerraformState | None,
        *,
        on_state: Callable[[TerraformState], None],
    ) -> None:
        self._run = run
        self._claim = claim
        self._seen = base
        self._on_state = on_state
        self._sent = base
        self._stamp: tuple[int, int] | None = _stamp(run)
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.fault: BondError | None = None
        """Why it could not upload; Terraform should stop then."""

    def look(self) -> None:
        """See whether there is a new state; cheap, called ten times a second."""
        stamp = _stamp(self._run)
        if stamp is None or stamp == self._stamp:
            return
        state = parse_state(_content(self._run))
        if state is None:
            return  # caught in the middle of being written: the next look finds the rest
        self._stamp = stamp
        if state.follows(self._seen):
            self._seen = state
            self._on_state(state)
            self._wake.set()

    def unsent(self) -> TerraformState | None:
        """The newest state of the run, if it is not in the log yet."""
        newest = self._run.newest_state()
        return newest if newest is not None and newest.follows(self._sent) else None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._upload())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _upload(self) -> None:
        while self.fault is None:
            await self._wake.wait()
            self._wake.clear()
            if self._closing:
                return  # the last state goes with the release
            state = self._seen
            if state is None or not state.follows(self._sent):
                continue
            try:
                await self._claim.append(state.raw)
            except BondError as error:
                self.fault = error
            except Exception as error:  # noqa: BLE001 - after any error Terraform must stop and the state be kept
                self.fault = StoreUnavailable(f"the state could not be kept: {error}")
            else:
                self._sent = state


def _stamp(run: RunDirectory) -> tuple[int, int] | None:
    try:
        status = os.stat(run.state_file)  # noqa: PTH116 - one call on a hot path
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _content(run: RunDirectory) -> bytes | None:
    try:
        return run.state_file.read_bytes()
    except OSError:
        return None
