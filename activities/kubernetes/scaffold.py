"""A kind of a cluster (a CRD, or a composite of Crossplane) as the draft of a promise: inputs from its spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.clusters.manifests import ManifestLoader
from bondstone.base.errors import InvalidInput
from bondstone.executors.scaffold import Draft, fits

CRD: Final = "CustomResourceDefinition"
XRD: Final = "CompositeResourceDefinition"
_KEPT: Final = frozenset({
    "additionalProperties", "allOf", "anyOf", "default", "description", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "properties", "required", "title", "type",
    "uniqueItems",
})  # fmt: skip
_FORMATS: Final = frozenset({"date", "date-time", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"})
_SILENT: Final = frozenset({
    "nullable", "format", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
})  # fmt: skip
MAX_DEPTH: Final = 10


def draft(file: Path) -> Draft:
    """Read a CRD or an XRD.

    Args:
        file: A YAML file that holds one.

    Raises:
        InvalidInput: when it holds none, or more than one.
    """
    try:
        documents = list(yaml.load_all(file.read_text("utf-8-sig"), Loader=ManifestLoader))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"{file} cannot be read: {str(error).splitlines()[0]}", where=str(file)) from error
    kinds = [item for item in documents if isinstance(item, dict) and item.get("kind") in {CRD, XRD}]
    if len(kinds) != 1:
        raise InvalidInput(
            f"{file.name} holds {len(kinds)} definitions; exactly one is needed",
            where=str(file),
            hint="put the definition in a file of its own",
        )
    return _from_definition(kinds[0], file.name)


def spec_inputs(declared: Mapping[str, Any], left: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The inputs that the schema of an object's `spec` leads to, and the `spec` made of them.

    A field whose name no expression can say (`job-name`) is an input by another name (`jobName`).

    Args:
        declared: As the definition has it, in OpenAPI.
        left: Takes what was not translated.

    Returns:
        JSON Schema of the inputs, and the spec as a template.
    """
    schema = {"type": "object", "additionalProperties": False, **_object(declared, "spec", left)}
    fields: dict[str, Any] = schema["properties"]
    names = {field: input_name(field) for field in fields}
    left += [
        f"note: spec.{field} is the input {name}: no expression can say the other name"
        for field, name in names.items()
        if field != name
    ]
    schema["properties"] = {names[field]: inner for field, inner in fields.items()}
    if "required" in schema:
        schema["required"] = [names[field] for field in schema["required"]]
    return schema, {field: f"${{inputs.{name}}}" for field, name in names.items()}


def input_name(field: str) -> str:
    """The name of an input for a field: expressions say `inputs.jobName`, and not `inputs.job-name`.

    Args:
        field: As in `job-name`.
    """
    first, *rest = re.split(r"[^A-Za-z0-9_]+", field)
    return field if field.isidentifier() else first + "".join(word[:1].upper() + word[1:] for word in rest)


def _from_definition(definition: Mapping[str, Any], source: str) -> Draft:
    spec = definition["spec"]
    version = _version(spec)
    schema = _mapping(_mapping(version, "schema"), "openAPIV3Schema")
    left: list[str] = []
    names = _mapping(spec, "claimNames") or _mapping(spec, "names")
    declared = _mapping(_mapping(schema, "properties"), "spec")
    inputs, fields = spec_inputs(declared, left)
    kind = str(names.get("kind", ""))
    composite = definition["kind"] == XRD
    modern = str(definition.get("apiVersion", "")).endswith("/v2")
    scope = spec.get("scope") or ("LegacyCluster" if composite and not modern else "Namespaced")
    if composite and spec.get("claimNames"):  # else a claim goes before what was made for it
        fields |= {"compositeDeletePolicy": "Foreground"}
    section: dict[str, Any] = {
        "manifests": [
            {
                "apiVersion": f"{spec['group']}/{version['name']}",
                "kind": kind,
                "metadata": {"name": "${service.name}"},
                "spec": fields,
            }
        ]
    }
    if scope != "Namespaced" and not spec.get("claimNames"):
        section["cluster_scoped"] = True
    if composite:
        section["ready"] = "crossplane"
    elif _has_ready(schema):
        section["wait"] = [
            {"object": f"{spec['group']}/{version['name']}/{kind}/${{service.name}}", "condition": "Ready"}
        ]
    return Draft(
        kind="kubernetes",
        source=f"the kind {kind} of `{source}`",
        section=section,
        inputs=inputs,
        untranslated=left,
        plannable=True,
    )


def _version(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The version that objects are stored in, else the last one served."""
    versions = [item for item in spec.get("versions", ()) if item.get("served", True)]
    if not versions:
        raise InvalidInput("the definition serves no version", hint="give it a version with `served: true`")
    stored = [item for item in versions if item.get("storage") or item.get("referenceable")]
    chosen: Mapping[str, Any] = (stored or versions)[-1]
    return chosen


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _has_ready(schema: Mapping[str, Any]) -> bool:
    return "conditions" in _mapping(_mapping(_mapping(schema, "properties"), "status"), "properties")


def _object(schema: Mapping[str, Any], path: str, left: list[str]) -> dict[str, Any]:
    properties = {
        name: _translated(inner, f"{path}.{name}", left, 1)
        for name, inner in _mapping(schema, "properties").items()
    }
    required = [name for name in schema.get("required", ()) if name in properties]
    return {"properties": properties, "required": required} if required else {"properties": properties}


def _translated(schema: Any, path: str, left: list[str], depth: int) -> dict[str, Any]:
    """OpenAPI as Kubernetes has it, in JSON Schema 2020-12."""
    if not isinstance(schema, Mapping):
        return {}
    if depth > MAX_DEPTH:
        left.append(f"{path}: deeper than {MAX_DEPTH} levels; any value is taken")
        return {}
    result: dict[str, Any] = dict(_keywords(schema, path, left, depth))
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("anyOf", None)
        result["type"] = ["integer", "string"]
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        result.pop("additionalProperties", None)
    if schema.get("format") in _FORMATS:
        result["format"] = schema["format"]
    if "default" in result and not fits(result, result["default"]):
        del result["default"]
    left += [
        f"{path}: {key} was not translated; the API server checks it"
        for key in schema
        if key not in _KEPT and key not in _SILENT
    ]
    return result


def _keywords(schema: Mapping[str, Any], path: str, left: list[str], depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if key not in _KEPT:
            continue
        if key == "properties":
            yield key, {name: _translated(item, f"{path}.{name}", left, depth + 1) for name, item in value.items()}
        elif key in {"items", "additionalProperties", "not"} and isinstance(value, Mapping):
            yield key, _translated(value, f"{path}[]", left, depth + 1)
        elif key in {"allOf", "anyOf", "oneOf"}:
            yield key, [_translated(item, path, left, depth + 1) for item in value]
        elif key in {"exclusiveMaximum", "exclusiveMinimum"} and isinstance(value, bool):
            bound = schema.get("maximum" if key == "exclusiveMaximum" else "minimum")
            if value and bound is not None:
                yield key, bound
        elif key == "pattern" and "(?" in value:
            left.append(f"{path}: its pattern uses a group that JSON Schema lacks; the API server checks it")
        else:
            yield key, value
