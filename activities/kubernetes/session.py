"""One verb at work: the cluster it talks to, off the event loop, and errors that show no secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from bondstone.activities.clusters import connect
from bondstone.activities.clusters.api import Cluster, Resource
from bondstone.activities.clusters.manifests import Ref, secret_texts
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.kubernetes.documents import Inventory, read_inventory
from bondstone.activities.kubernetes.section import KubernetesSection
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base.errors import BondError, ToolFailed
from bondstone.base.redact import Redactor
from bondstone.executors.protocol import StepContext
from bondstone.model.promise import seconds

P = ParamSpec("P")
T = TypeVar("T")

MANAGER: Final = "bondstone"
"""The field manager whose fields are ours."""
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
INVALID: Final = 422

_APPLY: Final = "application/apply-patch+yaml"
_AT_ONCE: Final = 8


@dataclass(slots=True)
class ClusterSession:
    """What the verbs share while one of them runs."""

    context: StepContext
    pulse: Pulse
    stop: Stop

    @property
    def redact(self) -> Redactor:
        """Masks every secret that is known by now."""
        return self.context.redact

    @property
    def section(self) -> KubernetesSection:
        """The rendered section of the step."""
        section: KubernetesSection = self.context.section
        return section

    @property
    def namespace(self) -> str:
        """Where the section wants its objects."""
        return self.section.namespace or self.context.service.team

    @property
    def timeout_seconds(self) -> int:
        """How long may be waited."""
        return seconds(self.section.timeout)

    @property
    def owner(self) -> str:
        """What objects of the step are annotated with."""
        return f"{self.context.service}/{self.context.step}"

    @property
    def where(self) -> str:
        """The service and the step, for errors."""
        return f"{self.context.service} step {self.context.step}"

    def note_secrets(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Mask from here on what Secrets hold."""
        self.redact.add(secret_texts(objects))

    def log(self, text: str) -> None:
        """Write to the step's log."""
        for line in text.splitlines():
            self.context.log(self.redact(line))

    async def inventory(self) -> tuple[int, Inventory]:
        """Position and content of the newest state."""
        snapshot = await self.context.state.read()
        inventory = read_inventory(snapshot.payload)
        self.note_secrets(item.manifest for item in inventory.objects)
        return snapshot.position, inventory

    @asynccontextmanager
    async def opened(self, cluster: str, namespace: str) -> AsyncIterator[Api]:
        """A client of a cluster in whose namespace the pool lets steps work."""
        connection = connect(self.context.settings, cluster)
        connection.check_namespace(namespace)
        client = await Cluster.open(connection, manager=MANAGER)
        try:
            yield Api(self, client)
        finally:
            client.close()


class Api:
    """A cluster as the verbs see it: each call in a thread, given up when the attempt is to stop.

    Args:
        session: The attempt at work.
        cluster: The client.
    """

    def __init__(self, session: ClusterSession, cluster: Cluster) -> None:
        self.cluster = cluster
        self._session = session
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        """An object; None when it, or its kind, is not there."""
        item = await self._call(self.cluster.get, ref)
        if item is not None:
            self._session.note_secrets([item])
        return item

    async def resource(self, ref: Ref) -> Resource | None:
        """Where its kind is served; None when the cluster does not know it."""
        return await self._call(self.cluster.resource, ref.api_version, ref.kind)

    async def is_served(self, ref: Ref) -> bool:
        """Whether objects of its kind can be asked for by now."""
        self.cluster.forget()
        resource = await self.resource(ref)
        if resource is None:
            return False
        try:
            await self._call(self.cluster.request, "GET", resource.path(ref.namespace), query={"limit": "1"})
        except ApiRefusal as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True

    async def apply(
        self, ref: Ref, manifest: Mapping[str, Any], *, force: bool, dry_run: bool = False
    ) -> dict[str, Any]:
        """Server-side apply; the object as it is then, or would be.

        Raises:
            ApiRefusal: when the API server refuses: 409 for fields of others, 422 for what cannot be.
        """
        query = {"fieldManager": self.cluster.manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        path = await self._path(ref)
        applied: dict[str, Any] = await self._call(
            self.cluster.request, "PATCH", path, query=query, body=manifest, content=_APPLY
        )
        self._session.note_secrets([applied])
        return applied

    async def delete(self, ref: Ref, uid: str) -> None:
        """Ask for the deletion of exactly this object, after what it owns; one that is gone is no error."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        try:
            await self._call(self.cluster.request, "DELETE", await self._path(ref), body=body)
        except ApiRefusal as error:
            # 409: another object has the name by now
            if error.status not in {NOT_FOUND, CONFLICT}:
                raise

    async def pods(self, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """The pods of a workload."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return await self._call(self.cluster.list, "v1", "Pod", namespace, labels=selector)

    async def events(self, item: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The events of exactly this object, in no order; those of an object in no namespace are in `default`."""
        metadata = item["metadata"]
        of_it = f"involvedObject.uid={metadata['uid']}"
        namespace = metadata.get("namespace") or "default"
        return await self._call(self.cluster.list, "v1", "Event", namespace, fields=of_it)

    async def _path(self, ref: Ref) -> str:
        resource = await self.resource(ref)
        if resource is None:
            raise unknown_kind(ref, self.cluster.where)
        return resource.path(ref.namespace, ref.name)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._limit:
            try:
                return await asyncio.to_thread(function, *args, **kwargs)
            except BondError as error:  # the API server repeats the values that it refuses
                raise error.masked(self._session.redact) from None


def unknown_kind(ref: Ref, where: str) -> ToolFailed:
    """The error for a kind that the cluster does not serve."""
    return ToolFailed(
        f"the cluster does not know the kind {ref.kind} of {ref.api_version}",
        where=where,
        hint="install its CustomResourceDefinition, in this step or in one before, or correct apiVersion",
    )
