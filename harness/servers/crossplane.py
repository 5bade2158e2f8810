"""Plays Crossplane and a provider on a real API server, where Crossplane itself takes minutes to build.

`crossplane_core.py` runs Crossplane itself, for `tests/peers`; what both show is the same.

The kinds have the shape of those that Crossplane 2.3 makes of a CompositeResourceDefinition (its `pkg/xcrd`).
What is written to objects is what its reconcilers write: finalizers, references, owners, conditions with their
generations, events, connection Secrets. No composition is evaluated: every composite gets one managed resource
and a Secret.
"""

from __future__ import annotations

import base64
import threading
import urllib.error
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from harness.servers.kubernetes import ControlPlane

MADE_UP: Final = "canary-of-a-store-5518"
"""What the provider makes up: connection Secrets hold it."""

_OF_CLAIM: Final = "finalizer.apiextensions.crossplane.io"
_OF_COMPOSITE: Final = "composite.apiextensions.crossplane.io"
_OF_MANAGED: Final = "finalizer.managedresource.crossplane.io"
_LOOK_SECONDS: Final = 0.15
_MOVED: Final = frozenset({404, 409})
_NOT_SERVED_YET: Final = frozenset({404, 429, 503})
"""Answers about a kind that was defined a moment ago."""

Item = dict[str, Any]


@dataclass
class Crossplane:
    """A running stand-in.

    Args:
        plane: The control plane.
        group: API group of its kinds: `Store` (version 2, namespaced), `XStore` with the claim `StoreClaim`
            (version 1), and the managed `Disk` and `ClusterDisk`.
        failing: What the provider says of managed resources that it cannot make, by the name of their composite.
        held: Composites whose managed resources the provider cannot delete.
    """

    plane: ControlPlane
    group: str
    failing: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)

    def objects(self, plural: str) -> list[Item]:
        """All objects of one of its kinds."""
        items: list[Item] = self.plane.call("GET", f"/apis/{self.group}/v1/{plural}")["items"]
        return items

    def named(self, plural: str, name: str) -> Item | None:
        """The object of one of its kinds whose name begins so; None when there is none."""
        return next((one for one in self.objects(plural) if one["metadata"]["name"].startswith(name)), None)

    def reconcile(self) -> None:
        """Bring everything one step further."""
        for plural, work in (
            ("storeclaims", self._claim),
            ("xstores", self._composite),
            ("stores", self._composite),
            ("clusterdisks", self._managed),
            ("disks", self._managed),
        ):
            for item in self.objects(plural):
                try:
                    work(plural, item)
                except urllib.error.HTTPError as error:
                    if error.code not in _MOVED:  # by somebody else meanwhile: the next time
                        raise

    def _claim(self, plural: str, claim: Item) -> None:
        name = f"{claim['metadata']['name']}-{claim['metadata']['uid'][:5]}"
        composite = self.named("xstores", name)
        if claim["metadata"].get("deletionTimestamp"):
            foreground = claim["spec"].get("compositeDeletePolicy") == "Foreground"
            if composite is not None and not composite["metadata"].get("deletionTimestamp"):
                policy = {"propagationPolicy": "Foreground" if foreground else "Background"}
                self.plane.call("DELETE", self._path("xstores", composite), policy)
            if composite is None or not foreground:
                self._finalize(plural, claim, _OF_CLAIM, present=False)
            return
        claim = self._finalize(plural, claim, _OF_CLAIM, present=True)
        spec = {"size": claim["spec"]["size"], "claimRef": {**_named(claim), "namespace": _space(claim)}}
        if composite is None:
            self._create("xstores", {"metadata": {"name": name}, "kind": "XStore", "spec": spec})
            return
        if composite["spec"]["size"] != spec["size"]:
            self._put("xstores", {**composite, "spec": {**composite["spec"], **spec}})
            return
        claim = self._put(plural, {**claim, "spec": {**claim["spec"], "resourceRef": _named(composite)}})
        ready = _is_ready(composite)
        if ready and (wanted := claim["spec"].get("writeConnectionSecretToRef")):
            self._secret(claim, wanted["name"])
        waits = {"reason": "Waiting", "message": "Claim is waiting for composite resource to become Ready"}
        self._conditions(plural, claim, synced={}, ready=None if ready else waits)

    def _composite(self, plural: str, item: Item) -> None:
        if item["metadata"].get("deletionTimestamp"):
            self._finalize(plural, item, _OF_COMPOSITE, present=False)
            return
        item = self._finalize(plural, item, _OF_COMPOSITE, present=True)
        modern = plural == "stores"
        disks, kind = ("disks", "Disk") if modern else ("clusterdisks", "ClusterDisk")
        machinery = item["spec"].get("crossplane") or {}
        release = ((machinery.get("compositionRevisionSelector") or {}).get("matchLabels") or {}).get(
            "release", "1"
        )
        name = f"{item['metadata']['name']}-disk"
        composed = {
            "kind": kind,
            "metadata": {
                "name": name,
                **({"namespace": _space(item)} if modern else {}),
                "annotations": {"crossplane.io/composition-resource-name": "disk"},
                "ownerReferences": [
                    {
                        **_named(item),
                        "uid": item["metadata"]["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": {"forProvider": {"size": item["spec"]["size"], "release": release}},
        }
        refs = [{"apiVersion": f"{self.group}/v1", "kind": kind, "name": name}]
        if modern:
            references = {"resourceRefs": refs, "compositionRevisionRef": {"name": f"stores-{release}"}}
            wanted = {**item["spec"], "crossplane": {**machinery, **references}}
        else:
            wanted = {**item["spec"], "resourceRefs": refs}
        item = self._put(plural, {**item, "spec": wanted})
        live = next((one for one in self.objects(disks) if _same_place(one, composed)), None)
        if live is None:
            live = self._create(disks, composed)
        elif live["spec"] != composed["spec"]:
            live = self._put(disks, {**live, "spec": composed["spec"]})
        ready = _is_ready(live)
        if ready and modern:
            self._secret(item, f"{item['metadata']['name']}-login")
        unready = {"reason": "Creating", "message": "Unready resources: disk"}
        status = {"size": item["spec"]["size"], "release": release} if ready else {}
        self._conditions(plural, item, synced={}, ready=None if ready else unready, status=status)

    def _managed(self, plural: str, item: Item) -> None:
        composite = item["metadata"]["name"].removesuffix("-disk")
        if item["metadata"].get("deletionTimestamp"):
            if any(composite.startswith(name) for name in self.held):
                error = {
                    "reason": "ReconcileError",
                    "message": "delete failed: the disk is in use by another machine",
                }
                self._conditions(plural, item, synced=error, ready={"reason": "Deleting"})
                return
            self._finalize(plural, item, _OF_MANAGED, present=False)
            return
        item = self._finalize(plural, item, _OF_MANAGED, present=True)
        words = next((words for name, words in self.failing.items() if composite.startswith(name)), "")
        if not words:
            self._conditions(plural, item, synced={}, ready=None)
            return
        error = {"reason": "ReconcileError", "message": "create failed: see its events"}
        if self._conditions(plural, item, synced=error, ready={"reason": "Creating"}):
            self._warn(item, words)

    def _finalize(self, plural: str, item: Item, name: str, *, present: bool) -> Item:
        """Set or take away a finalizer."""
        others = [one for one in item["metadata"].get("finalizers") or () if one != name]
        metadata = {**item["metadata"], "finalizers": [*others, name] if present else others}
        return self._put(plural, {**item, "metadata": metadata})

    def _conditions(
        self,
        plural: str,
        item: Item,
        *,
        synced: Mapping[str, str],
        ready: Mapping[str, str] | None,
        status: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write a status as the runtime does; whether that changed it."""
        generation = item["metadata"]["generation"]
        known = {one["type"]: one for one in (item.get("status") or {}).get("conditions") or ()}
        wanted = {
            "Synced": {"status": "False" if synced else "True", "reason": "ReconcileSuccess", **synced},
            "Ready": {"status": "True" if ready is None else "False", "reason": "Available", **(ready or {})},
        }
        conditions = []
        for name, condition in wanted.items():
            whole = {"type": name, "message": "", **condition, "observedGeneration": generation}
            then = known.get(name, {}).get("lastTransitionTime", "2026-01-01T00:00:00Z")
            conditions.append({**whole, "lastTransitionTime": then})
        new = {**(item.get("status") or {}), **(status or {}), "conditions": conditions}
        if new == item.get("status"):
            return False
        self.plane.call("PUT", f"{self._path(plural, item)}/status", {**item, "status": new})
        return True

    def _secret(self, item: Item, name: str) -> None:
        data = {"password": base64.b64encode(MADE_UP.encode()).decode()}
        metadata = {"name": name, "ownerReferences": [_owner(item)]}
        with suppress(urllib.error.HTTPError):  # it is there already
            body = {"metadata": metadata, "type": "connection.crossplane.io/v1alpha1", "data": data}
            self.plane.call("POST", f"/api/v1/namespaces/{_space(item)}/secrets", body)

    def _warn(self, item: Item, words: str) -> None:
        space = _space(item) or "default"
        about = {**_named(item), "namespace": _space(item), "uid": item["metadata"]["uid"]}
        self.plane.call(
            "POST",
            f"/api/v1/namespaces/{space}/events",
            {
                "metadata": {"name": f"{item['metadata']['name']}.{uuid.uuid4().hex[:16]}", "namespace": space},
                "involvedObject": about,
                "type": "Warning",
                "reason": "CannotCreateExternalResource",
                "message": words,
                "source": {"component": "managed/disk"},
                "lastTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            },
        )

    def _create(self, plural: str, item: Item) -> Item:
        path = self._path(plural, item).rpartition("/")[0]
        made: Item = self.plane.call("POST", path, {"apiVersion": f"{self.group}/v1", **item})
        return made

    def _put(self, plural: str, item: Item) -> Item:
        put: Item = self.plane.call("PUT", self._path(plural, item), item)  # the same again changes nothing
        return put

    def _path(self, plural: str, item: Item) -> str:
        space = _space(item)
        place = f"/namespaces/{space}" if space else ""
        return f"/apis/{self.group}/v1{place}/{plural}/{item['metadata']['name']}"


@contextmanager
def running(plane: ControlPlane) -> Iterator[Crossplane]:
    """Kinds of a group of their own, and a thread that looks after them."""
    crossplane = Crossplane(plane, f"x{uuid.uuid4().hex[:8]}.example.org")
    definitions = [_definition(crossplane.group, kind) for kind in _kinds()]
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for definition in definitions:
        plane.call("POST", path, definition)
    stop = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        while not stop.wait(_LOOK_SECONDS):
            try:
                crossplane.reconcile()
            except urllib.error.HTTPError as error:
                if error.code not in _NOT_SERVED_YET:
                    errors.append(error)
                    return
            except OSError:
                continue  # the API server is restarted by a test

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield crossplane
    finally:
        stop.set()
        thread.join()
        for definition in definitions:
            plane.call("DELETE", f"{path}/{definition['metadata']['name']}")
        if errors:
            raise errors[0]


@dataclass(frozen=True)
class _Kind:
    """One kind, and what its `spec` may hold."""

    name: str
    plural: str
    categories: list[str]
    spec: Mapping[str, Any]
    scope: str = "Namespaced"


_TEXT: Final = {"type": "string"}
_CONDITION: Final = {
    "type": "object",
    "required": ["lastTransitionTime", "reason", "status", "type"],
    "properties": {
        **dict.fromkeys(("lastTransitionTime", "message", "reason", "status", "type"), _TEXT),
        "observedGeneration": {"type": "integer", "format": "int64"},
    },
}


def _kinds() -> Iterator[_Kind]:
    names = {"type": "object", "additionalProperties": _TEXT}
    refs = {
        "type": "array",
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["apiVersion", "kind"],
            "properties": {"apiVersion": _TEXT, "kind": _TEXT, "name": _TEXT},
        },
    }
    selector = {"type": "object", "required": ["matchLabels"], "properties": {"matchLabels": names}}
    machinery = {"resourceRefs": refs, "compositionRevisionSelector": selector, "compositionRevisionRef": names}
    of_claim = {"resourceRef": names, "writeConnectionSecretToRef": names, "compositeDeletePolicy": _TEXT}
    size = {"size": {"type": "integer"}}
    of_disk = {"forProvider": _object({**size, "release": _TEXT})}
    yield _Kind("Store", "stores", ["composite"], {**size, "crossplane": _object(machinery)})
    yield _Kind("XStore", "xstores", ["composite"], {**size, **machinery, "claimRef": names}, "Cluster")
    yield _Kind("StoreClaim", "storeclaims", ["claim"], {**size, **of_claim})
    yield _Kind("Disk", "disks", ["crossplane", "managed"], of_disk)
    yield _Kind("ClusterDisk", "clusterdisks", ["crossplane", "managed"], of_disk, "Cluster")


def _definition(group: str, kind: _Kind) -> Item:
    listed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    conditions = {"type": "array", "items": _CONDITION, **listed}
    status = {"conditions": conditions, "size": {"type": "integer"}, "release": _TEXT}
    schema = {"type": "object", "properties": {"spec": _object(kind.spec), "status": _object(status)}}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    names = {
        "kind": kind.name,
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "categories": kind.categories,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}"},
        "spec": {
            "group": group,
            "scope": kind.scope,
            "names": names,
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def _object(properties: Mapping[str, Any]) -> Item:
    return {"type": "object", "properties": dict(properties)}


def _named(item: Item) -> Item:
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "name": item["metadata"]["name"]}


def _owner(item: Item) -> Item:
    return {**_named(item), "uid": item["metadata"]["uid"], "controller": True}


def _space(item: Item) -> str:
    return str(item["metadata"].get("namespace") or "")


def _same_place(one: Item, other: Item) -> bool:
    return (one["metadata"]["name"], _space(one)) == (other["metadata"]["name"], _space(other))


def _is_ready(item: Item) -> bool:
    """Whether it is, of its generation."""
    generation = item["metadata"]["generation"]
    conditions = (item.get("status") or {}).get("conditions") or ()
    current = [one for one in conditions if one["observedGeneration"] == generation]
    return {one["type"] for one in current if one["status"] == "True"} == {"Synced", "Ready"}
