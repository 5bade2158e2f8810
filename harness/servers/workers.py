"""Bondstone's own worker processes, as a fleet would run them: against any Temporal and any store."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bondstone.base.settings import Settings
from harness.servers.process import Server


@contextmanager
def running(
    directory: Path,
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    *,
    control: int = 1,
    executors: Sequence[Sequence[str]] = (("default",),),
) -> Iterator[dict[str, Server]]:
    """Start workers, wait until each is ready, and stop them in order afterwards.

    Args:
        directory: For their logs, and for the scratch space of each executor worker.
        settings: All that they are told; the key ring has to be there. Keep `drain_seconds` short.
        environment: Variables beside the settings, as in an S3's credentials.
        control: How many control workers.
        executors: The pools that each executor worker serves.

    Yields:
        The processes: `control-1`, …, `executor-1`, …

    Raises:
        ServerFailed: one of them is not ready in time.
    """
    servers = [worker(directory, f"control-{n}", "control", settings, environment) for n in range(1, control + 1)]
    for n, pools in enumerate(executors, 1):
        name = f"executor-{n}"
        worker_settings = settings.changed(pools=tuple(pools), work=directory / f"{name}-work")
        servers.append(worker(directory, name, "executor", worker_settings, environment))
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.launch()
        for server in servers:
            server.wait()
        yield {server.name: server for server in servers}
        for server in servers:  # all at once: each drains for a while
            if server.process and server.process.poll() is None:
                os.kill(server.process.pid, signal.SIGTERM)


def worker(
    directory: Path, name: str, kind: str, settings: Settings, environment: Mapping[str, str] | None = None
) -> Server:
    """One worker process, to be started.

    Args:
        directory: For its log.
        name: What the log is called.
        kind: `control` or `executor`.
        settings: All that it is told.
        environment: Variables beside the settings.
    """
    log = directory / f"{name}.log"
    told = {**settings.as_environment(), "BOND_LOG_FORMAT": "json", "BOND_LOG_LEVEL": "info"}
    return Server(
        name=name,
        arguments=[sys.executable, "-m", f"bondstone.workers.{kind}"],
        log=log,
        ready=lambda: '"event": "ready"' in log.read_text(errors="replace"),
        environment={**told, **(environment or {})},
        stop_signal=signal.SIGTERM,
        stop_seconds=settings.drain_seconds + 15,
    )
