"""The supervisor behind `bond up`, `python -m bondstone.workers.embedded`: the whole platform on one machine.

It starts a real Temporal server on a file, control workers and an executor worker, says when all are healthy,
starts again what dies, and stops everything in order: workers first, so that what they finish is recorded.
Whatever way it ends itself, its children end too, and the next start continues with the same data.

The workers are forks of it, so that what they are made of is imported once and in memory once. Therefore it starts
no thread, opens no connection and reads no key: what needs those runs `apart`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import psutil
import structlog

from bondstone import __version__
from bondstone.base import extras, logs
from bondstone.base.data_directory import default_data_dir
from bondstone.base.errors import BondError, StoreUnavailable, Unreachable
from bondstone.base.files import open_private
from bondstone.base.forking import Start
from bondstone.base.names import SEARCH_ATTRIBUTES
from bondstone.base.platform_file import CREATE_KEYS, LOG_DIR, SUPERVISOR, Platform, PlatformLock, ready_pipe
from bondstone.base.processes import birth, hide_memory, leave
from bondstone.base.settings import Settings
from bondstone.identity.local_token import ensure_local_token
from bondstone.store.crypto import KeyRing
from bondstone.temporal.connection import connect
from bondstone.temporal.listing import InFlight, in_flight
from bondstone.terminal.error_text import explain
from bondstone.terminal.output import emit, note, print_error, requested_format
from bondstone.terminal.platform import print_summary
from bondstone.workers import preflight
from bondstone.workers.child import Child, Command
from bondstone.workers.starting import apart, preload, start

DATABASE: Final = "temporal.db"
_PORT_TAKEN: Final = "address already in use"
"""Of an error of Temporal's."""
SERVICES_DIR: Final = "services"
SERVICES_VARIABLE: Final = "TF_VAR_services_dir"
"""Where promises that make files on this machine put them; executors and their tools see it."""

START_SECONDS: Final = 90
CANCEL_SECONDS: Final = 40
"""Beyond `drain_seconds`, how long a worker may take; longer than the worker's own deadline."""
TEMPORAL_STOP_SECONDS: Final = 10
HOUSEKEEPING_SECONDS: Final = 15
CONTINUED_SECONDS: Final = 5
CONTINUED_NAMED: Final = 10
"""How much of what continues is named when the platform starts on existing data."""
MAX_CONTROL_WORKERS: Final = 4

DYNAMIC_CONFIG: Final = {
    # One machine, one SQLite connection: partitions of a task queue only add hops, and the limits meant to
    # protect a shared cluster only get in the way.
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    "frontend.rps": 20000,
    "frontend.namespaceRPS": 20000,
    "frontend.namespaceCount": 20000,
    "frontend.namespaceRPS.visibility": 500,
    "matching.rps": 20000,
    "matching.persistenceMaxQPS": 20000,
    "history.rps": 20000,
    "history.persistenceMaxQPS": 20000,
    # A service of instant tools continues as new, and ends and begins again, within a second.
    "history.workflowIdReuseMinimalInterval": "0s",
    # The development server reads its search attributes from the database at each use, 30 times an operation. Ours
    # are there before it serves anybody, and a cache, as a server in production has it, does as well.
    "system.forceSearchAttributesCacheRefreshOnRead": False,
    # Temporal's own housekeeping polls with 8 tasks a kind; one machine's needs 2, which saves 2 MiB.
    "worker.ScannerMaxConcurrentActivityTaskPollers": 2,
    "worker.ScannerMaxConcurrentWorkflowTaskPollers": 2,
    "worker.ParentCloseMaxConcurrentActivityTaskPollers": 2,
    "worker.ParentCloseMaxConcurrentWorkflowTaskPollers": 2,
}

SQLITE: Final = {
    # A commit appends to a log instead of rewriting pages under a rollback journal: half the server's CPU time and
    # twice its pace. "full" flushes each commit: what was acknowledged survives a power cut, as without the log.
    "journal_mode": "wal",
    "synchronous": "full",
}

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the platform until it is told to stop; returns the exit code.

    Args:
        arguments: Those of the command line unless told.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m bondstone.workers.embedded")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--port", type=int, default=preflight.DEFAULT_PORT)
    parser.add_argument("-o", "--output", default="table")
    options = parser.parse_args(arguments)
    hide_memory()
    data: Path = (options.data or default_data_dir()).absolute()
    output = requested_format(arguments)
    with ready_pipe() as tell:

        def healthy(platform: Platform) -> None:
            emit(
                platform.model_dump(exclude={"born": True, "processes": {"__all__": {"born"}}}),
                output,
                lambda: print_summary(platform, data),
            )
            tell({"ready": True})

        try:
            return asyncio.run(Supervisor(data, options.port).run(healthy))
        except Exception as error:  # noqa: BLE001 - said in words, in full in a file
            info, exit_code = explain(error, data / LOG_DIR)
            if structlog.is_configured():  # else nothing has a log yet, and standard output is not one
                log.error("failed", code=info.code, message=info.message)  # noqa: TRY400 - said in words
            print_error(info, output)
            tell({"error": info.model_dump(mode="json")})
            return exit_code


def temporal_command(binary: Path, data: Path, port: int, ui_port: int) -> Command:
    """The Temporal development server on the data directory.

    Its database is synced at every commit, see `SQLITE`. For its HTTP API it chooses a free port itself, which
    another process may take before it listens there.
    """
    arguments = [str(binary), "server", "start-dev", "--ip", preflight.LOOPBACK, "--port", str(port)]
    arguments += ["--ui-port", str(ui_port), "--ui-disable-news-fetch", "--db-filename", str(data / DATABASE)]
    arguments += ["--log-level", "warn", "--log-format", "json"]
    for name, kind in SEARCH_ATTRIBUTES.items():
        arguments += ["--search-attribute", f"{name}={kind}"]
    for name, value in DYNAMIC_CONFIG.items():
        arguments += ["--dynamic-config-value", f"{name}={json.dumps(value)}"]
    for name, value in SQLITE.items():
        arguments += ["--sqlite-pragma", f"{name}={value}"]
    return Command(
        preflight.TEMPORAL, tuple(arguments), _clean_environment(), private=True, port=port, passing=_PORT_TAKEN
    )


def worker_commands(settings: Settings, *, new: bool) -> list[Command]:
    """The workers: control workers by the number of cores, one executor worker, and the API where it is installed.

    Those of a new platform make its key ring, whoever comes first.
    """
    services = settings.data / SERVICES_DIR
    tools = tuple(dict.fromkeys((*settings.tool_environment, SERVICES_VARIABLE)))
    handed_down = settings.changed(
        tool_environment=tools,
        probe_local=True,  # what it serves is on this machine
        tool_writable_paths=(*settings.tool_writable_paths, services.absolute()),
        build_id="",  # one build at a time: it stops before another starts
    ).as_environment()
    environment = {**_clean_environment(), **handed_down, SERVICES_VARIABLE: str(services)}
    if new:
        environment[CREATE_KEYS] = "1"
    count = max(1, min(MAX_CONTROL_WORKERS, (os.cpu_count() or 1) // 2))
    names = ["control", *(f"control-{number}" for number in range(2, count + 1))]
    modules = [
        *((name, "bondstone.workers.control") for name in names),
        ("executor", "bondstone.workers.executor"),
        *([(preflight.API, "bondstone.workers.api")] if settings.api else []),
    ]
    return [
        Command(name, (sys.executable, "-m", module), {**environment, **_metrics(settings, number)})
        for number, (name, module) in enumerate(modules)
    ]


def _metrics(settings: Settings, number: int) -> Mapping[str, str]:
    """Where the worker of this number serves its metrics: none of them can share a port."""
    host, _, port = settings.metrics_bind.rpartition(":")
    return {"BOND_METRICS_BIND": f"{host}:{int(port) + number}" if port.isdigit() else settings.metrics_bind}


def _clean_environment() -> Mapping[str, str]:
    """Ours, without what would send a child to another Temporal."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


class Supervisor:
    """The platform of one data directory.

    Args:
        data: The directory, absolute.
        port: Of Temporal's gRPC; 0 for any that is free.
    """

    def __init__(self, data: Path, port: int) -> None:
        self._data = data
        self._port = port
        self._status: Literal["starting", "running", "stopping", "stopped"] = "starting"
        self._started_at = datetime.now(UTC)
        self._ready_seconds: float | None = None
        self._versions = {"bondstone": __version__, "python": sys.version.split()[0]}
        self._children: list[Child] = []
        self._client_settings: dict[str, str] = {}
        self._pools: tuple[str, ...] = ()
        self._new = True
        self._continued = InFlight(0, ())
        self._stop = asyncio.Event()

    async def run(self, announce: Callable[[Platform], None]) -> int:
        """Start everything, keep it running until a signal, stop it in order; returns the exit code.

        Raises:
            BondError: in words, what kept it from starting.
        """
        extras.require("worker")
        preflight.check_directory(self._data)
        lock = PlatformLock.acquire(self._data)
        try:
            settings, commands = await self._prepare()
            self._handle_signals()
            directory = self._data / LOG_DIR
            self._children = [Child(command, directory, self._write, note) for command in commands]
            await self._supervise(settings, announce)
        finally:
            self._set_status("stopped")
            lock.release()
        return 0

    async def _prepare(self) -> tuple[Settings, list[Command]]:
        """Check everything that can be checked, and decide everything that is to be decided."""
        (self._data / LOG_DIR).mkdir(mode=0o700, exist_ok=True)
        (self._data / SERVICES_DIR).mkdir(exist_ok=True)
        previous = Platform.read(self._data)
        left = preflight.end_orphans(previous.processes if previous else ())
        preflight.check_room(self._data)
        binary = preflight.find_temporal()
        port, ui_port = preflight.choose_ports(self._port)
        has_api = importlib.util.find_spec("fastapi") is not None
        api = f"{preflight.LOOPBACK}:{preflight.choose_api_port(self._port)}"
        settings = Settings.load(
            data=self._data,
            api=f"http://{api}" if has_api else "",
            api_bind=api,
            temporal_address=f"{preflight.LOOPBACK}:{port}",
            temporal_namespace="default",
            temporal_ui=f"http://{preflight.LOOPBACK}:{ui_port}",
        )
        copied_from = preflight.take_over_copy(self._data, previous, settings.store_url)
        await apart(lambda: _make_keys(settings))
        self._pools = settings.pools
        self._client_settings = {
            "temporal_address": settings.temporal_address,
            "temporal_namespace": settings.temporal_namespace,
            "temporal_ui": settings.temporal_ui,
            "store": settings.store_url,
            "keys": str(settings.key_file.absolute()),
            "attestation": settings.attestation,
            "api": settings.api,
        }
        if settings.payload_keys:
            self._client_settings["payload_keys"] = str(settings.payload_keys.absolute())
        log_file = self._data / LOG_DIR / f"{SUPERVISOR}.log"
        file = os.fdopen(open_private(log_file), "a", encoding="utf-8")
        logs.configure(settings, stream=file, process=SUPERVISOR)
        preflight.check_keys(self._data / DATABASE, settings.key_file)
        self._new = new = not (self._data / DATABASE).exists()
        if copied_from:
            log.info("the data directory was copied or moved", origin=copied_from)
            note(f"this directory comes from {copied_from}; it uses its own store and keys")
        for name in left:
            log.warning("a process of an earlier run was still there", name=name)
            note(f"ended what an earlier run had left: {name}")
        return settings, [temporal_command(binary, self._data, port, ui_port), *worker_commands(settings, new=new)]

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A hang-up that is ignored was meant so, see nohup(1). An interrupt that is ignored was inherited from
            # a shell that starts its background jobs so, and whoever interrupts this process means it.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            note("stopping now; what was in flight continues at the next `bond up`")
            for child in self._children:
                child.kill()
        self._stop.set()

    async def _supervise(self, settings: Settings, announce: Callable[[Platform], None]) -> None:
        temporal, *workers = self._children
        running = [asyncio.create_task(temporal.keep_running())]
        await asyncio.sleep(0)  # it starts, and comes up while this process is busy
        preload(worker.command.arguments[2] for worker in workers)
        running += [asyncio.create_task(worker.keep_running()) for worker in workers]
        stopping = asyncio.create_task(self._stop.wait())
        healthy = asyncio.create_task(self._until_healthy())
        try:
            await asyncio.wait([stopping, healthy, *running], return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure(running, healthy)
            if not self._stop.is_set():
                if not self._new:
                    count, named = await apart(lambda: asyncio.run(_continued(settings)))
                    self._continued = InFlight(count, tuple(named))
                self._ready_seconds = round(time.time() - psutil.Process().create_time(), 2)
                self._set_status("running")
                log.info("healthy", seconds=self._ready_seconds)
                announce(self._platform())
                await self._keep(stopping, running)
        finally:
            healthy.cancel()
            await self._wind_down(settings, running)

    async def _until_healthy(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                for child in self._children:
                    await child.ready.wait()
        except TimeoutError:
            late = ", ".join(child.command.name for child in self._children if not child.ready.is_set())
            raise Unreachable(
                f"not healthy after {START_SECONDS} s: {late}",
                where=str(self._data / LOG_DIR),
                hint="their logs are there",
            ) from None

    async def _keep(self, stopping: asyncio.Task[bool], running: Sequence[asyncio.Task[None]]) -> None:
        """Until asked to stop: bound the logs, watch the disk, learn versions."""
        self._versions["temporal"] = await _temporal_version(self._children[0].command.arguments[0])
        self._write()
        while not self._stop.is_set():
            await asyncio.wait(
                [stopping, *running], timeout=HOUSEKEEPING_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            self._raise_failure(running)
            for child in self._children:
                child.bound_log()
            try:
                preflight.check_room(self._data)
            except StoreUnavailable as error:
                log.error("little room", message=error.message)  # noqa: TRY400 - said in words
                note(error.message)

    async def _wind_down(self, settings: Settings, running: Sequence[asyncio.Task[None]]) -> None:
        temporal, *workers = self._children
        self._set_status("stopping")
        log.info("stopping")
        if self._ready_seconds is not None:
            note(f"stopping: work in flight gets up to {settings.drain_seconds} s (again to stop now)")
        grace = settings.drain_seconds + CANCEL_SECONDS
        await asyncio.gather(*(worker.stop(grace) for worker in workers))
        await temporal.stop(TEMPORAL_STOP_SECONDS)
        await asyncio.gather(*running, return_exceptions=True)
        log.info("stopped")

    def _raise_failure(self, running: Sequence[asyncio.Task[None]], *others: asyncio.Task[None]) -> None:
        for task in (*running, *others):
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    def _platform(self) -> Platform:
        versions = dict(self._versions)
        for child in self._children:
            versions |= child.versions
        return Platform(
            status=self._status,
            pid=os.getpid(),
            born=birth(os.getpid()) or "",
            started_at=self._started_at,
            ready_seconds=self._ready_seconds,
            versions=versions,
            pools=self._pools,
            processes=tuple(state for child in self._children if (state := child.state)),
            settings=self._client_settings,
            continued=self._continued.named,
            continued_count=self._continued.count,
        )

    def _set_status(self, status: Literal["starting", "running", "stopping", "stopped"]) -> None:
        self._status = status
        self._write()

    def _write(self) -> None:
        if not self._client_settings:
            return  # it did not get far enough to know better than the file of an earlier run
        try:
            self._platform().write(self._data)
        except StoreUnavailable as error:
            log.error("cannot write platform.json", message=str(error))  # noqa: TRY400 - said in words


def _make_keys(settings: Settings) -> None:
    """Make the keys and the token that the platform's processes share, where they are missing."""
    if settings.api:
        ensure_local_token(settings.data)
    if settings.attestation == "required":
        for ring in (settings.attestation_key_file, settings.permit_key_file):
            KeyRing.load_or_create(ring)
    if settings.payload_keys:
        KeyRing.load_or_create(settings.payload_keys)


async def _continued(settings: Settings) -> tuple[int, Sequence[str]]:
    """What had begun before the platform was started; nothing is said when Temporal does not answer soon."""
    with contextlib.suppress(BondError, TimeoutError):
        async with asyncio.timeout(CONTINUED_SECONDS):
            running = await in_flight(await connect(settings), limit=CONTINUED_NAMED)
            return running.count, running.named
    return 0, ()


async def _temporal_version(binary: str) -> str:
    with tempfile.TemporaryFile() as output:
        process = start(Start((binary, "--version"), os.environ.copy(), output.fileno()))
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            await process.wait()
            return "unknown"
        output.seek(0)
        return output.read().decode(errors="replace").strip().removeprefix("temporal version ")


if __name__ == "__main__":
    leave(main())
