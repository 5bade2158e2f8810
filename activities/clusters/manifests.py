"""Manifests: reading them, naming the objects in them, comparing only what they set. Pure."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import yaml

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import ToolFailed
from bondstone.base.redact import MASK, Redactor

MAX_OBJECTS: Final = 2_000
MAX_MANIFEST_CHARS: Final = 16 * 1024 * 1024
_MAX_NODES: Final = 1_000_000
_MAX_DEPTH: Final = 100


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object: what a cluster finds it by."""

    api_version: str
    kind: str
    namespace: str
    """Empty for what is in none."""
    name: str

    @property
    def address(self) -> str:
        """As people see it: `apps/v1/Deployment/shop/web`."""
        return "/".join(part for part in (self.api_version, self.kind, self.namespace, self.name) if part)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What stays the same when the version of an API changes: group, kind, namespace, name."""
        return (self.api_version.rpartition("/")[0], self.kind, self.namespace, self.name)

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Ref:
        """The object that a manifest describes."""
        metadata = manifest.get("metadata") or {}
        return cls(
            str(manifest.get("apiVersion", "")),
            str(manifest.get("kind", "")),
            str(metadata.get("namespace") or ""),
            str(metadata.get("name") or ""),
        )


def read_manifests(text: str, *, where: str = "") -> list[dict[str, Any]]:
    """The objects in a stream of YAML documents, lists of objects taken apart.

    Raises:
        ToolFailed: when it is not YAML, too large, or holds something that is no object.
    """
    if len(text) > MAX_MANIFEST_CHARS:
        raise ToolFailed(f"the manifests are larger than {MAX_MANIFEST_CHARS // 1024**2} MiB", where=where)
    try:
        documents = _Plain().of(list(yaml.load_all(text, Loader=ManifestLoader)))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark else ""
        raise ToolFailed(f"the manifests are not YAML that can be read{place}", where=where) from None
    items: list[dict[str, Any]] = []
    for document in documents:
        for item in _objects(document):
            if not isinstance(item, dict) or not item.get("kind") or not item.get("apiVersion"):
                raise ToolFailed(
                    "a manifest is not a Kubernetes object: it has no apiVersion or no kind", where=where
                )
            items.append(item)
    if len(items) > MAX_OBJECTS:
        raise ToolFailed(f"there are more than {MAX_OBJECTS} objects", where=where)
    return items


def project(value: Any, shape: Any) -> Any:
    """The part of a value that a shape has a place for: how an object of a cluster is cut down to what was set.

    Entries of lists are found by their `name` where they have one, else by their place.
    """
    if isinstance(value, dict) and isinstance(shape, dict):
        return {key: project(value[key], shape[key]) for key in shape if key in value}
    if isinstance(value, list) and isinstance(shape, list):
        named = {item["name"]: item for item in shape if isinstance(item, dict) and "name" in item}
        return [
            project(item, named.get(item["name"], item))
            if isinstance(item, dict) and named and "name" in item
            else project(item, shape[index] if index < len(shape) else item)
            for index, item in enumerate(value)
        ]
    return value


def merged_shape(*shapes: Any) -> Any:
    """A shape with the places of all of some; the first that is no mapping decides."""
    known = [shape for shape in shapes if shape is not None]
    if not known:
        return None
    if not all(isinstance(shape, dict) for shape in known):
        return known[0]
    keys = dict.fromkeys(key for shape in known for key in shape)
    return {key: merged_shape(*(shape[key] for shape in known if key in shape)) for key in keys}


def stored(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as the cluster keeps it: of a Secret, `stringData` becomes part of `data`.

    What the control plane fills in is left out, see `without_filled`.
    """
    manifest_stored = without_filled(manifest)
    if manifest_stored.get("kind") == "Secret" and isinstance(manifest_stored.get("stringData"), dict):
        added = {
            key: base64.b64encode(str(value).encode()).decode()
            for key, value in manifest_stored.pop("stringData").items()
        }
        manifest_stored["data"] = {**(manifest_stored.get("data") or {}), **added}
    return manifest_stored


def without_filled(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without fields that are the control plane's, whatever an author writes there.

    Those are the `rules` of a ClusterRole that aggregates others: a controller replaces them, and authors write
    `rules: []` as the documentation of Kubernetes has it.
    """
    aggregates = manifest.get("kind") == "ClusterRole" and manifest.get("aggregationRule")
    return {key: value for key, value in manifest.items() if not (aggregates and key == "rules")}


def masked(manifest: Mapping[str, Any] | None, redact: Redactor) -> dict[str, Any] | None:
    """A manifest to be shown: what a Secret holds and every known secret masked."""
    if manifest is None:
        return None
    hidden = {"data", "stringData"} if manifest.get("kind") == "Secret" else set()
    return {
        key: dict.fromkeys(value, MASK) if key in hidden and isinstance(value, dict) else redact.masked(value)
        for key, value in manifest.items()
    }


def secret_texts(manifests: Iterable[Mapping[str, Any]]) -> set[str]:
    """All texts that Secrets among some manifests hold, as they are and encoded."""
    texts: set[str] = set()
    for manifest in manifests:
        if manifest.get("kind") != "Secret":
            continue
        for encoded in _texts(manifest.get("data")):
            texts.add(encoded)
            try:
                texts.add(base64.b64decode(encoded, validate=True).decode())
            except (binascii.Error, ValueError):
                continue
        for text in _texts(manifest.get("stringData")):
            texts |= {text, base64.b64encode(text.encode()).decode()}
    return texts


def fingerprints(manifest: Mapping[str, Any] | None) -> dict[str, str]:
    """Digest of each value by its path: see `Change.fingerprints`."""
    return {path: digest(canonical(value)) for path, value in _leaves(manifest)}


class ManifestLoader(yaml.CSafeLoader):  # type: ignore[misc]  # the package has no types
    """Reads YAML 1.1 as Helm and kubectl do, not as its specification and PyYAML have it.

    `y` is true as `yes` is; `1e3`, `0o14` and `08` are numbers, `12:30` is a text; so are a date and a plain `=`.
    """

    bool_values: ClassVar = {**yaml.CSafeLoader.bool_values, "y": True, "n": False}


_YAML: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(
    r"[-+]?(0[xX]_*[0-9a-fA-F][0-9a-fA-F_]*|0[bB]_*[01][01_]*|0([oO]_*[0-7])?[0-7_]*|[1-9][0-9_]{0,400})$"
)
"""A longer one is read as a float."""
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
_INTEGERS: Final = range(-(2**63), 2**64)
_PLAIN_FLOAT: Final = 1e21
"""From here on a number is written with an exponent."""


def _integer(loader: ManifestLoader, node: yaml.ScalarNode) -> int | float | str:
    written = str(loader.construct_scalar(node))
    text = written.replace("_", "")
    digits = text.lstrip("+-")
    value = int(digits, 8 if re.match("0[0-7]", digits) else 0) * (-1 if text.startswith("-") else 1)
    if value in _INTEGERS:
        return value
    as_float = float(text) if digits.isdecimal() else math.inf
    return written if math.isinf(as_float) else as_float


def _float(loader: ManifestLoader, node: yaml.ScalarNode) -> int | float | str:
    written = str(loader.construct_scalar(node))
    text = written.replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    if math.isinf(value) and "inf" not in text:
        return written  # a commit such as 12e4567
    return int(value) if value.is_integer() and abs(value) < _PLAIN_FLOAT else value


ManifestLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {f"{_YAML}int", f"{_YAML}float"}]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
ManifestLoader.add_implicit_resolver(f"{_YAML}bool", re.compile(r"[yYnN]$"), list("yYnN"))
ManifestLoader.add_implicit_resolver(f"{_YAML}int", _INTEGER, list("-+0123456789"))
ManifestLoader.add_implicit_resolver(f"{_YAML}float", _FLOAT, list("-+.0123456789"))
ManifestLoader.add_constructor(f"{_YAML}int", _integer)
ManifestLoader.add_constructor(f"{_YAML}float", _float)
for _tag in ("timestamp", "value"):
    ManifestLoader.add_constructor(f"{_YAML}{_tag}", lambda loader, node: loader.construct_scalar(node))


class _Plain:
    """YAML as JSON has it; what aliases blow up is refused."""

    def __init__(self) -> None:
        self._left = _MAX_NODES

    def of(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise ValueError
        if isinstance(value, dict):
            return {_key(key): self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, depth + 1) for item in value]
        if value is None or isinstance(value, str | int | float):
            return value
        raise ValueError


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _objects(document: Any) -> Iterator[Any]:
    if document is None:
        return
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item)
    else:
        yield document


def _texts(value: Any) -> list[str]:
    return [item for item in value.values() if isinstance(item, str)] if isinstance(value, dict) else []


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{prefix}[{index}]")
    elif value is not None:
        yield prefix, value
