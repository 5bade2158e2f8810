"""One verb at work: the cluster, the release, and what every Helm that is run has in common."""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bondstone.activities.clusters import ClusterConnection
from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import Ref, read_manifests, secret_texts
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.helm import chart
from bondstone.activities.helm.artefact import Location
from bondstone.activities.helm.changes import Reality
from bondstone.activities.helm.diagnostics import to_error
from bondstone.activities.helm.dialects import HOMES
from bondstone.activities.helm.release import as_sent, release_name
from bondstone.activities.helm.section import OCI, HelmSection
from bondstone.activities.helm.version import HelmVersion, find_helm, helm_version
from bondstone.activities.tooling.environment import allowed_environment
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.activities.tooling.process import PATIENT, Exit, Graces, Run, capture, shimmed, tied
from bondstone.activities.tooling.sandbox import Sandbox, sandbox
from bondstone.activities.tooling.scratch import Scratch, locked, write_private
from bondstone.base.errors import BondError, ToolFailed
from bondstone.base.redact import Redactor
from bondstone.documents.json_in_yaml import json_in_yaml
from bondstone.executors.protocol import StepContext

Objects = dict[Ref, dict[str, Any]]

DIRECTORY: Final = "helm"
"""Below the worker's scratch directory."""
_LET_THROUGH: Final = ("HELM_REGISTRY_CONFIG",)
_BAD_REQUEST: Final = 400
_UNPROCESSABLE: Final = 422


class Workspace(Scratch):
    """Below the work directory: `helm/runs` for attempts, `locks` for steps, `charts` for what is pulled.

    Args:
        work: The worker's scratch directory.
    """

    def __init__(self, work: Path) -> None:
        super().__init__(work, DIRECTORY, more=("charts",))
        self._charts = work / DIRECTORY / "charts"

    def pulled(self, sha256: str) -> Path:
        """Where a chart from elsewhere is kept."""
        return self._charts / f"{sha256}.tgz"


@dataclass(slots=True)
class HelmSession:
    """What the verbs share while one of them runs."""

    context: StepContext
    workspace: Workspace
    run: Path
    lock: int
    pulse: Pulse
    stop: Stop
    redact: Redactor = field(default_factory=Redactor)

    @property
    def section(self) -> HelmSection:
        """The rendered section of the step."""
        section: HelmSection = self.context.section
        return section

    @property
    def helm(self) -> str:
        """Path of the binary; looked for by what runs it only, so that what never stood is gone without it.

        Raises:
            ToolUnavailable: when there is none.
        """
        return find_helm(self.context.settings.helm)

    @property
    def where(self) -> str:
        """The service and the step, for errors."""
        return f"{self.context.service} step {self.context.step}"

    @property
    def location(self) -> Location:
        """Where the section wants the release."""
        section, service = self.section, self.context.service
        return Location(
            cluster=section.cluster,
            namespace=section.namespace or service.team,
            release=release_name(section.release, service, self.context.step),
        )

    def note_secrets(self, objects: Sequence[dict[str, Any]]) -> None:
        """Mask from here on what Secrets hold."""
        self.redact.add(secret_texts(objects))

    async def tool(self) -> HelmVersion:
        """The Helm that is run, refused where it is none that we can drive.

        Raises:
            ToolFailed: when its version is not supported.
            ToolUnavailable: when there is none, or it does not answer.
        """
        return await helm_version(self.helm)

    # The cluster ---------------------------------------------------------------------------------------------

    async def objects(self, cluster: Cluster | None, manifest: str, namespace: str) -> Objects:
        """The objects of a manifest by what a cluster finds them by; without a cluster, as they say."""
        manifests = read_manifests(manifest, where=self.where)
        self.note_secrets(manifests)
        if cluster is None:
            return {Ref.of({**item, **_in(item, namespace)}): item for item in manifests}
        return dict(zip(await self.placed(cluster, manifests, namespace), manifests, strict=True))

    async def placed(self, cluster: Cluster, manifests: Sequence[dict[str, Any]], namespace: str) -> list[Ref]:
        """What a cluster finds each of some objects by."""
        refs: list[Ref] = await asyncio.to_thread(
            cluster.each, lambda item: cluster.placed(item, namespace), manifests
        )
        return refs

    async def reality(
        self,
        cluster: Cluster,
        where: Location,
        new: Objects,
        also: Iterable[Ref] = (),
        *,
        old: Objects | None = None,
        strict: bool = False,
    ) -> Reality:
        """What the cluster holds, and what it would hold.

        Args:
            cluster: To ask.
            where: The release is.
            new: Objects that are to be as they are here.
            also: Objects whose presence is asked for only.
            old: What Helm starts from; `new` itself without it.
            strict: Try new objects, too, and refuse fields that a kind does not have.

        Raises:
            ToolFailed: when it would not take one of them.
        """
        every = dict.fromkeys([*new, *also])
        before = {ref.key: item for ref, item in (new if old is None else old).items()}
        live = await asyncio.to_thread(cluster.each, cluster.get, every)
        standing = {ref: item for ref, item in zip(every, live, strict=True) if item is not None}
        self.note_secrets([*standing.values()])
        existing = [ref for ref in new if ref in standing]

        def would_be(ref: Ref) -> dict[str, Any] | None:
            with self._refusals(ref):
                last = before.get(ref.key)
                return cluster.would_be(
                    ref,
                    as_sent(new[ref], where.release, where.namespace),
                    old=as_sent(last, where.release, where.namespace) if last is not None else {},
                    live=standing[ref],
                    strict=strict,
                )

        def may_be(ref: Ref) -> bool:
            with self._refusals(ref):
                return cluster.may_be(ref, new[ref])

        merged = await asyncio.to_thread(cluster.each, would_be, existing)
        absent = [ref for ref in new if ref not in standing] if strict else []
        tried = await asyncio.to_thread(cluster.each, may_be, absent)
        return Reality(
            standing,
            {ref: item for ref, item in zip(existing, merged, strict=True) if item is not None},
            tried=strict and all(tried) and None not in merged,
        )

    @contextmanager
    def _refusals(self, ref: Ref) -> Iterator[None]:
        try:
            yield
        except ApiRefusal as error:
            if error.status not in {_BAD_REQUEST, _UNPROCESSABLE}:
                raise
            raise ToolFailed(
                f"the cluster would refuse {ref.address} as planned: {self.redact(error.message)}",
                where=self.where,
                hint="correct the chart or its values; an object whose fields cannot change needs another name",
            ) from error

    # Helm ----------------------------------------------------------------------------------------------------

    async def archive(self) -> bytes:
        """The chart's archive: from the promise, or from elsewhere, checked against its digest."""
        section = self.section
        if not section.is_remote:
            return await asyncio.to_thread(chart.from_bundle, self.context.bundle, section.chart)
        kept = self.workspace.pulled(section.sha256)
        if kept.is_file():
            return chart.check_digest(kept.read_bytes(), section.sha256, section.chart)
        self.pulse.note(f"fetching the chart {section.chart}")
        folder = self.run / "pulled"
        folder.mkdir()
        source = (
            [section.chart] if section.chart.startswith(OCI) else [section.chart, "--repo", section.repository]
        )
        await self.read("pull", ["pull", *source, "--version", section.version, "--destination", str(folder)])
        files = sorted(folder.glob("*.tgz"))
        if len(files) != 1 or files[0].stat().st_size > chart.MAX_CHART_BYTES:
            raise ToolFailed("the chart is not one archive of a sensible size", where=section.chart)
        data = chart.check_digest(files[0].read_bytes(), section.sha256, section.chart)
        write_private(self.run / "new.tgz", data).replace(kept)
        self.pulse.note("")
        return data

    def lay_out(self, archive: bytes, values: dict[str, Any]) -> list[str]:
        """Put a chart and its values where Helm reads them; the arguments that say so."""
        packed = write_private(self.run / "chart.tgz", archive)
        target = packed
        if not self.section.is_remote and not self.section.chart.endswith(".tgz"):
            with tarfile.open(packed) as files:
                files.extractall(self.run, filter="data")
            target = self.run / "chart"  # a folder, so that .helmignore counts
        values_file = write_private(self.run / "values.json", json_in_yaml(values).encode())
        return [str(target), "--values", str(values_file)]

    async def read(self, verb: str, arguments: list[str], connection: ClusterConnection | None = None) -> bytes:
        """Run a Helm that changes nothing; what it printed.

        Raises:
            BondError: when it fails, or is a Helm that is not supported.
        """
        await self.tool()
        command = tied([self.helm, *arguments, *(connection.arguments() if connection else [])])
        code, out, err = await self.stop.unless(
            capture(
                command,
                self.run,
                self.environment(),
                tool="Helm",
                verb=verb,
                sandbox=self.sandbox(connection),
            )
        )
        if code != 0:
            raise self.error(verb, Exit(code, interrupted=False, complaint=err))
        return out

    async def change(
        self, verb: str, arguments: list[str], connection: ClusterConnection, lost: asyncio.Event
    ) -> Exit:
        """Run a Helm that changes the world, in a session of its own, stopped gently."""

        def stop() -> Graces | None:
            return PATIENT if self.stop.requested or lost.is_set() else None

        await self.tool()
        await locked(self.lock, self.pulse, self.stop, tool="helm")
        return await Run(
            command=shimmed(
                "exec",
                tied([self.helm, *arguments, *connection.arguments()]),
                killed_after_seconds=PATIENT.first_seconds,
            ),
            directory=self.run,
            environment=self.environment(),
            output=self.run / f"{verb}.out",
            on_line=self.log,
            stop=stop,
            tool="Helm",
            verb=verb,
            passed=(self.lock,),
            sandbox=self.sandbox(connection),
        ).to_end()

    def environment(self) -> dict[str, str]:
        """The environment of the processes: no plugin, repository or credential that the worker's user has."""
        allowed = allowed_environment(os.environ, [*_LET_THROUGH, *self.context.settings.tool_environment])
        homes = {f"HELM_{name}_HOME": str(self.run / HOMES / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        return {**allowed, **homes, "HELM_DRIVER": "secret", "TMPDIR": str(self.run)}

    def sandbox(self, connection: ClusterConnection | None) -> Sandbox | None:
        """What of the file system a Helm may touch; without a connection it only fetches a chart."""
        return sandbox(
            self.context.settings,
            self.environment(),
            readable=connection.files() if connection is not None else (),
            writable=(self.run,),
            program=self.helm,
        )

    def error(self, verb: str, ended: Exit, reasons: Sequence[str] = ()) -> BondError:
        """The typed error for a run that failed, known secrets masked."""
        section = self.section
        return to_error(
            self.redact(ended.complaint),
            verb=verb,
            code=ended.code,
            chart="" if section.is_remote else section.chart.removesuffix("/"),
            where=self.where,
            reasons=[self.redact(reason) for reason in reasons],
            otherwise=self.context.see_log(),
        )

    def check_stop(self) -> None:
        """Give up if the attempt was asked to.

        Raises:
            asyncio.CancelledError: if so.
        """
        if self.stop.requested:
            raise asyncio.CancelledError

    def log(self, text: str) -> None:
        """Write to the step's log."""
        for line in text.splitlines():
            self.context.log(self.redact(line))


def _in(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = item.get("metadata") or {}
    return {"metadata": {**metadata, "namespace": metadata.get("namespace") or namespace}}
