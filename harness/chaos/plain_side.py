"""The same kill of plain Terraform, and what a person does afterwards: `terraform apply` again."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from bondstone.activities.terraform.binary import Tool
from bondstone.activities.terraform.state import TerraformState, parse_state
from harness.chaos import things
from harness.chaos.kills import Kill, Moment, Side, Victim
from harness.chaos.locking_backend import Backend
from harness.chaos.outcome import Outcome
from harness.chaos.things import Counted
from harness.waiting import until

APPLY_SECONDS: Final = 120
TRIES: Final = 3
_BACKEND: Final = """\
terraform {{
  backend "http" {{
    address        = "{url}"
    lock_address   = "{url}"
    unlock_address = "{url}"
  }}
}}
"""
_ENVIRONMENT: Final = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


class PlainRun:
    """One directory in which somebody applies while something is killed.

    Args:
        directory: A place for it.
        tool: The Terraform that platforms use, too.
        backend: Where remote states are.
        kill: What, and when.
        count: How many things the module makes.
    """

    def __init__(self, directory: Path, tool: Tool, backend: Backend, kill: Kill, *, count: int) -> None:
        self._name = f"p{kill.index}-{uuid.uuid4().hex[:6]}"
        self._directory = directory / self._name
        self._tool = tool
        self._backend = backend
        self._kill = kill
        self._count = count
        self._counted = Counted(directory / f"{self._name}.txt")

    async def outcome(self) -> Outcome:
        """Do it."""
        outcome = Outcome(self._kill)
        self._directory.mkdir(parents=True)
        (self._directory / "main.tf").write_text(things.module(self._count))
        if self._kill.side is Side.REMOTE:
            text = _BACKEND.format(url=self._backend.url(self._name))
            (self._directory / "backend.tf").write_text(text)
        try:
            await self._by_hand(outcome)
        except Exception as error:  # noqa: BLE001 - a result like others; the next run follows
            outcome.error = f"{type(error).__name__}: {error}"[:500]
        return outcome

    async def _by_hand(self, outcome: Outcome) -> None:
        async with asyncio.timeout(APPLY_SECONDS):
            await (await self._start("init")).wait()
            process = await self._start("apply", "-auto-approve", "-no-color")
            began = time.monotonic()
            if self._kill.victim is not Victim.NOTHING:
                began = await self._strike(process.pid, outcome)
            status = await process.wait()
            known = things.held(self._state())
            if self._kill.victim is not Victim.NOTHING:
                status = await self._again(outcome)
            outcome.seconds = time.monotonic() - began
        now = things.held(self._state())
        outcome.ready = status == 0
        outcome.made_twice, outcome.begun_twice = self._counted.twice("made"), self._counted.twice("begun")
        outcome.blocked = "force-unlock" in outcome.by_hand
        outcome.lost = [name for name, its in known.items() if now.get(name) != its]
        outcome.lost += [name for name in things.names(self._count) if name not in now]
        if self._kill.side is Side.LOCAL and list(self._directory.glob(".*.lock.info")):
            outcome.left.append("lock.info")

    async def _again(self, outcome: Outcome) -> int:
        """What a person does who finds it killed."""
        for _ in range(TRIES):
            outcome.by_hand.append("apply")
            process = await self._start("apply", "-auto-approve", "-no-color")
            status = await process.wait()
            output = self._log.read_text(errors="replace")
            if status == 0:
                outcome.error = ""
                return 0
            if "Error acquiring the state lock" in output:
                outcome.by_hand.append("force-unlock")
                lock = self._backend.lock_id(self._name) or _lock_id(output)
                await (await self._start("force-unlock", "-force", lock)).wait()
            outcome.error = output[-300:]
        return 1

    async def _strike(self, pid: int, outcome: Outcome) -> float:
        match self._kill.moment:
            case Moment.PLAN:
                await asyncio.sleep(0.05)
            case Moment.APPLY:
                thing = things.names(self._count)[self._kill.thing]
                await until(lambda: self._counted.times("begun")[thing], what=f"it makes {thing}")
            case _ if self._kill.side is Side.LOCAL:
                await until(lambda: len(things.held(self._state())) > self._kill.thing, what="it writes its state")
            case _:  # a remote state is written every 20 s and at the end: only what is made can be seen
                thing = things.names(self._count)[self._kill.thing]
                await until(lambda: self._counted.times("made")[thing], what=f"it has made {thing}")
        await asyncio.sleep(self._kill.delay_seconds)
        victims = [pid]
        if self._kill.victim is Victim.MACHINE:
            with suppress(psutil.Error):
                victims += [child.pid for child in psutil.Process(pid).children(recursive=True)]
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                outcome.hit = True
        return time.monotonic()

    @property
    def _log(self) -> Path:
        return self._directory / "said.txt"

    def _state(self) -> TerraformState | None:
        if self._kill.side is Side.REMOTE:
            return parse_state(self._backend.states.get(f"/{self._name}"))
        with suppress(OSError):
            return parse_state((self._directory / "terraform.tfstate").read_bytes())
        return None

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        command = [self._tool.path] if self._tool.mode == "exec" else self._tool.changing([])
        with self._log.open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                *arguments,
                cwd=self._directory,
                env={**os.environ, **_ENVIRONMENT, "TF_VAR_made": str(self._counted.file)},
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )


def _lock_id(output: str) -> str:
    lock_line = re.search(r"ID:\s+(\S+)", output)
    return lock_line.group(1) if lock_line else ""
