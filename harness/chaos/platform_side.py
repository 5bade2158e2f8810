"""One kill of a platform at work: a new service, the kill, and what is true of it in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, TypeVar

import psutil

from bondstone.activities.terraform.state import TerraformState, parse_state
from bondstone.base.errors import NotFound, Unreachable
from bondstone.base.process_identity import Holder
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.client.documents.service import OperationDocument
from bondstone.model.service import OperationStatus, Phase, ServiceId
from harness.chaos import things
from harness.chaos.kills import Kill, Moment, Side, Victim
from harness.chaos.outcome import Outcome
from harness.chaos.things import Counted
from harness.local_platform import LocalPlatform
from harness.waiting import until, until_async

READY_SECONDS: Final = 240
"""A stopped worker may cost a pause, a heartbeat and the term of a lease; the rest is work on a busy machine."""
CLAIM_SECONDS: Final = 5
MOMENT_SECONDS: Final = 120
"""How long the moment of a kill is waited for."""
LOOK_SECONDS: Final = 0.3
_T = TypeVar("_T")


class Witness:
    """Reads the state log for as long as a run lasts, and remembers what was acknowledged."""

    def __init__(self, bond: DirectClient, service: ServiceId) -> None:
        self._bond = bond
        self._service = service
        self._newest: TerraformState | None = None
        self._position = 0
        self.acknowledged: dict[str, str] = {}
        self.wrong: list[str] = []

    async def look(self) -> None:
        """See the newest state; one that is older than what was seen before is wrong."""
        log = (await self._bond.connection.store()).state(self._service, things.STEP)
        snapshot = await log.read()
        state = parse_state(snapshot.payload)
        if snapshot.position < self._position or (self._newest is not None and not self._goes_on(state)):
            self.wrong.append(f"the log went back from entry {self._position} to {snapshot.position}")
        self._position, self._newest = snapshot.position, state
        self.acknowledged |= things.held(state)

    def missing(self, count: int) -> list[str]:
        """What the newest state does not hold, and should."""
        now = things.held(self._newest)
        lost = [f"{name}: another in its place" for name, its in self.acknowledged.items() if now.get(name) != its]
        return self.wrong + lost + [name for name in things.names(count) if name not in now]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look all the time."""

        async def keep() -> None:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_SECONDS)

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _goes_on(self, state: TerraformState | None) -> bool:
        before = self._newest
        same_life = state is not None and before is not None and state.lineage == before.lineage
        return same_life and state is not None and before is not None and state.serial >= before.serial


class _Made:
    """One service that is made: its things, its runs on the host, and who watches its state."""

    def __init__(self, platform: LocalPlatform, bond: DirectClient, service: ServiceId) -> None:
        self.id = service
        self.counted = Counted(platform.data.parent / things.DIRECTORY / f"{service.name}.txt")
        self.runs = platform.settings.work_dir / "runs" / service.team / service.name / things.STEP
        self.witness = Witness(bond, service)


class Run:
    """One service, or one with a part, that is made while something is killed.

    Args:
        platform: Where; its promises are published.
        bond: A client of it.
        kill: What, and when.
        count: How many things each service makes.
    """

    def __init__(self, platform: LocalPlatform, bond: DirectClient, kill: Kill, *, count: int) -> None:
        self._platform = platform
        self._bond = bond
        self._kill = kill
        self._count = count
        root = ServiceId(team="chaos", name=f"k{kill.index}-{uuid.uuid4().hex[:6]}")
        self._root = _Made(platform, bond, root)
        self._made = [self._root]
        if kill.side is Side.COMPOUND:
            part = root.changed(name=f"{root.name}-{things.PART}")
            self._made.append(_Made(platform, bond, part))
        struck = self._made[-1] if kill.of_part else self._root
        self.id = struck.id
        self._counted, self._runs = struck.counted, struck.runs

    async def outcome(self) -> Outcome:
        """Do it."""
        outcome = Outcome(self._kill)
        try:
            await self._until(self._all_running, "every process of the platform runs")
            async with AsyncExitStack() as watching:
                for made in self._made:
                    await watching.enter_async_context(made.witness.watching())
                gated = self._kill.moment is Moment.APPROVAL
                operation = await self._request(gated=gated)
                struck = self._bond.operation(f"{self.id}/op/1")
                began = await self._strike(struck, outcome)
                if gated:
                    await self._approve(struck)
                async with asyncio.timeout(READY_SECONDS):
                    record = await operation.wait(through_approvals=True)
                outcome.seconds = time.monotonic() - began
                await self._look_at(record, outcome)
        except Exception as error:  # noqa: BLE001 - a result like others; the next run follows
            outcome.error = outcome.error or f"{type(error).__name__}: {error}"[:500]
        return outcome

    async def _request(self, *, gated: bool) -> Operation:
        inputs = {"made": str(self._root.counted.file), "gated": gated}
        promise = things.PROMISE
        if self._kill.side is Side.COMPOUND:
            promise = things.TREE
            inputs["part_made"] = str(self._made[-1].counted.file)
        return await self._bond.services.request(promise, str(self._root.id), inputs)

    async def _look_at(self, record: OperationDocument, outcome: Outcome) -> None:
        if record.status is not OperationStatus.SUCCEEDED:
            outcome.error = f"{record.status}: {record.error.message if record.error else ''}"[:500]
        for made in self._made:
            await self._look_at_one(made, outcome)
        outcome.ready = not outcome.error

    async def _look_at_one(self, made: _Made, outcome: Outcome) -> None:
        state = await self._bond.services.get(str(made.id))
        last = things.names(self._count)[-1]
        times = made.counted.times("made")
        ready = (state.phase, state.outputs) == (Phase.READY, {"last": last})
        if (not ready or set(times) != set(things.names(self._count))) and not outcome.error:
            outcome.error = f"{made.id}: {state.phase}, outputs {state.outputs}, {len(times)} things made"
        outcome.made_twice += made.counted.twice("made")
        outcome.begun_twice += made.counted.twice("begun")
        outcome.blocked = outcome.blocked or not await self._can_be_claimed(made.id)
        await made.witness.look()
        outcome.lost += made.witness.missing(self._count)
        orphans = self._platform.settings.work_dir / "orphans"
        outcome.left += [path.name for path in [*made.runs.glob("*"), *orphans.glob(f"*{made.id.name}*")]]

    async def _can_be_claimed(self, service: ServiceId) -> bool:
        """Whether whoever comes next has the state at once."""
        waited = False

        def on_wait(_holder: Holder) -> None:
            nonlocal waited
            waited = True

        log = (await self._bond.connection.store()).state(service, things.STEP)
        try:
            async with asyncio.timeout(CLAIM_SECONDS):
                claim = await log.claim(Holder.me("chaos", "chaos"), on_wait=on_wait)
                async with claim:
                    await claim.release()
        except TimeoutError:
            return False
        return not waited

    # When ----------------------------------------------------------------------------------------------------

    async def _strike(self, operation: Operation, outcome: Outcome) -> float:
        """Wait for the moment, and kill; the time from which recovery counts."""
        began = time.monotonic()
        if self._kill.victim is Victim.NOTHING:
            return began
        match self._kill.moment:
            case Moment.PLAN:
                await self._until(lambda: self._terraform("plan") or self._counted.times("begun"), "it plans")
                if self._counted.times("begun"):  # the plan was over before it was seen: nothing is hit
                    return began
            case Moment.APPLY:
                thing = things.names(self._count)[self._kill.thing]
                await self._until(lambda: self._counted.times("begun")[thing], f"it makes {thing}")
            case Moment.UPLOAD:
                last = things.names(self._count)[-1]
                await self._until(
                    lambda: self._written() > self._kill.thing or self._counted.times("made")[last],
                    "Terraform writes its state",
                )
                if self._counted.times("made")[last]:
                    return began
            case Moment.APPROVAL:
                await self._at_the_gate(operation)
            case Moment.COMMIT:
                last = things.names(self._count)[-1]
                await self._until(lambda: self._counted.times("made")[last], "all is made")
                await self._until(lambda: not self._terraform("apply"), "Terraform has ended")
        await asyncio.sleep(self._kill.delay_seconds)
        return await self._do_kill(outcome)

    async def _until(self, condition: Callable[[], object], what: str) -> None:
        await until(condition, seconds=MOMENT_SECONDS, what=f"{self.id}: {what}")

    def _written(self) -> int:
        """How many things the state file of the run holds."""
        for run in self._runs.glob("*.apply"):
            with suppress(OSError):
                return len(
                    things.held(parse_state((run / "tree" / things.MODULE / "terraform.tfstate").read_bytes()))
                )
        return 0

    async def _at_the_gate(self, operation: Operation) -> str:
        """Wait until people are asked; the digest of the plan they are asked about."""

        async def asked_or_over() -> tuple[str, ...]:
            record = await _answered(operation.get)
            waiting = [approval.digest for approval in record.approvals if approval.status == "waiting"]
            over = record.status.ended or any(approval.status == "approved" for approval in record.approvals)
            return (*waiting[-1:],) or (("",) if over else ())

        [digest] = await until_async(asked_or_over, f"{operation.id} waits for people", seconds=READY_SECONDS)
        return digest

    async def _approve(self, operation: Operation) -> None:
        """Approve as another person, as soon as the gate is open."""
        digest = await self._at_the_gate(operation)
        async with self._platform.client("grace") as grace:
            held = grace.operation(operation.id)
            await _answered(lambda: held.approve(digest, step=things.STEP, roles=["dba"]))

    # What ----------------------------------------------------------------------------------------------------

    async def _do_kill(self, outcome: Outcome) -> float:
        terraforms = self._terraform("plan") + self._terraform("apply")
        began = time.monotonic()
        match self._kill.victim:
            case Victim.WORKER:
                outcome.hit = _kill([self._platform.pid("executor")])
            case Victim.TERRAFORM:
                outcome.hit = _kill(_programs(terraforms))
            case Victim.BOTH:
                outcome.hit = bool(terraforms)
                _kill([self._platform.pid("executor"), *_programs(terraforms)])
            case Victim.SERVER:
                outcome.hit = _kill([self._platform.pid("temporal")])
            case Victim.MACHINE:
                outcome.hit = True
                started = [pid for leader in terraforms for pid in _session(leader)]
                _kill([*self._platform.everything(), *started])
                self._platform.kill_everything()  # and wait until they are gone
                _kill([pid for leader in terraforms for pid in _session(leader)])
                await asyncio.to_thread(self._platform.up)
            case Victim.PAUSE:
                outcome.hit = True
                worker = self._platform.pid("executor")
                os.kill(worker, signal.SIGSTOP)
                try:
                    await asyncio.sleep(self._kill.pause_seconds)
                finally:
                    os.kill(worker, signal.SIGCONT)
                began = time.monotonic()
        return began

    def _terraform(self, verb: str) -> list[int]:
        """The sessions of Terraform at work on the service, by their leaders."""
        pids = (things.terraform_pid(run) for run in self._runs.glob(f"*.{verb}"))
        return [pid for pid in pids if pid and psutil.pid_exists(pid)]

    def _all_running(self) -> bool:
        state = self._platform.state()
        return state.alive and all(process.alive and process.status == "running" for process in state.processes)


async def _answered(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask until the platform answers: it may be starting again, or a part not be requested yet."""

    async def answer() -> tuple[_T]:
        return (await ask(),)

    [result] = await until_async(
        answer, "the platform answers", seconds=READY_SECONDS, not_yet=(Unreachable, NotFound)
    )
    return result


def _session(leader: int) -> list[int]:
    members = []
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) == leader:
                members.append(pid)
    return members


def _programs(leaders: list[int]) -> list[int]:
    """Terraform itself and the shim in front of it, not what its provisioners run."""
    programs = list(leaders)
    for leader in leaders:
        with suppress(psutil.Error):
            programs += [child.pid for child in psutil.Process(leader).children() if "terraform" in child.name()]
    return programs


def _kill(pids: list[int]) -> bool:
    """Kill -9, all at once; whether any of them was there."""
    hit = False
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            hit = True
    return hit
