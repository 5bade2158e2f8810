"""Processes that benchmarks start and look at: a Temporal server, workers, a whole platform."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from bondstone.base.platform_file import CREATE_KEYS
from bondstone.base.settings import Settings
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from bondstone.store import Store
from bondstone.workers import preflight
from bondstone.workers.child import Child, Command
from bondstone.workers.embedded import SERVICES_VARIABLE, temporal_command

START_SECONDS = 60
BOND = Path(sys.executable).with_name("bond")


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is removed afterwards, read-only revisions in it included."""
    directory = Path(tempfile.mkdtemp(prefix="bond-bench-"))
    try:
        yield directory
    finally:
        for path in directory.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(directory, ignore_errors=True)


def settings_for(data: Path) -> Settings:
    """Settings of a platform of our own in `data`, on ports of its own; nothing of the user's."""
    port, _ = preflight.choose_ports(0)
    return Settings(data=data, temporal_address=f"{preflight.LOOPBACK}:{port}", log_level="warning")


def server_command(settings: Settings, *, in_memory: bool = False) -> Command:
    """The server that `bond up` would start, its data in a file as there, or in memory."""
    port = int(settings.temporal_address.rpartition(":")[2])
    command = temporal_command(preflight.find_temporal(), settings.data, port, port + preflight.UI_PORT_OFFSET)
    if not in_memory:
        return command
    at = command.arguments.index("--db-filename")
    return replace(command, arguments=command.arguments[:at] + command.arguments[at + 2 :])


def module_command(name: str, module: str, settings: Settings, *arguments: str) -> Command:
    """A Python module of ours as a process with these settings."""
    environment = {**clean_environment(settings.data), **settings.as_environment(), CREATE_KEYS: "1"}
    return Command(name, (sys.executable, "-m", module, *arguments), environment)


@asynccontextmanager
async def running(commands: Sequence[Command], logs: Path) -> AsyncIterator[dict[str, psutil.Process]]:
    """Start processes, wait until each is ready, stop them afterwards: the first one last."""
    logs.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything runs
    children = [
        Child(command, logs, lambda: None, lambda text: print(text, file=sys.stderr)) for command in commands
    ]
    tasks = [asyncio.create_task(child.keep_running()) for child in children]
    try:
        ready = asyncio.create_task(_all_ready(children))
        async with asyncio.timeout(START_SECONDS):
            await asyncio.wait([ready, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        yield {child.command.name: psutil.Process(child.state.pid) for child in children if child.state}
    finally:
        await asyncio.gather(*(child.stop(30) for child in children[1:]))
        await asyncio.gather(*(child.stop(10) for child in children[:1]))
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True)
class Platform:
    """A platform that `bond up` started."""

    settings: Settings
    environment: Mapping[str, str]
    command: Path = BOND

    def bond(self, *arguments: str) -> str:
        """Run a `bond` command; its standard output."""
        done = subprocess.run(
            [self.command, *arguments],
            env=self.environment,
            cwd=self.settings.data.parent,  # here, `python -m` would find this checkout's modules
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"bond {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


@contextmanager
def bond_up(data: Path, bond: Path = BOND, /, **environment: str) -> Iterator[tuple[Platform, dict[str, Any]]]:
    """`bond up --detach` on a data directory, and what it printed; `bond down` afterwards."""
    platform = Platform(Settings(data=data), {**clean_environment(data), **environment}, bond)
    status = json.loads(platform.bond("up", "--detach", "--port", "0", "-o", "json"))
    try:
        yield Platform(Settings(data=data, **status["settings"]), platform.environment, bond), status
    finally:
        platform.bond("down")


def clean_environment(data: Path) -> dict[str, str]:
    """Ours (`report.run` removed what leads elsewhere), and a platform of its own."""
    return {**os.environ, "BOND_DATA": str(data), SERVICES_VARIABLE: str(data / "services")}


async def _all_ready(children: Sequence[Child]) -> None:
    for child in children:
        await child.ready.wait()


async def publish(settings: Settings, directory: Path) -> None:
    """Publish a promise."""
    store = await Store.open(settings)
    await store.revisions.publish(pack(directory), load_promise(directory))


def write_promise(
    directory: Path, name: str, files: Mapping[str, str], spec: str, *, version: str = "1.0.0"
) -> Path:
    """A promise on disk: its YAML from the indented `spec`, and what its steps use."""
    metadata = f"metadata: {{name: {name}, version: {version}}}"
    head = f"apiVersion: bondstone.dev/v1\nkind: Promise\n{metadata}\nspec:\n"
    for path, text in {"promise.yaml": head + spec, **files}.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    return directory


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process and of its children, those that have ended included; of this process, its own."""
    times = process.cpu_times()
    if process.pid == os.getpid():
        return float(times.user + times.system)
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            of_child = child.cpu_times()
            total += of_child.user + of_child.system
    return float(total)


def tree_mib(process: psutil.Process) -> float:
    """Memory of a process and its children; what several of them share (as PostgreSQL's do) counts once."""
    shares = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            shares += each.memory_full_info().pss
    return shares / 2**20


def together_mib(pids: Sequence[int]) -> float:
    """Memory of processes together: what they share counts once, and programs that others run too count in full.

    Needs the right to look into them: Bondstone's hide their memory from all but root.
    """
    anonymous = 0
    files: dict[str, int] = {}
    for pid in pids:
        sizes: dict[str, int] = defaultdict(int)
        path, resident = "", 0
        for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
            words = line.split()
            if not words[0].endswith(":"):
                path = words[5] if len(words) > 5 and words[5].startswith("/") else ""
            elif words[0] == "Rss:":
                resident = int(words[1])
            elif words[0] == "Anonymous:" and path:
                sizes[path] += resident - int(words[1])
        for path, kib in sizes.items():
            files[path] = max(files.get(path, 0), kib)
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        anonymous += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon:"))
    return (anonymous + sum(files.values())) / 1024


def resident_mib(process: psutil.Process) -> float:
    """Memory of a process that is in RAM."""
    return float(process.memory_info().rss) / 2**20
