"""What every worker process has in common: settings, logs, connection, readiness, and an orderly end.

A worker stops on SIGTERM or SIGINT: it stops polling, lets its activities finish for `drain_seconds`, then has
them cancelled, and if some still do not end, leaves anyway. Running operations continue elsewhere: Temporal
notices by the missing heartbeat, and every activity is built for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from temporalio.client import Client
from temporalio.worker import Interceptor, Worker

from bondstone import __version__
from bondstone.base import extras, logs
from bondstone.base.errors import BondError, Unreachable
from bondstone.base.platform_file import CREATE_KEYS, ready_pipe
from bondstone.base.process_identity import poller_identity
from bondstone.base.processes import allocate_from_one_arena, give_back_memory, hide_memory
from bondstone.base.settings import Settings
from bondstone.base.tracing import export
from bondstone.store import Store
from bondstone.temporal.connection import connect, ensure_search_attributes, pollers, reason
from bondstone.workers import telemetry
from bondstone.workers.attempts import Attempts, keep_ending_dead
from bondstone.workers.health import keep_beating

ATTEMPT_SECONDS: Final = 10
"""How long one attempt to connect may take: a server may accept and then say nothing."""

CANCEL_SECONDS: Final = 30
"""How long cancelled activities may take to end before the process leaves without them. Longer than the grace
that the Terraform executor gives its tool."""

CONNECT_SECONDS: Final = 60
"""How long a starting worker waits for Temporal: worker and server may be started together."""

HEARTBEAT_THROTTLE: Final = timedelta(seconds=2)
"""At most so often does the SDK pass a heartbeat on, whose answer brings a cancel. Its own choice is four fifths
of the heartbeat timeout: for 24 s a cancelled tool would continue, and no progress would show."""

CODE: Final = f"bondstone-{__version__}"
"""What histories call the code of a worker without a build. The SDK's default is a hash of every imported module,
for which each starting process would read and unmarshal them all once more."""

FORCED_EXIT: Final = 75
"""Exit status of a worker that left activities behind (EX_TEMPFAIL)."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Serving:
    """What a worker process serves."""

    workers: Sequence[Worker]
    queues: Mapping[str, bool]
    """Task queues to see ourselves polling before we call ourselves ready; True: for workflow tasks."""
    facts: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    """What else to tell the supervisor once ready, as versions of tools."""
    beside: Callable[[], Awaitable[None]] | None = None
    """What runs beside the workers until they are signalled to stop."""


Build = Callable[[Client, Store, Settings], Awaitable[Serving]]


def main(name: str, build: Build, loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> int:
    """Run a worker process until it is told to stop, and return its exit status.

    Args:
        name: What logs and Temporal know this kind of process by.
        build: Makes the workers, given the connections.
        loop: Makes the event loop; by default it is that of asyncio.
    """
    hide_memory()
    allocate_from_one_arena()
    try:
        extras.require("worker")
        settings = Settings.load()
        logs.configure(settings, process=name)
        telemetry.start(name, settings.metrics_bind)
        export.start(f"bondstone-{name}")
        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                return runner.run(_serve(name, settings, build))
        finally:
            export.stop()
    except BondError as error:
        from bondstone.terminal.output import OutputFormat, print_error  # noqa: PLC0415 - only failures; loads the CLI's

        print_error(error.info(), OutputFormat.TABLE)
        return error.exit_code


def interceptors(settings: Settings) -> Sequence[Interceptor]:
    """What every worker of this process runs its workflows and activities through."""
    attempts = Attempts(settings.work_dir)
    if not export.on():
        return [attempts]
    from bondstone.workers.tracing import Traces  # noqa: PLC0415 - only where something is traced

    return [attempts, Traces()]


def drain(settings: Settings) -> timedelta:
    """How long a stopping worker waits for its activities."""
    return timedelta(seconds=settings.drain_seconds)


async def connect_when_up(settings: Settings) -> Client:
    """Connect to Temporal, waiting for it to come up.

    Raises:
        Unreachable: it did not come up in `CONNECT_SECONDS`.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    pause = 0.05
    while True:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                client = await connect(settings)
                await ensure_search_attributes(client)
        except Exception as error:
            # The gRPC port answers before the namespace is there: any refusal is worth another try until then.
            if time.monotonic() > deadline:
                raise (
                    error
                    if isinstance(error, BondError)
                    else Unreachable("Temporal answers, but is not ready", where=reason(str(error)))
                ) from error
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 1.0)
        else:
            return client


async def _serve(name: str, settings: Settings, build: Build) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    stop_request = asyncio.create_task(stop.wait())
    connecting = asyncio.create_task(connect_when_up(settings))
    await asyncio.wait([stop_request, connecting], return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        connecting.cancel()
        return 0
    client = connecting.result()
    store = await Store.open(settings, create_keys=CREATE_KEYS in os.environ)
    await store.objects.require_put_if_absent()
    serving = await build(client, store, settings)
    running = [asyncio.create_task(worker.run()) for worker in serving.workers]
    beside = [
        asyncio.create_task(_announce(name, client, serving, settings.health_file)),
        asyncio.create_task(keep_ending_dead(client, Attempts(settings.work_dir))),
    ]
    if serving.beside is not None:
        beside.append(asyncio.ensure_future(serving.beside()))
    log.info("started", queues=sorted(serving.queues), identity=poller_identity(name))
    await asyncio.wait([stop_request, *running], return_when=asyncio.FIRST_COMPLETED)
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    return await _wind_down(serving, running, settings)


async def _wind_down(serving: Serving, running: Sequence[asyncio.Task[None]], settings: Settings) -> int:
    """Stop polling, drain, cancel, leave."""
    log.info("stopping", drain_seconds=settings.drain_seconds)
    began = time.monotonic()
    for worker in serving.workers:
        # shutdown() returns only when everything has ended; `running` below is what we wait for.
        asyncio.ensure_future(worker.shutdown()).add_done_callback(_forget)
    _, pending = await asyncio.wait(running, timeout=settings.drain_seconds + CANCEL_SECONDS)
    if pending:
        log.error("leaving with activities unfinished", waited_seconds=round(time.monotonic() - began, 1))
        _leave(FORCED_EXIT)
    failures = [error for task in running if not task.cancelled() and (error := task.exception())]
    for error in failures:
        log.error("worker failed", exc_info=error)
    log.info("stopped", seconds=round(time.monotonic() - began, 1))
    return 1 if failures else 0


async def _announce(name: str, client: Client, serving: Serving, health_file: Path | None) -> None:
    """Say that we are ready, once Temporal has seen this process poll each of its queues; then that we live."""
    for queue, workflows in serving.queues.items():
        while not await _seen(poller_identity(name), client, queue, workflows=workflows):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    log.info("ready")
    with ready_pipe() as tell:
        tell({"ready": True})
        if serving.facts is not None:
            tell({"versions": dict(await serving.facts())})
    give_back_memory()
    if health_file:
        await keep_beating(health_file)


async def _seen(who: str, client: Client, queue: str, *, workflows: bool) -> bool:
    return any(poller.identity == who for poller in await pollers(client, queue, workflows=workflows))


def _forget(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _leave(status: int) -> None:
    """Exit without waiting for threads and tasks that do not end."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)
