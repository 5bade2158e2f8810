"""A Helm chart as the draft of a promise: inputs from its values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.clusters.manifests import ManifestLoader
from bondstone.activities.helm import values_schema
from bondstone.activities.kubernetes.scaffold import input_name
from bondstone.base.errors import InvalidInput
from bondstone.executors.scaffold import Draft

_TARGET: Final = "chart"
_COMMENT: Final = re.compile(r"^( *)#\s*(?:--\s*)?(.*)$")
_KEY: Final = re.compile(r"^( *)([A-Za-z0-9_][\w.-]*):")
_SECRET: Final = re.compile(r"(password|passwd|secretkey|token|apikey|privatekey)$", re.IGNORECASE)
_TYPES: Final = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
MAX_DEPTH: Final = 6
"""Values further down are taken as they are."""


def draft(chart: Path) -> Draft:
    """Read a chart in a folder.

    Args:
        chart: Its folder, with Chart.yaml.

    Raises:
        InvalidInput: when it is no chart, or its files do not parse.
    """
    about = _load(chart / "Chart.yaml", needed=True)
    values = _as_json(_load(chart / "values.yaml"))
    written = chart / "values.schema.json"
    left: list[str] = []
    schema = values_schema.read(written) if written.is_file() else None
    if schema is not None:
        inputs, left = values_schema.inputs_of(schema, values)
    else:
        comments = _comments((chart / "values.yaml").read_text("utf-8")) if values else {}
        inputs = {"type": "object", "additionalProperties": False, **_object(values, comments, (), left)}
    names = _take_names(inputs, left)
    if about.get("dependencies") and not (chart / "charts").is_dir():
        left.append("the chart's dependencies are not in its folder: run `helm dependency build` there")
    return Draft(
        kind="helm",
        source=f"the chart `{about.get('name', chart.name)}` {about.get('version', '')}".rstrip(),
        section={
            "chart": _TARGET,
            "release": "${service.name}",
            "create_namespace": True,
            "values": {name: f"${{inputs.{names[name]}}}" for name in names},
        },
        inputs=inputs,
        folder=(chart, _TARGET),
        untranslated=left,
        plannable=True,
    )


def _take_names(inputs: dict[str, Any], left: list[str]) -> dict[str, str]:
    """Give the inputs names that expressions can say; the name of the input by that of the value."""
    names: dict[str, str] = {}
    properties: dict[str, Any] = inputs["properties"]
    for value in properties:
        name = input_name(value)
        if not name.isidentifier() or (name != value and name in properties) or name in names.values():
            left.append(f"value {value}: no input can have this name; the chart's own value is used")
            continue
        if name != value:
            left.append(f"note: the value {value} is the input {name}: no expression can say the other name")
        names[value] = name
    inputs["properties"] = {name: properties[value] for value, name in names.items()}
    if "required" in inputs:
        inputs["required"] = [names[value] for value in inputs["required"] if value in names]
    return names


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Helm hands them to a chart: every key is a string."""
    return dict(json.loads(json.dumps(values, default=str)))


def _load(file: Path, *, needed: bool = False) -> dict[str, Any]:
    if not file.is_file():
        if needed:
            raise InvalidInput(
                f"{file.parent} is not a chart: it has no {file.name}", hint="name the chart's folder"
            )
        return {}
    try:
        content = yaml.load(file.read_text("utf-8-sig"), Loader=ManifestLoader)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        raise InvalidInput(
            f"{file.name} is not valid YAML: {str(error).splitlines()[0]}", where=str(file)
        ) from error
    return content if isinstance(content, dict) else {}


def _object(
    values: Mapping[str, Any], comments: Mapping[tuple[str, ...], str], at: tuple[str, ...], left: list[str]
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, value in values.items():
        path = (*at, str(name))
        dotted = ".".join(path)
        if "." in str(name) or str(name).startswith("$"):
            left.append(f"value {dotted}: a key with a dot cannot name an input; the chart's own value is used")
            continue
        schema: dict[str, Any] = _of(value, comments, path, left)
        if text := comments.get(path):
            schema["description"] = text[:500]
        properties[str(name)] = schema
    return {"properties": properties}


def _of(
    value: Any, comments: Mapping[tuple[str, ...], str], path: tuple[str, ...], left: list[str]
) -> dict[str, Any]:
    if isinstance(value, str) and len(path) == 1 and _SECRET.search(path[-1]):
        if value:
            left.append(f"value {'.'.join(path)}: it looks like a secret, so its default is not shown")
        return {"type": "string", "writeOnly": True}
    if value is None:
        return {}
    schema = {"type": _TYPES.get(type(value), "string"), "default": value}
    if isinstance(value, dict) and value and len(path) <= MAX_DEPTH:
        members = _object(value, comments, path, left)["properties"]
        # Helm merges what is passed over the chart's own values, so one default for the whole is enough.
        schema["properties"] = {name: _without_default(member) for name, member in members.items()}
    return schema


def _without_default(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "default"}


def _comments(text: str) -> dict[tuple[str, ...], str]:
    """The comment above each key, as chart authors describe their values."""
    described: dict[tuple[str, ...], str] = {}
    path: list[tuple[int, str]] = []
    pending: list[str] = []
    for line in text.splitlines():
        if match := _COMMENT.match(line):
            if not _KEY.match(match[2].strip()):
                pending.append(match[2].strip())
            continue
        if match := _KEY.match(line):
            indent = len(match[1])
            path = [entry for entry in path if entry[0] < indent]
            path.append((indent, match[2]))
            if pending:
                described[tuple(name for _, name in path)] = " ".join(part for part in pending if part)
        pending = []
    return described
