"""Outputs: fields of what stands once a release does. Secrets come decoded, and as secrets."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

from activities.clusters.api import Cluster
from activities.clusters.jsonpath import JsonPath
from activities.clusters.manifests import Ref, stored
from activities.helm.section import HelmOutput, HelmSection
from bondstone.canonical import canonical, digest
from bondstone.errors import ToolFailed
from bondstone.executor import Output

UNKNOWN: Final = "(known after install)"
"""What a trial has in place of a field that only a cluster gives."""

_CORE: Final = frozenset(
    {"ConfigMap", "Endpoints", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"}
)
_PARTS_OF_CORE: Final = 3
_PARTS_OF_GROUP: Final = 4


def outputs_digest(section: HelmSection) -> str:
    """Changes when what the section says of outputs does."""
    return digest(canonical({name: output.model_dump(mode="json") for name, output in section.outputs.items()}))


async def from_cluster(
    section: HelmSection, cluster: Cluster, refs: list[Ref], namespace: str
) -> dict[str, Output]:
    """The outputs as the cluster holds them.

    Raises:
        ToolFailed: when an object or a field is not there, and the output has no default.
    """
    return await asyncio.to_thread(_outputs, section, refs, namespace, cluster.get)


def from_manifests(
    section: HelmSection, objects: Mapping[Ref, dict[str, Any]], namespace: str
) -> dict[str, Output]:
    """The outputs as far as manifests have them, for trials."""

    def get(ref: Ref) -> dict[str, Any] | None:
        return stored(objects[ref]) if ref in objects else None

    return _outputs(section, list(objects), namespace, get, missing=UNKNOWN)


def source_ref(source: str, known: list[Ref], namespace: str) -> Ref:
    """The object that an output names.

    Args:
        source: `Kind/name` or `apiVersion/Kind/name`.
        known: Objects of the release, among which a kind alone is looked for first.
        namespace: Of the release.

    Raises:
        ValueError: when it names none.
    """
    parts = source.split("/")
    if len(parts) == 2:  # noqa: PLR2004 - kind and name
        kind, name = parts
        for ref in known:
            if (ref.kind, ref.name) == (kind, name):
                return ref
        if kind in _CORE:
            return Ref("v1", kind, namespace, name)
        raise ValueError(
            f"the release has no {kind} {name!r}; name others with their apiVersion: apps/v1/{source}"
        )
    if len(parts) not in {_PARTS_OF_CORE, _PARTS_OF_GROUP} or not all(parts):
        raise ValueError("write it as Kind/name or apiVersion/Kind/name")
    return Ref("/".join(parts[:-2]), parts[-2], namespace, parts[-1])


def is_sensitive(output: HelmOutput) -> bool:
    """Whether what it gives is a secret."""
    return output.secret or "Secret" in output.source.split("/")[:-1]


def _outputs(
    section: HelmSection,
    known: list[Ref],
    namespace: str,
    get: Callable[[Ref], dict[str, Any] | None],
    *,
    missing: Any = None,
) -> dict[str, Output]:
    found: dict[str, Output] = {}
    for name, output in section.outputs.items():
        where = f"output {name}: {output.source}"
        try:
            path, ref = JsonPath(output.path), source_ref(output.source, known, namespace)
        except ValueError as error:
            raise ToolFailed(str(error), where=where) from None
        value = _value(output, path, get(ref))
        if value is None:
            value = output.default if output.default is not None else missing
        if value is None:
            raise ToolFailed(
                f"there is no {output.path} in {ref.address}",
                where=where,
                hint="correct `from` and `path`, or give the output a default; what was made is kept",
            )
        found[name] = Output(value, sensitive=is_sensitive(output))
    return found


def _value(output: HelmOutput, path: JsonPath, item: dict[str, Any] | None) -> Any:
    if item is None:
        return None
    try:
        value = path.find(item)
    except KeyError:
        return None
    if item.get("kind") == "Secret" and path.first == "data" and isinstance(value, str):
        try:
            return base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ToolFailed(
                "the Secret's value is no text", where=f"{output.source} {output.path}", hint="output another one"
            ) from None
    return value
