"""JSON Schemas of what people write, for editors: completion and mistakes while a file is typed.

`bond schema` writes them. They say what the readers of the files say as far as JSON Schema can; the readers say
more (references between steps, types of expressions), so a file that an editor accepts may still be refused.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from bondstone.base.names import SERVICE_EXECUTOR
from bondstone.executors.registry import load_executors
from bondstone.model.campaign.manifest import Campaign, Strategy
from bondstone.model.identity import EVERYTHING, ROLE_PATTERN, AccessDocument
from bondstone.model.manifest import ServiceManifest
from bondstone.model.platform_manifests import (
    FreezeManifest,
    PolicySetManifest,
    PromiseReference,
    ScheduleManifest,
)
from bondstone.model.promise import STEP_KEYS, Promise
from bondstone.promise.cases import Case

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TEMPLATE: Final = r"\$\{"
"""What a text must hold to stand where another type is wanted: an expression gives that type."""
FOLDER: Final = ".schemas"
"""Where `bond promise init` puts the schemas that a promise's files name; no bundle holds it."""

_EVALUATED: Final = frozenset({"integer", "number", "boolean", "array", "object"})


def modeline(kind: str, *, folder: str = FOLDER) -> str:
    """The first line of a file that tells editors its schema.

    Args:
        kind: One of `EDITOR_SCHEMAS`.
        folder: Where the schemas are, relative to the file.
    """
    return f"# yaml-language-server: $schema={folder}/{kind}.json\n"


def editor_schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of file.

    Args:
        kind: One of `EDITOR_SCHEMAS`.
    """
    return EDITOR_SCHEMAS[kind]()


def as_text(schema: Mapping[str, Any]) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def service_schema(
    promise: str = "", version: str = "", inputs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The schema of service manifests, of every promise or of one.

    Args:
        promise: Name of the promise; empty for every one.
        version: Its version, for the title.
        inputs: JSON Schema of its inputs.
    """
    schema = _of(ServiceManifest, "A service, as `bond apply` takes it")
    if not promise:
        return schema
    spec = schema["$defs"]["ServiceManifestSpec"]["properties"]
    spec["promise"] = {"const": promise}
    inputs_schema = copy.deepcopy(dict(inputs or {}))
    spec["inputs"] = {**_with_sources(_rooted(inputs_schema, "inputs")), "title": f"Inputs of {promise}"}
    if inputs_schema.get("required"):
        schema["$defs"]["ServiceManifestSpec"].setdefault("required", []).append("inputs")
    schema["$defs"] |= {
        f"inputs.{name}": _with_sources(_rooted(each, "inputs")) for name, each in _defs(inputs_schema)
    }
    return {**schema, "title": f"A service of {promise}{f'@{version}' if version else ''}"}


def _promise() -> dict[str, Any]:
    schema = _of(Promise, "A promise: promise.yaml")
    definitions = schema["$defs"]
    written = definitions["Step"]
    for name in ("executor", "section"):
        written["properties"].pop(name, None)
    written["required"] = ["id"]
    sections: list[dict[str, Any]] = []
    for kind, executor in sorted(load_executors().items()):
        if kind == SERVICE_EXECUTOR:
            continue  # written under `requires`
        section = executor.section.model_json_schema(by_alias=True)
        definitions |= {f"{kind}.{name}": _with_templates(_rooted(each, kind)) for name, each in _defs(section)}
        definitions[kind] = _with_templates(_rooted(section, kind), top=True)
        written["properties"][kind] = {"$ref": f"#/$defs/{kind}"}
        sections.append({"required": [kind]})
    written["oneOf"] = sections
    written["description"] = f"Beside its one section a step has {', '.join(STEP_KEYS)}."
    spec = definitions["PromiseSpec"]
    spec["required"] = []
    spec["anyOf"] = [{"required": ["steps"]}, {"required": ["requires"]}]
    return schema


def _cases() -> dict[str, Any]:
    return _adapted(TypeAdapter(Case | list[Case]), "Cases of a promise: tests/*.yaml")


def _of(model: type[BaseModel], title: str) -> dict[str, Any]:
    return _adapted(TypeAdapter(model), title)


def _access() -> dict[str, Any]:
    """The model's null is written `everything`."""
    schema = _of(AccessDocument, "An access document")
    scope = schema["$defs"]["Grant"]["properties"]["scope"]
    scope["anyOf"] = [{"$ref": "#/$defs/Scope"}, {"const": EVERYTHING}]
    schema["$defs"]["Grant"]["properties"]["roles"]["items"]["pattern"] = f"^({ROLE_PATTERN})$"
    return schema


def _adapted(adapter: TypeAdapter[Any], title: str) -> dict[str, Any]:
    return {"$schema": DIALECT, **adapter.json_schema(by_alias=True), "title": title}


EDITOR_SCHEMAS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "promise": _promise,
    "promise-tests": _cases,
    "service": service_schema,
    "campaign": lambda: _of(Campaign, "A campaign"),
    "strategy": lambda: _of(Strategy, "A strategy of campaigns"),
    "schedule": lambda: _of(ScheduleManifest, "A schedule of campaigns, as `bond apply` takes it"),
    "freeze": lambda: _of(FreezeManifest, "A freeze, as `bond apply` takes it"),
    "policy-set": lambda: _of(PolicySetManifest, "The organisation's policies, as `bond apply` takes them"),
    "promise-reference": lambda: _of(PromiseReference, "A version of a promise that manifests rely on"),
    "access": _access,
}
"""Kind of file to what makes its schema."""


def _defs(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(schema.pop("$defs", {}).items())


def _rooted(schema: Any, prefix: str) -> Any:
    """A schema whose references lead into `$defs` of another root, under a prefix."""
    if isinstance(schema, list):
        return [_rooted(each, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    target = schema.get("$ref")
    rest = {name: _rooted(each, prefix) for name, each in schema.items() if name != "$ref"}
    if isinstance(target, str) and target.startswith("#/$defs/"):
        return {"$ref": f"#/$defs/{prefix}.{target.removeprefix('#/$defs/')}", **rest}
    return {"$ref": target, **rest} if isinstance(target, str) else rest


def _with_templates(schema: Any, *, top: bool = False) -> Any:
    """A schema of a section: where a value of another type may stand, a text with an expression may too."""
    if isinstance(schema, list):
        return [_with_templates(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        name: {key: _with_templates(each) for key, each in value.items()}
        if name == "properties"
        else _with_templates(value)
        for name, value in schema.items()
    }
    limited = inner.get("type") == "string" and inner.keys() & {"pattern", "enum", "format", "const"}
    if top or (inner.get("type") not in _EVALUATED and not limited):
        return inner
    described = {name: inner.pop(name) for name in ("title", "description", "default") if name in inner}
    return {**described, "anyOf": [inner, {"type": "string", "pattern": TEMPLATE}]}


def _with_sources(schema: Any) -> Any:
    """A schema of inputs in a manifest: where a secret is, there stands where it comes from."""
    if isinstance(schema, list):
        return [_with_sources(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("writeOnly") is True:
        described = {name: schema[name] for name in ("title", "description") if name in schema}
        text = {"type": "string", "minLength": 1}
        return {
            **described,
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {"$env": text, "$file": text},
        }
    return {
        name: {key: _with_sources(each) for key, each in value.items()}
        if name == "properties" and isinstance(value, dict)
        else _with_sources(value)
        for name, value in schema.items()
    }
