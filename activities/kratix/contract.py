"""Kratix's contract with the containers of a pipeline: files, variables, and what they mean. Pure.

As Kratix's `work-creator/lib` has it (`MergeStatuses`, `ReadWorkflowControlFile`, `ParseDestinationSelectors`):
`/kratix/input/object.yaml` is the object; `/kratix/output` what there shall be; `/kratix/metadata` holds
`status.yaml`, `workflow-control.yaml` and `destination-selectors.yaml`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import yaml

from bondstone.activities.clusters.manifests import ManifestLoader
from bondstone.activities.kratix.section import KratixSection
from bondstone.base.errors import ToolFailed

ROOT: Final = "."
"""The directory of `destination-selectors.yaml` that stands for all that no other names."""
MAX_DEFER_SECONDS: Final = 86_400
"""Longest time that `retryAfter` is followed."""

_UNITS: Final = {
    "ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6), "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600),
}  # fmt: skip
_DURATION: Final = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+")
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Control:
    """What a pipeline says of how its workflow continues."""

    suspend: bool = False
    """Nothing runs until a person lets it."""
    retry_after_seconds: float | None = None
    """The pipeline runs again after this time."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which destinations a directory of the output is for."""

    directory: str
    labels: Mapping[str, str]


def environment(section: KratixSection, pipeline: str, action: str) -> dict[str, str]:
    """The variables that a container finds.

    Args:
        section: The step's section.
        pipeline: Name of the pipeline.
        action: configure or delete.
    """
    metadata = _mapping(section.object, "metadata")
    return {
        "KRATIX_WORKFLOW_ACTION": action,
        "KRATIX_WORKFLOW_TYPE": section.workflow,
        "KRATIX_PROMISE_NAME": section.promise,
        "KRATIX_PIPELINE_NAME": pipeline,
        "KRATIX_OBJECT_KIND": section.api.kind,
        "KRATIX_OBJECT_GROUP": section.api.group,
        "KRATIX_OBJECT_VERSION": section.api.version,
        "KRATIX_OBJECT_NAME": str(metadata.get("name", "")),
        "KRATIX_OBJECT_NAMESPACE": str(metadata.get("namespace", "")),
        "KRATIX_CRD_PLURAL": section.api.plural,
        "KRATIX_CLUSTER_SCOPED": "true" if section.api.cluster_scoped else "false",
    }


def object_document(section: KratixSection, status: Mapping[str, Any]) -> dict[str, Any]:
    """The object as a container reads it.

    A field of its `spec` that the request leaves out is not there: an input without a value is null, and an API
    server drops nulls.

    Args:
        section: The step's section.
        status: What pipelines before have left; empty before the first.
    """
    document = dict(section.object)
    if isinstance(document.get("spec"), Mapping):
        document["spec"] = _without_nulls(document["spec"])
    return {**document, "status": dict(status)} if status else document


def _without_nulls(value: Any) -> Any:
    """A value as an API server keeps it: no field is null, not in lists either; an item of a list may be."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list | tuple) else value


def merge_status(known: Mapping[str, Any], incoming: Mapping[str, Any]) -> dict[str, Any]:
    """A status with another one laid over it: whole values are replaced, `conditions` are merged by their type.

    Kratix keeps the merged conditions in no order; here they stay where they are, and new ones come last.

    Args:
        known: The status before.
        incoming: What `status.yaml` says.

    Raises:
        ToolFailed: it sets `kratix`, which is the platform's.
    """
    if "kratix" in incoming:
        raise ToolFailed(
            "status.yaml sets `kratix`, which pipelines may not", where="/kratix/metadata/status.yaml"
        )
    merged = {**known, **incoming}
    before, after = known.get("conditions"), incoming.get("conditions")
    if isinstance(before, list) and isinstance(after, list):
        by_type = {
            condition["type"]: condition
            for condition in (*before, *after)
            if isinstance(condition, dict) and isinstance(condition.get("type"), str)
        }
        merged["conditions"] = list(by_type.values())
    return merged


def read_control(text: str) -> Control:
    """What `workflow-control.yaml` says.

    Raises:
        ToolFailed: it is no mapping, or `retryAfter` no duration.
    """
    value = _yaml(text, "workflow-control.yaml")
    if value is None:
        return Control()
    if not isinstance(value, dict):
        raise ToolFailed("workflow-control.yaml is not a mapping", where="/kratix/metadata/workflow-control.yaml")
    after = _text(value.get("retryAfter"))
    return Control(
        suspend=value.get("suspend") is True,
        retry_after_seconds=go_duration(after) if after else None,
        message=_text(value.get("message"))[:1000],
    )


def go_duration(text: str) -> float:
    """Seconds of a duration as Go writes it: `90s`, `1h30m`, `1.5h`, `250ms`, `0`.

    Raises:
        ToolFailed: it is none, is negative, or longer than `MAX_DEFER_SECONDS`.
    """
    if text in {"0", "+0", "-0"}:
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ToolFailed(f"retryAfter: {text[:80]!r} is not a Go duration", hint="write it as in 90s, 5m or 1h30m")
    total = sum((Fraction(amount) * _UNITS[unit] for amount, unit in _parts(text)), Fraction(0))
    if text.startswith("-") or total > MAX_DEFER_SECONDS:
        raise ToolFailed(f"retryAfter: {text[:80]} must be between 0 and a day")
    return float(total)


def read_selectors(text: str) -> tuple[Selector, ...]:
    """What `destination-selectors.yaml` says.

    Raises:
        ToolFailed: an entry has no labels, two are for one directory, or one is for a directory in another.
    """
    where = "/kratix/metadata/destination-selectors.yaml"
    value = _yaml(text, "destination-selectors.yaml")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ToolFailed("destination-selectors.yaml is not a list", where=where)
    selectors: list[Selector] = []
    for index, entry in enumerate(value):
        labels = _mapping(entry if isinstance(entry, dict) else {}, "matchLabels")
        if not labels:
            raise ToolFailed(f"entry {index} of destination-selectors.yaml has no matchLabels", where=where)
        directory = posixpath.normpath(str(entry.get("directory") or ROOT))
        if "/" in directory or directory == "..":
            raise ToolFailed(f"{directory} in destination-selectors.yaml is inside another directory", where=where)
        if directory in {each.directory for each in selectors}:
            raise ToolFailed(f"two entries of destination-selectors.yaml are for {directory}", where=where)
        selectors.append(Selector(directory, {_text(key): _text(value) for key, value in labels.items()}))
    return tuple(selectors)


def read_status(text: str) -> dict[str, Any]:
    """What `status.yaml` says.

    Raises:
        ToolFailed: it is no mapping.
    """
    value = _yaml(text, "status.yaml")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ToolFailed("status.yaml is not a mapping", where="/kratix/metadata/status.yaml")
    return value


def documents(files: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The objects in what a pipeline has written, in the order of the files' names.

    Args:
        files: Name below `/kratix/output`, and content.

    Raises:
        ToolFailed: a file is no YAML, or holds what is no object of a cluster.
    """
    objects: list[dict[str, Any]] = []
    for name, text in sorted(files):
        for document in _objects(name, text):
            if not document.get("apiVersion") or not document.get("kind"):
                raise ToolFailed(
                    f"{name} holds a document that is not an object of a cluster",
                    where=f"/kratix/output/{name}",
                    hint="only manifests are applied; content for another kind of destination is not supported",
                )
            objects.append(document)
    return objects


def objects_in(files: Mapping[str, str]) -> list[dict[str, Any]]:
    """The objects of a cluster in files that may hold anything: what policies see of them as manifests.

    Args:
        files: Content by path; those that are called `.yaml`, `.yml` or `.json` are read.

    Raises:
        ToolFailed: one of those is no YAML.
    """
    texts = [(name, text) for name, text in sorted(files.items()) if name.endswith((".yaml", ".yml", ".json"))]
    read = (document for name, text in texts for document in _mappings(name, text))
    return [each for each in read if each.get("apiVersion") and each.get("kind")]


def platform_objects(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """The objects that only Kratix's own controller understands, as `Kind/name`."""
    return [
        f"{each['kind']}/{_mapping(each, 'metadata').get('name', '')}"
        for each in objects
        if str(each.get("apiVersion", "")).startswith("platform.kratix.io/")
    ]


def _objects(name: str, text: str) -> Iterator[dict[str, Any]]:
    try:
        for document in yaml.load_all(text, Loader=ManifestLoader):
            if document is None:
                continue
            if not isinstance(document, dict):
                raise ToolFailed(f"{name} holds a document that is not a mapping", where=f"/kratix/output/{name}")
            if document.get("kind") == "List" and isinstance(document.get("items"), list):
                yield from (item for item in document["items"] if isinstance(item, dict))
            else:
                yield document
    except yaml.YAMLError as error:
        words = str(error).splitlines()[0]
        raise ToolFailed(f"{name} is not valid YAML: {words}", where=f"/kratix/output/{name}") from None


def _mappings(name: str, text: str) -> Iterator[dict[str, Any]]:
    try:
        for document in yaml.load_all(text, Loader=ManifestLoader):
            items = (
                document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
            )
            yield from (each for each in (items or [document]) if isinstance(each, dict))
    except yaml.YAMLError as error:
        words = str(error).splitlines()[0]
        raise ToolFailed(f"{name} is not valid YAML: {words}", where=f"/kratix/output/{name}") from None


def _yaml(text: str, name: str) -> Any:
    try:
        return yaml.load(text, Loader=ManifestLoader)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        words = str(error).splitlines()[0]
        raise ToolFailed(f"{name} is not valid YAML: {words}", where=f"/kratix/metadata/{name}") from None


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for match in _PART.finditer(text):
        yield match[1], match[2]


def _text(value: object) -> str:
    """A value where Kratix has a text: a boolean in YAML's words, nothing for null."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, Mapping) else {}
