"""Does the second plan of an unchanged release change nothing? Asked of every chart in a folder.

python -m tools.chart_corpus [DIR] [--kubeconfig FILE] [--helm PATH] [--values FILE]

Each chart (a folder or an archive) is installed into a namespace of its own, planned again, looked at for drift,
and taken away. The charts of `tests/charts` have the shapes of public charts that were hard to plan; `helm pull`
gets others. Without a kubeconfig a control plane is started (`make tools`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.helm import HelmExecutor
from bondstone.activities.helm.section import HelmSection
from bondstone.base.cluster_settings import ClusterSettings
from bondstone.base.errors import BondError
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.plan import Change
from bondstone.model.service import ServiceId
from bondstone.store import Store
from harness.pinned import find

CHARTS: Final = Path(__file__).parents[1] / "tests" / "charts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one chart."""

    chart: str
    objects: int
    differences: tuple[str, ...]
    """What the second plan would change, and what is drift: nothing when all is well."""
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at every chart; the exit status is 1 when one of them is not still."""
    parser = argparse.ArgumentParser(description="Plan an unchanged release of every chart a second time.")
    parser.add_argument("directory", nargs="?", type=Path, default=CHARTS)
    parser.add_argument("--kubeconfig", type=Path, help="default: a control plane of its own")
    parser.add_argument("--helm", default="", help="default: the one that `make tools` has built")
    parser.add_argument("--values", type=Path, help="a file of values for all charts")
    options = parser.parse_args(arguments)
    values = yaml.safe_load(options.values.read_text(encoding="utf-8")) if options.values else {}
    with _cluster(options.kubeconfig) as kubeconfig:
        helm = options.helm or str(find("helm"))
        verdicts = [
            _told(asyncio.run(look(chart, kubeconfig, helm, values))) for chart in charts(options.directory)
        ]
    moved = [verdict.chart for verdict in verdicts if verdict.differences]
    print(f"{len(verdicts) - len(moved)} of {len(verdicts)} charts are still when nothing changed")
    return 1 if not verdicts or moved else 0


def _told(verdict: Verdict) -> Verdict:
    state = "still" if not verdict.differences else f"{len(verdict.differences)} differences"
    print(f"{verdict.chart:<40} {verdict.objects:>4} objects {verdict.seconds:>6.1f} s  {state}", flush=True)
    for line in verdict.differences:
        print(f"    {line}", flush=True)
    return verdict


def charts(directory: Path) -> list[Path]:
    """The charts in a folder, sorted."""
    return sorted(path for path in directory.iterdir() if path.suffix == ".tgz" or (path / "Chart.yaml").is_file())


async def look(chart: Path, kubeconfig: Path, helm: str, values: dict[str, Any]) -> Verdict:
    """Install a chart, plan it again, look for drift, take it away."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            data=Path(scratch), helm=helm, clusters={"default": ClusterSettings(kubeconfig=kubeconfig)}
        )
        work = _Work(chart, await Store.open(settings, create_keys=True), settings, values)
        try:
            objects = await work.install()
            differences = await work.differences()
        except BondError as error:
            objects, differences = 0, [f"{error.code}: {error}"]
        differences += await work.remove()
    return Verdict(chart.name, objects, tuple(differences), time.monotonic() - began)


class _Work:
    """One chart as a service."""

    def __init__(self, chart: Path, store: Store, settings: Settings, values: dict[str, Any]) -> None:
        self._chart = chart
        self._store = store
        self._settings = settings
        self._values = values
        self._executor = HelmExecutor()
        self._service = ServiceId(
            team="corpus", name=chart.name.removesuffix(".tgz").replace(".", "-")[:46].rstrip("-")
        )
        self._attempts = 0

    async def install(self) -> int:
        """Plan and apply; how many objects were made."""
        planned = await self._executor.plan(self._context())
        await self._executor.apply(self._context(), planned.artefact, planned.position)
        return len(planned.changes)

    async def differences(self) -> list[str]:
        """What another plan would change, and what has drifted."""
        again = await self._executor.plan(self._context())
        drifted = await self._executor.detect_drift(self._context())
        differences = [f"plan: {_words(change)}" for change in again.changes]
        if not again.empty and not differences:
            differences.append("plan: not empty, although no object changes")
        return differences + [f"drift: {_words(change)}" for change in drifted.changes]

    async def remove(self) -> list[str]:
        """Uninstall; why that failed, if it did."""
        try:
            planned = await self._executor.plan_destroy(self._context())
            await self._executor.apply(self._context(), planned.artefact, planned.position)
        except BondError as error:
            return [f"remove: {error.code}: {error}"]
        return []

    def _context(self) -> StepContext:
        self._attempts += 1
        section = {
            "chart": self._chart.name, "namespace": f"corpus-{self._service.name}", "create_namespace": True,
            "values": self._values, "wait": False, "atomic": False,
        }  # fmt: skip
        return StepContext(
            service=self._service,
            operation=1,
            step="chart",
            section=HelmSection.model_validate(section),
            bundle=self._chart.parent.absolute(),
            revision_digest=self._chart.name,
            state=self._store.state(self._service, "chart"),
            settings=self._settings,
            attempt=f"corpus-{self._attempts}",
            heartbeat=lambda _progress: None,
            log=lambda _line: None,
        )


def _words(change: Change) -> str:
    return f"{change.action} {change.address}: {change.before} -> {change.after}"


@contextmanager
def _cluster(kubeconfig: Path | None) -> Iterator[Path]:
    if kubeconfig is not None:
        yield kubeconfig
        return
    from harness.servers.kubernetes import running  # noqa: PLC0415 - needs the built tools

    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as plane:
        yield plane.kubeconfig


if __name__ == "__main__":
    sys.exit(main())
