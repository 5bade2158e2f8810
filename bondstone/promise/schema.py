"""The JSON Schema of a promise's inputs, as the rest of Bondstone looks at it.

Which fields it declares, of which type, which may be missing, which are secret. Local references (`#/$defs/x`)
are followed; nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs

from bondstone.model.promise import Promise

MASK: Final = "the value"
"""What stands for a value in the validator's messages."""
MAX_SCHEMA_DEPTH: Final = 12
COMBINERS: Final = ("allOf", "anyOf", "oneOf")
CONDITIONALS: Final = ("if", "then", "else", "dependentSchemas", "not")

_SCALARS: Final = {"string": "string", "integer": "int", "number": "double", "boolean": "bool"}

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One declared input, by its dotted path."""

    path: str
    schema: Schema
    type: str
    """As in `bondstone.cel.Scope`, with `?` where the value may be null."""
    secret: bool = False
    members: tuple[Field, ...] = field(default=())


def fields(promise: Promise) -> tuple[Field, ...]:
    """The declared inputs of a promise, nested ones under `members`."""
    return fields_of(promise.spec.inputs)


def fields_of(schema: Schema) -> tuple[Field, ...]:
    """The declared fields of an object schema."""
    return tuple(_fields(schema, schema, "", nullable=False, depth=0))


def walk(found: tuple[Field, ...]) -> Iterator[Field]:
    """Every field and, after each, its members."""
    for item in found:
        yield item
        yield from walk(item.members)


def secret_paths(promise: Promise) -> frozenset[str]:
    """Dotted paths of the inputs that are kept in the secret store.

    A `writeOnly` anywhere below a list, or below keys that the schema does not name, makes the whole list or map
    a secret.
    """
    return frozenset(item.path for item in walk(fields(promise)) if item.secret)


def types(schema: Schema) -> dict[str, str]:
    """Dotted input paths with their types, as a `Scope` takes them."""
    return {f"inputs.{item.path}": item.type for item in walk(fields_of(schema))}


def resolved(schema: Any, root: Schema) -> Schema:
    """The schema with a local `$ref` followed; `{}` where there is nothing to follow."""
    seen = 0
    while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str) and seen < MAX_SCHEMA_DEPTH:
        target: Any = root
        for part in schema["$ref"].removeprefix("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901 - the part as it is meant
            target = target.get(part) if isinstance(target, Mapping) else None
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **rest} if isinstance(target, Mapping) else rest
        seen += 1
    return schema if isinstance(schema, Mapping) else {}


def validator(schema: Schema) -> jsonschema_rs.Validator:
    """The validator of a schema: formats checked, values masked in messages, nothing fetched.

    Raises:
        jsonschema_rs.ValidationError: when the schema is not valid.
    """
    return jsonschema_rs.Draft202012Validator(
        dict(schema),
        validate_formats=True,
        mask=MASK,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(),
    )


@lru_cache(maxsize=1)
def metaschema() -> jsonschema_rs.Validator:
    """The validator of schemas themselves."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": "https://json-schema.org/draft/2020-12/schema"}, offline=True, validate_formats=True
    )


def parts_of(schema: Schema, root: Schema) -> Iterator[Schema]:
    """The schema and all that apply to the same value: what it refers to and combines."""
    yield from _parts(schema, root, 0)


def _parts(schema: Any, root: Schema, depth: int) -> Iterator[Schema]:
    if depth > MAX_SCHEMA_DEPTH:
        return
    found = resolved(schema, root)
    yield found
    for word in COMBINERS:
        options = found.get(word)
        for option in options if isinstance(options, list) else ():
            yield from _parts(option, root, depth + 1)
    for word in ("if", "then", "else"):
        if isinstance(found.get(word), Mapping):
            yield from _parts(found[word], root, depth + 1)


def _fields(schema: Schema, root: Schema, prefix: str, *, nullable: bool, depth: int) -> Iterator[Field]:
    if depth > MAX_SCHEMA_DEPTH:
        return
    found: dict[str, list[Schema]] = {}
    required: set[str] = set()
    for part in parts_of(schema, root):
        properties = part.get("properties")
        for name, inner in properties.items() if isinstance(properties, Mapping) else ():
            found.setdefault(str(name), []).append(resolved(inner, root))
    top = resolved(schema, root)
    if isinstance(top.get("required"), list):
        required = {name for name in top["required"] if isinstance(name, str)}
    for name, schemas in found.items():
        merged = {key: value for inner in reversed(schemas) for key, value in inner.items()}
        missing = nullable or (name not in required and "default" not in merged)
        yield _field(merged, root, f"{prefix}{name}", nullable=missing, depth=depth)


def _field(schema: Schema, root: Schema, path: str, *, nullable: bool, depth: int) -> Field:
    members = tuple(_fields(schema, root, f"{path}.", nullable=nullable, depth=depth + 1))
    kind, null = _type(schema, root, has_members=bool(members))
    secret = any(part.get("writeOnly") is True for part in parts_of(schema, root)) or _hidden_secret(
        schema, root, 0
    )
    return Field(path, schema, f"{kind}?" if null or nullable else kind, secret=secret, members=members)


def _type(schema: Schema, root: Schema, *, has_members: bool) -> tuple[str, bool]:
    """The CEL type of a schema, and whether it admits null."""
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else [kind for kind in kinds or () if isinstance(kind, str)]
    options = [*schema["enum"]] if isinstance(schema.get("enum"), list) else []
    if "const" in schema:
        options = [schema["const"]]
    if not kinds and options:
        kinds = sorted({_json_type(option) for option in options})
    null = "null" in kinds or (not kinds and not has_members)
    kinds = [kind for kind in kinds if kind != "null"]
    if len(kinds) != 1:
        return ("object" if has_members and not kinds else "dyn"), null
    if kinds[0] == "array":
        inner, inner_null = _type(resolved(schema.get("items"), root), root, has_members=False)
        simple = inner in {"string", "int", "bool"} and not inner_null
        return f"list<{inner}>" if simple else "list<dyn>", null
    if kinds[0] == "object":
        return _object_type(schema, root, has_members=has_members), null
    return _SCALARS.get(kinds[0], "dyn"), null


def _object_type(schema: Schema, root: Schema, *, has_members: bool) -> str:
    extra = schema.get("additionalProperties")
    if has_members:
        return "object" if extra is None or extra is False else "dyn"
    if isinstance(extra, Mapping):
        inner, null = _type(resolved(extra, root), root, has_members=False)
        if inner in {"string", "int", "bool"} and not null:
            return f"map<string, {inner}>"
    return "map<string, dyn>"


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _hidden_secret(schema: Schema, root: Schema, depth: int) -> bool:
    """Whether something below a list or unnamed keys is `writeOnly`."""
    if depth > MAX_SCHEMA_DEPTH:
        return False
    for part in parts_of(schema, root):
        below: list[Any] = [part.get("items"), part.get("additionalProperties"), part.get("contains")]
        below += part.get("prefixItems") or []
        below += (part.get("patternProperties") or {}).values()
        for inner in below:
            if isinstance(inner, Mapping) and _any_secret(inner, root, depth + 1):
                return True
    return False


def _any_secret(schema: Schema, root: Schema, depth: int) -> bool:
    if depth > MAX_SCHEMA_DEPTH:
        return False
    for part in parts_of(schema, root):
        if part.get("writeOnly") is True:
            return True
        properties = part.get("properties")
        inner = list(properties.values()) if isinstance(properties, Mapping) else []
        if any(_any_secret(item, root, depth + 1) for item in inner if isinstance(item, Mapping)):
            return True
    return _hidden_secret(schema, root, depth + 1)
