"""The inputs of a promise as a form of Backstage: JSON Schema 2020-12 down to what its forms and its server check.

Forms validate by ajv, the server by npm's `jsonschema`, which ignores newer keywords in silence. What neither
understands is left out of the form; the platform checks all of it when the request arrives. `TRANSLATED` and
`DROPPED` are the table in `docs/reference/backstage-forms.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bondstone.backstage.patterns import is_portable
from bondstone.base.errors import PromiseInvalid
from bondstone.promise.schema_graph import SchemaGraph

MAX_DEPTH: Final = 20
KEPT: Final = (
    "type", "title", "description", "default", "enum", "required", "minLength", "maxLength", "pattern", "format",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
    "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
"""Keywords that mean the same on both sides."""
TRANSLATED: Final[Mapping[str, tuple[str, str]]] = {
    "const": ("`enum` with one value", "both validators know it, and the form shows it"),
    "$ref, $defs": ("what they refer to, in its place", "forms resolve references late and the server not at all"),
    "dependentRequired": ("`dependencies`", "the server ignores the newer name"),
    "dependentSchemas": ("`dependencies`", "the server ignores the newer name"),
    "prefixItems": ("`items` as a list, with `additionalItems`", "the names of draft 7"),
    "type with null": ("the type without null", "a field that is left empty is absent"),
    "writeOnly": (
        "a field of the page Secrets with `ui:field: Secret`, and `spec.secrets.schema`",
        "Backstage keeps its parameters in plain, and secrets only until the task has run",
    ),
    "properties, items, additionalProperties, allOf, anyOf, oneOf, not": ("the same, translated inside", ""),
}
"""Keyword: what becomes of it, and why."""
DROPPED: Final[Mapping[str, str]] = {
    "unevaluatedProperties, unevaluatedItems": "neither draft 7 nor the server knows them",
    "contains, minContains, maxContains": "forms have no way to show what is missing",
    "if, then, else": "the server ignores them, so that form and server would disagree",
    "patternProperties, propertyNames": "forms offer no field for names that are not known",
    "contentEncoding, contentMediaType, contentSchema": "neither checks them",
    "examples, deprecated, $comment, $id, $schema, $anchor": "they restrict nothing",
    "$dynamicRef, $dynamicAnchor, $vocabulary": "the server does not know them: any value may be entered there",
    "format: time": "the server knows only times without a zone, which the platform refuses",
    "a pattern that JavaScript reads otherwise": "as `(?i)`, `a++`, `\\-` without `[]`: it would break the form",
    "readOnly": "such a property is no input: it is left out",
    "a schema that refers to itself": "it has no end: any value may be entered there",
}
"""Keyword: why it is left out. The platform still checks it."""
_DROPPED_KEYS: Final = frozenset(
    {
        *("unevaluatedProperties", "unevaluatedItems", "contains", "minContains", "maxContains"),
        *("if", "then", "else", "patternProperties", "propertyNames"),
        *("contentEncoding", "contentMediaType", "contentSchema", "$dynamicRef"),
    }
)
_IN_PLACE: Final = ("allOf", "anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Form:
    """The inputs of a promise as Backstage takes them."""

    inputs: dict[str, Any]
    """JSON Schema of what is no secret."""
    secrets: dict[str, dict[str, Any]]
    """By the dotted path of a secret input: its schema."""
    required_secrets: tuple[str, ...]
    """Paths of those without which a request is refused."""
    dropped: tuple[str, ...]
    """Paths and keywords that the form does not check, in words."""


@dataclass(slots=True)
class _Translation:
    graph: SchemaGraph
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def form_of(schema: Mapping[str, Any]) -> Form:
    """The form for a schema of inputs.

    Args:
        schema: As the promise has it.

    Raises:
        PromiseInvalid: its inputs are no object: there is no form for it.
    """
    if schema.get("type", "object") != "object":
        raise PromiseInvalid("the inputs are not an object", hint="a form has named fields")
    translation = _Translation(SchemaGraph(schema))
    translated = _translated(translation, {"type": "object", **schema}, "", (), required=True)
    return Form(
        inputs=translated,
        secrets=translation.secrets,
        required_secrets=tuple(translation.required),
        dropped=tuple(dict.fromkeys(translation.dropped)),
    )


def secret_field(path: str) -> str:
    """The name of a secret's field: a path without dots, which expressions could not name."""
    return path.translate({ord("_"): "_u", ord("-"): "_d", ord("."): "__"})


def _translated(
    state: _Translation, schema: Any, path: str, refs: tuple[str, ...], *, required: bool = False
) -> dict[str, Any]:
    if schema is True:
        return {}
    if schema is False:
        return {"not": {}}
    schema, refs = _resolved(state, schema, path, refs)
    if schema is None or len(path.split(".")) > MAX_DEPTH:
        state.dropped.append(f"{path or 'the inputs'}: a schema that refers to itself")
        return {}
    result = _value(schema)
    _restrict_text(state, result, path)
    state.dropped += [f"{path or 'the inputs'}: {key}" for key in sorted(_DROPPED_KEYS & set(schema))]
    _properties(state, schema, result, path, refs, required=required)
    _items(state, schema, result, path, refs)
    for key in _IN_PLACE:
        if key in schema:
            result[key] = [_translated(state, each, path, refs) for each in schema[key]]
    if "not" in schema:
        result["not"] = _translated(state, schema["not"], path, refs)
    return result


def _value(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a schema says of one value, without null: a field that is left empty is absent."""
    result = {key: schema[key] for key in KEPT if key in schema}
    kind = result.get("type")
    if isinstance(kind, list):
        kinds = [each for each in kind if each != "null"]
        result["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "enum" in result and "null" in _kinds(kind):
        result["enum"] = [value for value in result["enum"] if value is not None]
    if result.get("default", 0) is None:
        del result["default"]
    if "const" in schema:
        result["enum"] = [schema["const"]]
    return result


def _restrict_text(state: _Translation, result: dict[str, Any], path: str) -> None:
    """Leave out what JavaScript or the server would read otherwise."""
    if result.get("format") == "time":
        del result["format"]
        state.dropped.append(f"{path}: format: time")
    if not is_portable(str(result.get("pattern", ""))):
        del result["pattern"]
        state.dropped.append(f"{path}: a pattern that JavaScript reads otherwise")


def _properties(
    state: _Translation, schema: Mapping[str, Any], result: dict[str, Any], path: str, refs: tuple[str, ...],
    *, required: bool,
) -> None:  # fmt: skip
    needed = set(schema.get("required", ()))
    absent: set[str] = set()
    if "properties" in schema:
        properties = result["properties"] = {}
        for name, each in schema["properties"].items():
            below = f"{path}.{name}" if path else name
            within, _ = _resolved(state, each, below, refs) if isinstance(each, dict) else (each, refs)
            if isinstance(within, dict) and within.get("readOnly"):
                absent.add(name)
            elif isinstance(within, dict) and within.get("writeOnly"):
                absent.add(name)
                _secret(state, within, below, refs, required=required and name in needed)
            else:
                properties[name] = _translated(state, each, below, refs, required=required and name in needed)
    if "required" in result:
        result["required"] = [name for name in result["required"] if name not in absent]
        if not result["required"]:
            del result["required"]
    more = schema.get("additionalProperties")
    if more is not None:
        result["additionalProperties"] = more if isinstance(more, bool) else _translated(state, more, path, refs)
    dependencies = _dependencies(state, schema, path, refs, absent)
    if dependencies:
        result["dependencies"] = dependencies


def _secret(
    state: _Translation, schema: Mapping[str, Any], path: str, refs: tuple[str, ...], *, required: bool
) -> None:
    translated = _translated(state, schema, path, refs)
    translated.pop("default", None)
    if _kinds(translated.get("type")) - {"string"}:
        state.dropped.append(f"{path}: a secret that is not text; it is entered as JSON")
        translated = {key: value for key, value in translated.items() if key in {"title", "description"}}
    state.secrets[path] = {"type": "string", **translated}
    if required:
        state.required.append(path)


def _dependencies(
    state: _Translation, schema: Mapping[str, Any], path: str, refs: tuple[str, ...], absent: set[str]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, needed in schema.get("dependentRequired", {}).items():
        kept = [each for each in needed if each not in absent]
        if name not in absent and kept:
            result[name] = kept
    for name, each in schema.get("dependentSchemas", {}).items():
        if name not in absent:
            translated = _translated(state, each, path, refs)
            also = result.get(name)
            result[name] = {"allOf": [{"required": also}, translated]} if also else translated
    return result


def _items(
    state: _Translation, schema: Mapping[str, Any], result: dict[str, Any], path: str, refs: tuple[str, ...]
) -> None:
    below = f"{path}[]"
    rest = schema.get("items")
    if "prefixItems" in schema:
        result["items"] = [_translated(state, each, below, refs) for each in schema["prefixItems"]]
        if rest is not None:
            result["additionalItems"] = rest if isinstance(rest, bool) else _translated(state, rest, below, refs)
    elif rest is not None:
        result["items"] = _translated(state, rest, below, refs)


def _resolved(
    state: _Translation, schema: Any, path: str, refs: tuple[str, ...]
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The schema with its reference replaced; None where it refers to itself or to what is not there."""
    merged: dict[str, Any] = dict(schema)
    while "$ref" in merged:
        reference = merged.pop("$ref")
        target = state.graph.target(reference)
        if reference in refs or target is None:
            return None, refs
        refs = (*refs, reference)
        merged = {**target, **merged}
    del path
    return merged, refs


def _kinds(kind: Any) -> set[str]:
    return set(_each(kind))


def _each(kind: Any) -> Iterator[str]:
    if isinstance(kind, str):
        yield kind
    elif isinstance(kind, list):
        yield from kind
