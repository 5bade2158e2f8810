"""One verb at work: the files that an image is handed, and one run of it, whoever started it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bondstone.activities.container.contract import KILLED, failure
from bondstone.activities.container.documents import ContainerJob, ContainerRecord, read_record
from bondstone.activities.container.engine import NOBODY, ContainerState, EngineUnreachable, StepEngine
from bondstone.activities.container.section import ContainerSection
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.activities.tooling.scratch import write_private
from bondstone.base.canonical import digest
from bondstone.base.errors import (
    BondError,
    Fenced,
    InvalidInput,
    StepTimedOut,
    StoreUnavailable,
    ToolFailed,
)
from bondstone.executors.protocol import StepContext
from bondstone.model.promise import seconds

DIRECTORY: Final = "container"
_POLL_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 10
"""How often it is looked whether the program still runs: an engine whose watcher was killed does not notice."""
_LATE_SECONDS: Final = 15
"""How long after its time a container is given to be killed by its engine."""


@dataclass(slots=True)
class ContainerSession:
    """What the verbs share while one of them runs."""

    context: StepContext
    engine: StepEngine
    pulse: Pulse
    stop: Stop

    @property
    def section(self) -> ContainerSection:
        """The rendered section of the step."""
        section: ContainerSection = self.context.section
        return section

    @property
    def where(self) -> str:
        """The service and the step, for errors."""
        return f"{self.context.service} step {self.context.step}"

    @property
    def owner(self) -> str:
        """What containers of the step are labelled with: the same for all its attempts, on every worker.

        No id of the platform is at hand that stays: keys are rotated, addresses of Temporal change.
        """
        trial = "/trial" if self.context.trial else ""
        platform = digest(self.context.settings.store_url.encode())[:8]  # an engine may serve several
        return f"{platform}/{self.context.service}/{self.context.step}{trial}"

    async def record(self) -> tuple[int, ContainerRecord]:
        """Position and content of the newest state."""
        snapshot = await self.context.state.read()
        return snapshot.position, read_record(snapshot.payload)

    def job(self) -> ContainerJob:
        """What the section asks for.

        Raises:
            InvalidInput: when a secret is where others can see it.
        """
        section = self.section
        visible = {f"env.{name}": text for name, text in section.env.items()}
        visible |= {f"command[{index}]": text for index, text in enumerate(section.command)}
        for key, text in visible.items():
            if self.context.redact.is_in(text):
                raise InvalidInput(
                    f"{key} would show a secret to everybody who can list the worker's containers",
                    where=self.where,
                    hint="pass it by `inputs` or `files`, which are private files",
                )
        return ContainerJob(
            image=section.image,
            command=section.command,
            env=section.env,
            inputs=section.inputs,
            files=section.files,
            network="none" if self.context.trial else section.network,
            cpus=section.cpus,
            memory_mib=section.memory_mib,
            processes=section.processes,
            time_seconds=seconds(section.time),
        )

    @asynccontextmanager
    async def requested(self, job: ContainerJob, action: str, told: Mapping[str, Any]) -> AsyncIterator[Path]:
        """Run a container that changes nothing, and may be run again; where its output is, gone afterwards.

        Raises:
            BondError: when it failed.
            asyncio.CancelledError: when the attempt was asked to stop; the container is gone by then.
        """
        name = f"{self._prefix}{digest(self.context.attempt.encode())[:24]}"
        directory = self._root / name
        try:
            await asyncio.to_thread(self._lay_out, directory, job, {**told, "action": action})
            self.pulse.note(f"{action} in the container {name}")
            self.context.log(f"{action} by {job.image} in {name}")
            try:
                async with asyncio.timeout(job.time_seconds + _LATE_SECONDS):
                    state, log_text = await self.stop.unless(
                        self.engine.run(name, self.owner, job, action, directory)
                    )
            except TimeoutError:
                raise self._too_late(job, name) from None
            self._judge(name, job, action, state, log_text)
            yield directory / "output"
        except BaseException:
            await self._forget(name)
            raise
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    @asynccontextmanager
    async def ran(
        self,
        job: ContainerJob,
        action: str,
        told: Mapping[str, Any],
        *,
        key: str,
        lost: asyncio.Event,
        on_failure: Callable[[BondError], Awaitable[None]],
    ) -> AsyncIterator[Path]:
        """Run a container to its end; where its output is. Both are gone afterwards.

        Args:
            job: What to run.
            action: What it is to do.
            told: What `step.json` says beside the inputs.
            key: The same for all attempts at one run: a container that an attempt before this one has started is
                waited for, and never started again.
            lost: Set when the claim on the step's state is lost: the container is stopped then.
            on_failure: Writes down how it failed, before the container is gone: else the next attempt of a worker
                that is killed in between would find neither, and run the image again.

        Raises:
            BondError: when it failed.
            asyncio.CancelledError: when the attempt was asked to stop; the container is gone by then, unless it
                outlives workers and nobody has cancelled the work.
        """
        name = f"{self._prefix}{key}"
        directory = self._root / name
        engine = self.engine
        existing = await self.clear(but=name)
        try:
            state = await self.stop.unless(engine.state(name)) if name in existing else None
            if state is not None and state.has_begun and engine.can_follow(directory):
                self.context.log(f"an attempt before this one has started the container {name}: waiting for it")
            else:
                if state is not None:
                    await engine.remove(name)
                await asyncio.to_thread(self._lay_out, directory, job, {**told, "action": action})
                self.context.log(f"{action} by {job.image} in {name}")
                await self._start(name, job, action, directory, lost)
            over = await self._until_over(name, job, action, lost)
            log_text = await engine.output_of(name)
            await engine.collect(name, directory)
            self._judge(name, job, action, over, log_text)
            yield directory / "output"
        except EngineUnreachable:
            raise  # what runs continues, and the next attempt finds it
        except BaseException as error:
            stopped = isinstance(error, asyncio.CancelledError)
            continues = not self.context.was_cancelled() if stopped else lost.is_set()
            if engine.outlives_workers and continues:  # another attempt may follow it already
                self.context.log(f"{name} continues, and the next attempt follows it")
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
                raise
            if isinstance(error, StoreUnavailable) and not lost.is_set():
                raise  # the record could not be written: the next attempt finds the container, and its output
            is_fenced = isinstance(error, Fenced) or lost.is_set()
            if isinstance(error, BondError) and not (error.transient or is_fenced):
                with suppress(Fenced):  # another attempt holds the record
                    await on_failure(error)
            await self._forget(name)
            raise
        await self._forget(name)

    async def _start(
        self, name: str, job: ContainerJob, action: str, directory: Path, lost: asyncio.Event
    ) -> None:
        """Start a container; what outlives workers only while the claim is held, or it might start a second time.

        Raises:
            StoreUnavailable: when the claim was lost meanwhile.
        """
        starting = self.engine.start(name, self.owner, job, action, directory)
        if not self.engine.outlives_workers:
            await starting
            return
        start, loss = asyncio.ensure_future(starting), asyncio.ensure_future(lost.wait())
        try:
            await asyncio.wait({start, loss}, return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                raise self._claim_lost()
            start.result()
        finally:
            start.cancel()
            loss.cancel()
            await asyncio.gather(start, loss, return_exceptions=True)

    async def end_abandoned(self, record: ContainerRecord) -> None:
        """End the run of an apply that nobody follows: it was cancelled, or given up, between two attempts.

        Args:
            record: Of the step; it names a run whose end nobody has seen.
        """
        if record.run is not None and not record.run.done and record.run.failed is None:
            await self.clear()

    async def clear(self, *, but: str = "") -> list[str]:
        """Remove what attempts before this one have left of the step on this machine.

        Args:
            but: Name of the one that stays.

        Returns:
            The containers that were there.
        """
        existing = await self.stop.unless(self.engine.names(self.owner))
        left = await asyncio.to_thread(lambda: [path.name for path in self._root.glob(f"{self._prefix}*")])
        for name in {*existing, *left} - {but}:
            await self._forget(name)
        return existing

    async def _until_over(
        self, name: str, job: ContainerJob, action: str, lost: asyncio.Event
    ) -> ContainerState | None:
        """Wait for its end, also when what waits for it is killed; its last state, None when it is gone.

        Raises:
            StepTimedOut: when it took longer than it may.
            StoreUnavailable: when the claim was lost meanwhile.
        """
        self.pulse.note(f"{action} in the container {name}")
        deadline = time.monotonic() + job.time_seconds + _LATE_SECONDS
        while True:
            with suppress(ToolFailed):
                await self.stop.unless(self._ended(name, min(_LOOK_SECONDS, deadline - time.monotonic()), lost))
            if lost.is_set():
                raise self._claim_lost()
            state = await self.stop.unless(self.engine.state(name))
            if state is None or state.is_over:
                return state
            if state.is_lost:
                return None
            self.pulse.note(f"{action} in the container {name}{f': {state.note}' if state.note else ''}")
            if time.monotonic() >= deadline:
                raise self._too_late(job, name)
            await self.stop.unless(asyncio.sleep(_POLL_SECONDS))

    async def _ended(self, name: str, at_most_seconds: float, lost: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(self.engine.wait(name)), asyncio.ensure_future(_set(lost))]
        try:
            done, _ = await asyncio.wait(
                waits, timeout=max(0, at_most_seconds), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
            results = await asyncio.gather(*waits, return_exceptions=True)
        if done and isinstance(results[0], ToolFailed):
            raise results[0]

    def _judge(
        self, name: str, job: ContainerJob, action: str, state: ContainerState | None, log_text: str
    ) -> None:
        for line in log_text.splitlines():
            self.context.log(line)
        if state is not None and state.code == 0:
            return
        if state is not None and state.outlived(job.time_seconds):
            raise self._too_late(job, name)
        code = KILLED if state is None else state.code
        last = log_text.strip().rpartition("\n")[2]
        out_of_memory = state is not None and state.out_of_memory
        output = self._root / name / "output"
        error = failure(code, action, output, self.where, complaint=last, out_of_memory=out_of_memory)
        raise error.masked(self.context.redact)

    def _claim_lost(self) -> StoreUnavailable:
        stopped = "this attempt" if self.engine.outlives_workers else "the container"
        return StoreUnavailable(
            f"the claim on the step's record was lost or not renewed in time, so {stopped} was stopped",
            where=self.where,
            hint="see why the worker could not reach the store, or stood still",
        )

    def _too_late(self, job: ContainerJob, name: str) -> StepTimedOut:
        note = self.engine.last_note(name)
        why = f": {note}" if note else ""
        return StepTimedOut(
            f"the container has not ended within {job.time_seconds} s, and was killed{why}",
            where=self.where,
            hint="raise `time` of the step, or see in its log what it waits for",
        )

    async def _forget(self, name: str) -> None:
        await self.engine.remove(name)
        await asyncio.to_thread(shutil.rmtree, self._root / name, ignore_errors=True)

    @property
    def _root(self) -> Path:
        return self.context.settings.work_dir.absolute() / DIRECTORY

    @property
    def _prefix(self) -> str:
        """How the names of all containers of the step begin."""
        return f"bond-{digest(self.owner.encode())[:16]}-"

    def _lay_out(self, directory: Path, job: ContainerJob, told: Mapping[str, Any]) -> None:
        """Everything that the image reads, in files of the container's own user."""
        shutil.rmtree(directory, ignore_errors=True)
        files = directory / "input" / "files"
        files.mkdir(parents=True, mode=0o700)
        (directory / "output").mkdir(mode=0o700)
        service = self.context.service
        step = {
            "service": {"team": service.team, "name": service.name},
            "step": self.context.step,
            "operation": self.context.operation,
            "inputs": job.inputs,
            **told,
        }
        write_private(directory / "input" / "step.json", json.dumps(step).encode())
        for name, text in job.files.items():
            write_private(files / name, text.encode())
        if os.geteuid() == 0:
            for path in (directory, *directory.rglob("*")):
                os.chown(path, NOBODY, NOBODY)


async def _set(event: asyncio.Event) -> None:
    await event.wait()
