"""A Kratix promise as the draft of a promise: inputs from its API, a step that runs its pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.clusters.manifests import ManifestLoader
from bondstone.activities.kubernetes.scaffold import spec_inputs
from bondstone.base.errors import InvalidInput
from bondstone.executors.scaffold import Draft

PLATFORM_GROUP: Final = "platform.kratix.io"
_READ: Final = frozenset({"name", "image", "command", "args", "env", "imagePullPolicy"})


def draft(file: Path) -> Draft:
    """Read a Kratix promise.

    A promise with an API becomes the promise of its requests; what it does for the platform, its own pipelines,
    is a promise that `platform_draft` reads. One without an API is that alone.

    Args:
        file: A YAML file that holds one promise of Kratix.

    Raises:
        InvalidInput: when it holds none, or one that no step can stand for.
    """
    promise = _read(file)
    spec = _mapping(promise, "spec")
    left: list[str] = []
    workflows = _mapping(spec, "workflows")
    api = _mapping(spec, "api")
    resource = _mapping(workflows, "resource")
    platform = _mapping(workflows, "promise")
    whole = not (api and resource.get("configure"))
    section = _platform(promise, platform, left) if whole else _request(promise, api, resource, left)
    inputs: dict[str, Any] = {"type": "object", "additionalProperties": False}
    if not whole:
        inputs, section["object"]["spec"] = spec_inputs(_schema(api), left)
        left += _of_the_platform(spec, platform)
    left += _left_of(spec, whole=whole)
    before: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    if spec.get("requiredPromises") and len(section["configure"]) > 1:
        before, section = _in_steps(section)
        left.append(
            "note: each pipeline is a step of its own: what one writes is applied before the next one runs, which "
            "may wait for it"
        )
    return Draft(
        kind="kratix",
        source=f"the Kratix promise {_name(promise)} in {file.name}",
        section=section,
        before=before,
        inputs=inputs,
        outputs={} if whole else {"status": {"type": "object", "value": "${steps.main.outputs.status}"}},
        untranslated=tuple(dict.fromkeys(left)),
    )


def platform_draft(file: Path) -> Draft:
    """Read of a Kratix promise what it does once for the platform: its own pipelines.

    Args:
        file: A YAML file that holds one promise of Kratix.

    Raises:
        InvalidInput: when it holds none, or one without pipelines of its own.
    """
    promise = _read(file)
    left: list[str] = []
    section = _platform(promise, _mapping(_mapping(_mapping(promise, "spec"), "workflows"), "promise"), left)
    return Draft(
        kind="kratix",
        source=f"the pipelines that the Kratix promise {_name(promise)} has for the platform",
        section=section,
        inputs={"type": "object", "additionalProperties": False},
        untranslated=tuple(dict.fromkeys(left)),
    )


def needs_kratix(untranslated: Sequence[str]) -> list[str]:
    """Of what was not translated, what keeps the promise from doing all that it did under Kratix."""
    return [line for line in untranslated if not line.startswith(("note:", "inputs", "spec"))]


def _request(
    promise: Mapping[str, Any], api: Mapping[str, Any], resource: Mapping[str, Any], left: list[str]
) -> dict[str, Any]:
    spec = _mapping(api, "spec")
    kind = _mapping(spec, "names")
    version = _served(spec)
    scoped = spec.get("scope") == "Cluster"
    metadata: dict[str, Any] = {"name": "${service.name}"}
    if not scoped:
        metadata["namespace"] = "default"
    section: dict[str, Any] = {
        "promise": _name(promise),
        "api": {
            "group": str(spec.get("group", "")),
            "version": str(version.get("name", "")),
            "kind": str(kind.get("kind", "")),
            "plural": str(kind.get("plural", "")),
        },
        "object": {
            "apiVersion": f"{spec.get('group')}/{version.get('name')}",
            "kind": str(kind.get("kind", "")),
            "metadata": metadata,
        },
        "configure": _pipelines(resource.get("configure"), "workflows.resource.configure", left),
    }
    if scoped:
        section["api"]["cluster_scoped"] = True
    if resource.get("delete"):
        section["delete"] = _pipelines(resource["delete"], "workflows.resource.delete", left)
    return section


def _platform(promise: Mapping[str, Any], platform: Mapping[str, Any], left: list[str]) -> dict[str, Any]:
    """A promise that installs something once and takes no requests."""
    if not platform.get("configure"):
        raise InvalidInput(
            f"the Kratix promise {_name(promise)} has no pipelines to run",
            hint="its dependencies are plain manifests: make a promise with a `kubernetes` step of them",
        )
    version = str(promise.get("apiVersion", "")).rpartition("/")[2]
    # Not the API, the pipelines and the dependencies: containers that read the promise read its name and labels.
    shown = {"apiVersion": promise.get("apiVersion"), "kind": "Promise", "metadata": {"name": _name(promise)}}
    section: dict[str, Any] = {
        "promise": _name(promise),
        "workflow": "promise",
        "api": {
            "group": PLATFORM_GROUP,
            "version": version,
            "kind": "Promise",
            "plural": "promises",
            "cluster_scoped": True,
        },
        "object": shown,
        "configure": _pipelines(platform["configure"], "workflows.promise.configure", left),
    }
    if platform.get("delete"):
        section["delete"] = _pipelines(platform["delete"], "workflows.promise.delete", left)
    return section


def _in_steps(section: Mapping[str, Any]) -> tuple[tuple[tuple[str, Mapping[str, Any]], ...], dict[str, Any]]:
    """A step for each pipeline, each with the status that the one before has left; what deletes is the last one's.

    Kratix schedules what a pipeline wrote before the next one begins: a step is applied before the next is
    planned.
    """
    *pipelines, last = section["configure"]
    steps: list[tuple[str, Mapping[str, Any]]] = []
    shown = section["object"]
    for number, pipeline in enumerate(pipelines, 1):
        rest = {key: value for key, value in section.items() if key != "delete"}
        steps.append((f"pipeline{number}", {**rest, "object": shown, "configure": [pipeline]}))
        shown = {**section["object"], "status": f"${{steps.pipeline{number}.outputs.status}}"}
    return tuple(steps), {**section, "object": shown, "configure": [last]}


def _pipelines(pipelines: Any, where: str, left: list[str]) -> list[dict[str, Any]]:
    sections = []
    for pipeline in pipelines if isinstance(pipelines, list) else []:
        name = _name(pipeline)
        spec = _mapping(pipeline, "spec")
        place = f"{where}.{name}"
        left += [f"{place}: {words}" for words in _pipeline_left(spec)]
        containers = [
            _container(each, place, left) for each in spec.get("containers") or () if isinstance(each, dict)
        ]
        sections.append({"name": name, "containers": containers})
    return sections


def _container(container: Mapping[str, Any], place: str, left: list[str]) -> dict[str, Any]:
    name, image = str(container.get("name", "")), str(container.get("image", ""))
    written: dict[str, Any] = {"name": name, "image": image}
    for key in ("command", "args"):
        if container.get(key):
            written[key] = [str(each) for each in container[key]]
    variables: dict[str, str] = {}
    for entry in container.get("env") or ():
        if "value" in entry:
            variables[str(entry["name"])] = str(entry["value"])
        else:
            source = ", ".join(_mapping(entry, "valueFrom"))
            left.append(f"{place}.{name}: {entry.get('name')} comes from a {source} of Kratix's cluster")
    if variables:
        written["env"] = variables
    if "@sha256:" not in image:
        left.append(f"note: {place}.{name}: the image {image} is named by a tag; name it by digest")
    left += [f"{place}.{name}: {key} has no place in a step" for key in sorted(container.keys() - _READ)]
    return written


def _pipeline_left(spec: Mapping[str, Any]) -> Iterator[str]:
    permissions = _mapping(spec, "rbac").get("permissions")
    if permissions:
        resources = sorted({str(name) for each in permissions for name in each.get("resources", ())})
        yield f"its containers ask the cluster for {', '.join(resources)} (rbac), and here they reach none"
    for volume in spec.get("volumes") or ():
        source = next((key for key in volume if key != "name"), "volume")
        yield f"the volume {volume.get('name')} is a {source} of Kratix's cluster"
    for key in sorted(spec.keys() - {"containers", "rbac", "volumes", "jobOptions"}):
        yield f"{key} has no place in a step"


def _of_the_platform(spec: Mapping[str, Any], platform: Mapping[str, Any]) -> Iterator[str]:
    if platform.get("configure"):
        yield (
            "note: workflows.promise: what it installs for all requests is a promise of its own; "
            "make it with `--from kratix-platform:` and request it first"
        )
    if spec.get("dependencies"):
        yield f"dependencies: {len(spec['dependencies'])} objects that all requests need; apply them first"


def _left_of(spec: Mapping[str, Any], *, whole: bool) -> Iterator[str]:
    for each in spec.get("requiredPromises") or ():
        version = f" at {each['version']}" if each.get("version") else ""
        yield (
            f"requiredPromises: {each.get('name')}{version}: its pipelines request it through Kratix's API; "
            "write it under `requires`"
        )
    for each in spec.get("destinationSelectors") or ():
        labels = ", ".join(f"{key}={value}" for key, value in _mapping(each, "matchLabels").items())
        yield f"note: destinationSelectors {labels}: the step's `cluster` says where to"
    if whole and _mapping(spec, "api"):
        yield "api: requests of it have no pipeline, so there is nothing that would become a service"
    for key in sorted(
        spec.keys() - {"api", "workflows", "dependencies", "requiredPromises", "destinationSelectors"}
    ):
        yield f"{key} has no counterpart"


def _schema(api: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = _mapping(_mapping(_served(_mapping(api, "spec")), "schema"), "openAPIV3Schema")
    return _mapping(_mapping(schema, "properties"), "spec")


def _served(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    versions = [each for each in spec.get("versions") or () if isinstance(each, dict)]
    stored = [each for each in versions if each.get("storage")]
    return (stored or versions or [{}])[0]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        documents = [item for item in yaml.load_all(file.read_text("utf-8-sig"), Loader=ManifestLoader) if item]
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"{file} cannot be read: {str(error).splitlines()[0]}", where=str(file)) from error
    promises = [item for item in documents if isinstance(item, dict) and _is_promise(item)]
    if len(promises) != 1:
        raise InvalidInput(
            f"{file.name} holds {len(promises)} promises of Kratix; exactly one is needed",
            where=str(file),
            hint="name the promise.yaml itself; of a release, fetch what its sourceRef names",
        )
    return promises[0]


def _is_promise(item: Mapping[str, Any]) -> bool:
    return item.get("kind") == "Promise" and str(item.get("apiVersion", "")).startswith(f"{PLATFORM_GROUP}/")


def _name(item: Mapping[str, Any]) -> str:
    return str(_mapping(item, "metadata").get("name", ""))


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
