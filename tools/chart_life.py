"""The life of one chart, by plain Helm and by the executor: what `tools.chart_corpus` compares."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.connection import connect
from bondstone.activities.clusters.manifests import Ref, read_manifests
from bondstone.activities.helm import HelmExecutor
from bondstone.activities.helm.section import HelmSection
from bondstone.base.cluster_settings import ClusterSettings
from bondstone.base.errors import BondError
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.plan import Change
from bondstone.model.service import ServiceId
from bondstone.store import Store
from harness.waiting import until

STEP: Final = "c"
_LONGEST: Final = 26
"""Of the service: charts make names out of the release's, and few leave room."""
_HOOK_SECONDS: Final = "60s"
_VOLATILE: Final = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink", "deletionTimestamp"}
)
_GIVEN: Final = frozenset(
    {
        *("clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "volumeName"),
        *("controller-uid", "batch.kubernetes.io/controller-uid"),
        *("autoscaling.alpha.kubernetes.io/conditions", "autoscaling.alpha.kubernetes.io/current-metrics"),
        # Counted by controllers, a moment after the change.
        *("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"),
    }
)
"""Fields that the cluster fills in, another value each time."""

Objects = dict[str, Any]
"""By address, without what the cluster gives."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one chart."""

    chart: str
    objects: int = 0
    findings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By kind of finding: `same`, `plan`, `drift`, `update`, `back`, `remove`."""
    seconds: float = 0.0
    skipped: str = ""
    """Why plain Helm cannot install it."""
    note: str = ""

    @property
    def differences(self) -> tuple[str, ...]:
        """All that is not as it should be."""
        return tuple(f"{kind}: {line}" for kind, lines in self.findings.items() for line in lines)

    def word(self, kind: str) -> str:
        """One cell of the table."""
        count = len(self.findings.get(kind, ()))
        return {"plan": "empty", "drift": "none"}.get(kind, "yes") if not count else f"{count} differ"


async def look(
    chart: Path, kubeconfig: Path, helm: str, values: dict[str, Any], *, beside_helm: bool = True
) -> Verdict:
    """A whole life of a chart, twice.

    Args:
        chart: A folder or an archive.
        kubeconfig: Of the cluster.
        helm: The command.
        values: Of the chart.
        beside_helm: Compare with plain Helm, and update too; else only look whether an unchanged release is still.
    """
    began = time.monotonic()
    name = f"c-{re.sub(r'[^a-z0-9]+', '-', _stem(chart).lower())}"[:_LONGEST].rstrip("-")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = Settings(
            data=folder / "data", helm=helm, clusters={"default": ClusterSettings(kubeconfig=kubeconfig)}
        )
        first, second = _two_versions(chart, folder)
        cluster = await Cluster.open(connect(settings), manager="corpus")
        work = _Work(name, cluster, await Store.open(settings, create_keys=True), settings, values)
        plain = _PlainHelm(helm, kubeconfig, work, folder / "values.yaml", values)
        random: set[str] = set()
        try:
            expected = await _life(plain, work, (first, second)) if beside_helm else {"install": {}}
            if isinstance(expected["install"], str):
                return Verdict(_stem(chart), skipped=_reason(expected["install"]))
            random.update(plain.random(first))
            if beside_helm:
                await plain.remove(cluster)
            count, findings = await work.live((first, second), expected, random)
        finally:
            await plain.remove(cluster)
            cluster.close()
    note = f"{len(random)} with random values" if random else ""
    return Verdict(_stem(chart), count, findings, time.monotonic() - began, note=note)


async def _life(plain: _PlainHelm, work: _Work, versions: tuple[Path, Path]) -> dict[str, Objects | str]:
    """What plain Helm makes of an install, an upgrade and the way back; in words where it fails."""
    states: dict[str, Objects | str] = {}
    for stage, chart in (("install", versions[0]), ("update", versions[1]), ("back", versions[0])):
        refusal = await asyncio.to_thread(plain.upgrade, chart, first=stage == "install")
        states[stage] = refusal or await asyncio.to_thread(work.objects, plain.manifest())
        if refusal:
            break
    return states


class _PlainHelm:
    """The command itself, as a person types it."""

    def __init__(self, helm: str, kubeconfig: Path, work: _Work, file: Path, values: dict[str, Any]) -> None:
        self._helm, self._release, self._namespace = helm, work.release, work.namespace
        self._where = ["--kubeconfig", str(kubeconfig), "--namespace", work.namespace]
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        self._values = ["--values", str(file)]
        self._custom: list[dict[str, Any]] = []

    def upgrade(self, chart: Path, *, first: bool) -> str:
        """Install or upgrade; why it failed, if it did."""
        verb = ["install", "--create-namespace"] if first else ["upgrade"]
        if first:
            self._custom = read_manifests(self._run("show", "crds", str(chart), place=False).stdout)
        ended = self._run(*verb, self._release, str(chart), *self._values, "--timeout", _HOOK_SECONDS)
        return ended.stderr.strip() if ended.returncode else ""

    def manifest(self) -> str:
        """Of the release as it stands."""
        return self._run("get", "manifest", self._release).stdout

    def random(self, chart: Path) -> Iterable[str]:
        """The addresses of objects that come out otherwise each time they are rendered."""
        once, again = (
            {
                Ref.of(each).address: each
                for each in read_manifests(self._run("template", self._release, str(chart), *self._values).stdout)
            }
            for _ in range(2)
        )
        return [Ref.of(each).name for address, each in once.items() if again.get(address) != each]

    async def remove(self, cluster: Cluster) -> None:
        """Uninstall, and take away what an uninstall leaves: hooks, and custom resource definitions."""
        left = read_manifests(self._run("get", "hooks", self._release).stdout or "")
        await asyncio.to_thread(self._run, "uninstall", self._release, "--timeout", _HOOK_SECONDS, "--wait")
        for item in [*left, *self._custom]:
            await _delete(cluster, cluster_ref(cluster, item, self._namespace))

    def _run(self, *arguments: str, place: bool = True) -> subprocess.CompletedProcess[str]:
        where = self._where if place else []
        return subprocess.run(
            [self._helm, *arguments, *where], capture_output=True, text=True, check=False, timeout=300
        )


class _Work:
    """One chart as a service."""

    def __init__(
        self, name: str, cluster: Cluster, store: Store, settings: Settings, values: dict[str, Any]
    ) -> None:
        self._cluster, self._store, self._settings, self._values = cluster, store, settings, values
        self._executor = HelmExecutor()
        self._service = ServiceId(team="corpus", name=name)
        self._attempts = 0
        self.namespace = f"corpus-{name}"
        self.release = f"{name}-{STEP}"

    async def live(
        self, versions: tuple[Path, Path], expected: Mapping[str, Objects | str], random: set[str]
    ) -> tuple[int, dict[str, tuple[str, ...]]]:
        """Install, look twice, update, go back, remove: how many objects were made, and all that differs."""
        findings: dict[str, tuple[str, ...]] = {}
        first, second = versions
        try:
            count = await self._apply(first)
        except BondError as error:
            return 0, {"same": (f"{error.code}: {error}",)}
        findings["same"] = await self._compared(expected["install"], random)
        findings["plan"], findings["drift"] = await self._still(first, random)
        for stage, chart in (("update", second), ("back", first)):
            wanted = expected.get(stage)
            if wanted is None:
                break
            findings[stage] = await self._moved(chart, wanted, random)
        findings["remove"] = await self._caught(self._remove)
        return count, {kind: lines for kind, lines in findings.items() if lines}

    def objects(self, manifest: str) -> Objects:
        """What stands in the cluster of what a manifest names."""
        refs = [cluster_ref(self._cluster, item, self.namespace) for item in read_manifests(manifest)]
        return {ref.address: _settled(self._cluster.get(ref)) for ref in refs}

    async def _moved(self, chart: Path, wanted: Objects | str, random: set[str]) -> tuple[str, ...]:
        try:
            await self._apply(chart)
        except BondError as error:
            # What plain Helm cannot do either is no difference.
            return () if isinstance(wanted, str) else (f"{error.code}: {error}",)
        if isinstance(wanted, str):
            return ()
        compared = await self._compared(wanted, random)
        planned, drifted = await self._still(chart, random)
        return (*compared, *planned, *drifted)

    async def _apply(self, chart: Path) -> int:
        planned = await self._executor.plan(self._context(chart))
        await self._executor.apply(self._context(chart), planned.artefact, planned.position)
        return len(planned.changes)

    async def _compared(self, wanted: Objects | str, random: set[str]) -> tuple[str, ...]:
        if isinstance(wanted, str):
            return ()
        live = {address: await asyncio.to_thread(self._read, kept) for address, kept in wanted.items()}
        return tuple(
            f"{address}: {_first_difference(wanted[address], live[address])}"
            for address in wanted
            if live[address] != wanted[address] and address.rpartition("/")[2] not in random
        )

    def _read(self, kept: Any) -> Any:
        return _settled(self._cluster.get(cluster_ref(self._cluster, kept, self.namespace))) if kept else None

    async def _still(self, chart: Path, random: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What another plan would change, and what has drifted."""
        again = await self._executor.plan(self._context(chart))
        drifted = await self._executor.detect_drift(self._context(chart))
        planned = [_words(change) for change in again.changes if not _is_random(change, random)]
        if not again.empty and not again.changes:
            planned.append("not empty, although no object changes")
        return tuple(planned), tuple(_words(change) for change in drifted.changes)

    async def _remove(self) -> None:
        planned = await self._executor.plan_destroy(self._context(Path("none")))
        await self._executor.apply(self._context(Path("none")), planned.artefact, planned.position)

    async def _caught(self, work: Callable[[], Awaitable[None]]) -> tuple[str, ...]:
        try:
            await work()
        except BondError as error:
            return (f"{error.code}: {error}",)
        return ()

    def _context(self, chart: Path) -> StepContext:
        self._attempts += 1
        section = {
            "chart": chart.name, "namespace": self.namespace, "create_namespace": True,
            "values": self._values, "wait": False, "atomic": False, "timeout": _HOOK_SECONDS,
        }  # fmt: skip
        return StepContext(
            service=self._service,
            operation=1,
            step=STEP,
            section=HelmSection.model_validate(section),
            bundle=chart.parent.absolute(),
            revision_digest=str(chart.parent),
            state=self._store.state(self._service, STEP),
            settings=self._settings,
            attempt=f"corpus-{self._attempts}",
            heartbeat=lambda _progress: None,
            log=lambda _line: None,
        )


# Helpers ----------------------------------------------------------------------------------------------------


def cluster_ref(cluster: Cluster, item: Mapping[str, Any], namespace: str) -> Ref:
    """Where an object stands: in the release's namespace unless its kind has none."""
    return cluster.placed(item, namespace)


def _stem(chart: Path) -> str:
    return chart.name.removesuffix(".tgz")


def _two_versions(chart: Path, folder: Path) -> tuple[Path, Path]:
    """The chart, and a next version of it, which most charts write into labels and images."""
    places = []
    for number in ("1", "2"):
        place = folder / number
        place.mkdir()
        if chart.suffix == ".tgz":
            with tarfile.open(chart) as archive:
                archive.extractall(place, filter="data")
            [inner] = [path for path in place.iterdir() if (path / "Chart.yaml").is_file()]
        else:
            inner = place / chart.name
            shutil.copytree(chart, inner, symlinks=False, ignore_dangling_symlinks=True)
        places.append(inner)
    described = places[1] / "Chart.yaml"
    text = described.read_text(encoding="utf-8")
    for key in ("version", "appVersion"):
        text = re.sub(rf'(?m)^({key}:\s*["\']?v?\d+\.\d+\.)(\d+)', lambda it: f"{it[1]}{int(it[2]) + 1}", text)
    described.write_text(text, encoding="utf-8")
    return places[0], places[1]


async def _delete(cluster: Cluster, ref: Ref) -> None:
    resource = await asyncio.to_thread(cluster.resource, ref.api_version, ref.kind)
    if resource is None:
        return
    try:
        await asyncio.to_thread(cluster.request, "DELETE", resource.path(ref.namespace, ref.name))
    except BondError:
        return  # it is gone
    await until(lambda: cluster.get(ref) is None, f"{ref.address} to go", seconds=60, in_thread=True)


def _settled(live: dict[str, Any] | None) -> Any:
    """An object without what differs between any two of its kind."""
    if live is None:
        return None
    metadata = {key: value for key, value in live.get("metadata", {}).items() if key not in _VOLATILE}
    return _without_given({**live, "metadata": metadata, "status": None})


def _without_given(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_given(each) for key, each in value.items() if key not in _GIVEN}
    return [_without_given(each) for each in value] if isinstance(value, list) else value


def _first_difference(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            if one.get(key) != other.get(key):
                return _first_difference(one.get(key), other.get(key), f"{path}.{key}")
    return f"{path or 'it'}: {one!r} by plain Helm, {other!r} here"


def _is_random(change: Change, random: set[str]) -> bool:
    return change.address.rpartition("/")[2] in random


def _words(change: Change) -> str:
    return f"{change.action} {change.address}: {change.before} -> {change.after}"


def _reason(error: str) -> str:
    return " ".join(error.split())[-160:]
