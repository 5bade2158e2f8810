"""The JSON Schema of inputs, checked as an author means it: also what JSON Schema itself lets pass in silence."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.errors import BondError, Problem, PromiseInvalid
from bondstone.documents.yaml_places import Path_, PlacedDocument, did_you_mean
from bondstone.model.promise import Promise
from bondstone.promise.inputs import MAX_PROBLEMS
from bondstone.promise.schema import (
    MAX_FIELDS,
    MAX_SCHEMA_DEPTH,
    count_fields,
    fields,
    metaschema,
    resolved,
    secret_paths,
    uncovered_secrets,
    validator,
    walk,
)
from bondstone.promise.schema_cost import check_evaluations, check_ways
from bondstone.promise.schema_graph import SchemaGraph

if TYPE_CHECKING:
    import jsonschema_rs

ROOT: Final[Path_] = ("spec", "inputs")

TYPES: Final = ("string", "number", "integer", "boolean", "array", "object", "null")
KEYWORDS: Final = frozenset({
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$ref", "$schema", "$vocabulary",
    "additionalProperties", "allOf", "anyOf", "const", "contains", "contentEncoding", "contentMediaType",
    "contentSchema", "default", "dependentRequired", "dependentSchemas", "deprecated", "description", "else",
    "enum", "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "if", "items", "maxContains", "maxItems",
    "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties", "minimum",
    "multipleOf", "not", "oneOf", "pattern", "patternProperties", "prefixItems", "properties", "propertyNames",
    "readOnly", "required", "then", "title", "type", "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
    "writeOnly",
})  # fmt: skip
FORMATS: Final = frozenset({
    "date", "date-time", "duration", "email", "hostname", "idn-email", "idn-hostname", "ipv4", "ipv6", "iri",
    "iri-reference", "json-pointer", "regex", "relative-json-pointer", "time", "uri", "uri-reference",
    "uri-template", "uuid",
})  # fmt: skip

_DEFAULT: Final = "it would be readable in every bundle; leave it out, or let the module make the secret"

_ONE: Final = (
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_MANY: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("$defs", "dependentSchemas", "patternProperties", "properties")


def check_schema(document: PlacedDocument, promise: Promise) -> list[Problem]:
    """Every problem of the schema of inputs."""
    import jsonschema_rs  # noqa: PLC0415 - see `bondstone.promise.schema`

    schema = promise.spec.inputs
    problems = [
        document.problem((*ROOT, *error.instance_path), _meta_words(error), hint=_meta_hint(error))
        for error in metaschema().iter_errors(schema)
    ]
    if "type" not in schema and "inputs" in _mapping(document.data, "spec"):
        problems.append(document.problem(ROOT, "inputs must say `type: object`", key=True))
    elif schema.get("type") not in {"object", None} and schema.get("type") in TYPES:
        problems.append(document.problem((*ROOT, "type"), "inputs must be of type object"))
    if schema.get("writeOnly") is True:
        problems.append(
            document.problem((*ROOT, "writeOnly"), "single inputs are secret, not all at once", key=True)
        )
    problems += [problem for path, sub in _subschemas(schema, ()) for problem in _check_one(document, path, sub)]
    if problems:
        return problems
    try:
        check_ways(schema)
        validator(schema)
    except PromiseInvalid as error:
        place = tuple(int(part) if part.isdigit() else part for part in error.where.split("/") if part)
        return [document.problem((*ROOT, *place), error.message, key=True)]
    except jsonschema_rs.ValidationError as error:
        return [document.problem((*ROOT, *error.instance_path), _compile_words(error))]
    return [
        *_check_closed(document, promise.spec.inputs),
        *_check_defaults(document, promise),
        *_check_secrets(document, promise),
    ]


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _subschemas(schema: Any, path: Path_) -> Iterator[tuple[Path_, Mapping[str, Any]]]:
    """Every schema inside a schema, with its path."""
    if not isinstance(schema, Mapping) or len(path) > 2 * MAX_SCHEMA_DEPTH:
        return
    yield path, schema
    for word in _ONE:
        yield from _subschemas(schema.get(word), (*path, word))
    for word in _MANY:
        items = schema.get(word)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            yield from _subschemas(item, (*path, word, index))
    for word in _NAMED:
        for name, item in _mapping(schema, word).items():
            yield from _subschemas(item, (*path, word, name))


def _check_one(document: PlacedDocument, path: Path_, schema: Mapping[str, Any]) -> Iterator[Problem]:
    at = (*ROOT, *path)
    for key in schema:
        if key not in KEYWORDS and (close := difflib.get_close_matches(key, KEYWORDS, n=1, cutoff=0.8)):
            yield document.problem(
                (*at, key), f"{key!r} means nothing in a JSON Schema", hint=f"did you mean {close[0]!r}?", key=True
            )
    if isinstance(schema.get("format"), str) and schema["format"] not in FORMATS:
        yield document.problem(
            (*at, "format"), f"the format {schema['format']!r} is not checked by anything",
            hint=did_you_mean(schema["format"], FORMATS),
        )  # fmt: skip
    yield from _check_references(document, path, schema)
    properties = _mapping(schema, "properties")
    for name in properties:
        if "." in name or name.startswith("$") or not name.strip():
            yield document.problem(
                (*at, "properties", name),
                f"{name!r} cannot name an input",
                hint="use letters, digits, _ and -",
                key=True,
            )
    closed = schema.get("additionalProperties") is False and not _mapping(schema, "patternProperties")
    required = schema.get("required")
    for index, name in enumerate(required if isinstance(required, list) else ()):
        if isinstance(name, str) and closed and properties and name not in properties:
            yield document.problem(
                (*at, "required", index),
                f"{name!r} is required, but is not a property",
                hint=did_you_mean(name, properties),
            )


def _check_references(document: PlacedDocument, path: Path_, schema: Mapping[str, Any]) -> Iterator[Problem]:
    at = (*ROOT, *path)
    for word in ("$ref", "$dynamicRef"):
        reference = schema.get(word)
        if isinstance(reference, str) and not reference.startswith("#"):
            yield document.problem(
                (*at, word), "only references inside the schema are followed", hint="as in #/$defs/x"
            )
    if path and "$id" in schema:
        yield document.problem(
            (*at, "$id"),
            "an `$id` inside a schema gives its references another meaning",
            hint="put the schema under `$defs` and refer to it as #/$defs/x",
            key=True,
        )


def _check_closed(document: PlacedDocument, root: Mapping[str, Any]) -> Iterator[Problem]:
    """Inputs declared in `allOf` beside `additionalProperties: false`, which lets none of them through."""
    graph = SchemaGraph(root)
    for path, schema in _subschemas(root, ()):
        if schema.get("additionalProperties") is not False or _mapping(schema, "patternProperties"):
            continue
        visible = _mapping(schema, "properties")
        others = (_mapping(part, "properties") for part in graph.parts([schema]))
        unseen = sorted({str(name) for properties in others for name in properties if name not in visible})
        if unseen:
            yield document.problem(
                (*ROOT, *path, "additionalProperties"),
                f"no request can give {', '.join(map(repr, unseen))}: `additionalProperties: false` sees only the "
                "`properties` beside it",
                hint="write `unevaluatedProperties: false` in its place",
                key=True,
            )


def _check_defaults(document: PlacedDocument, promise: Promise) -> Iterator[Problem]:
    import jsonschema_rs  # noqa: PLC0415 - see `bondstone.promise.schema`

    root = promise.spec.inputs
    for path, schema in _subschemas(root, ()):
        if "default" not in schema:
            continue
        at = (*ROOT, *path, "default")
        full = {"$defs": root.get("$defs", {}), **resolved(schema, root)}
        try:
            check_evaluations(full, schema["default"])
            errors = list(islice(validator(full).iter_errors(schema["default"]), MAX_PROBLEMS))
        except BondError as refused:
            yield document.problem(at, refused.message)
            continue
        except jsonschema_rs.ValidationError:
            continue  # refers to a place that only the whole schema has
        for error in errors:
            shown = json.dumps(error.instance, ensure_ascii=False)[:60]
            message = error.message.removeprefix("the value ")
            place = "".join(f".{part}" for part in error.instance_path)
            yield document.problem(at, f"the default{place} does not fit its own schema: {shown} {message}")


def _check_secrets(document: PlacedDocument, promise: Promise) -> Iterator[Problem]:
    secrets = secret_paths(promise)
    for item in walk(fields(promise)):
        at = (*ROOT, *(part for name in item.path.split(".") for part in ("properties", name)), "default")
        below = [path.removeprefix(f"{item.path}.") for path in secrets if path.startswith(f"{item.path}.")]
        if "default" in item.schema and (
            item.path in secrets or any(_has(item.schema["default"], p) for p in below)
        ):
            yield document.problem(
                at, f"the secret input {item.path!r} cannot have a default", hint=_DEFAULT, key=True
            )
    graph = SchemaGraph(promise.spec.inputs)
    shown = {id(part) for item in walk(fields(promise)) if item.path in secrets for part in item.parts}
    for secret in graph.secrets:
        if "default" in secret and id(secret) not in shown:
            at = (*ROOT, *graph.places[id(secret)], "default")
            yield document.problem(at, "a secret input cannot have a default", hint=_DEFAULT, key=True)
    for place in uncovered_secrets(promise.spec.inputs):
        yield document.problem(
            (*ROOT, *place),
            "this secret (writeOnly) belongs to no declared input, so its value would be kept in plain",
            hint="declare the secret input by name under `properties`, and remove a definition that nothing uses",
            key=True,
        )
    if count_fields(promise.spec.inputs) >= MAX_FIELDS:
        yield document.problem(
            ROOT,
            f"the schema declares {MAX_FIELDS} inputs or more",
            hint="a schema that refers to itself several times over describes too many",
            key=True,
        )


def _has(value: Any, path: str) -> bool:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value is not None


def _meta_words(error: jsonschema_rs.ValidationError) -> str:
    name = error.instance_path[-1] if error.instance_path else "inputs"
    shown = json.dumps(error.instance, ensure_ascii=False)[:60]
    if name == "type" and error.kind.name == "anyOf":
        return f"{shown} is not a type of JSON Schema"
    if name == "pattern" and error.kind.name == "format":
        return f"the pattern {shown} is not a regular expression"
    return f"{name}: {error.message}"[:200]


def _meta_hint(error: jsonschema_rs.ValidationError) -> str:
    if error.instance_path and error.instance_path[-1] == "type" and isinstance(error.instance, str):
        return did_you_mean(error.instance, TYPES)
    return ""


def _compile_words(error: jsonschema_rs.ValidationError) -> str:
    if error.instance_path and error.instance_path[-1] == "pattern":
        return f"the pattern {json.dumps(error.instance)} is not taken: no lookahead, lookbehind or backreference"
    return error.message[:200]
