"""The JSON Schema of a promise's inputs, as the rest of Bondstone looks at it.

Which fields it declares, of which type, which may be missing, which are secret. Local references (`#/$defs/x`)
are followed; nothing is ever fetched. `jsonschema_rs` takes 3 MiB, so processes load it with the first validator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from bondstone.model.promise import Promise
from bondstone.promise.schema_graph import Place, Schema, SchemaGraph, is_secret

if TYPE_CHECKING:
    import jsonschema_rs

ANY_VALUE: Final = "the value"
"""What stands for a value in the validator's messages."""
MAX_SCHEMA_DEPTH: Final = 12
MAX_FIELDS: Final = 2000
"""Most inputs of a promise, nested ones counted."""

_SCALARS: Final = {"string": "string", "integer": "int", "number": "double", "boolean": "bool"}


@dataclass(frozen=True, slots=True)
class Field:
    """One declared input, by its dotted path."""

    path: str
    schema: Schema
    type: str
    """As in `bondstone.cel.Scope`, with `?` where the value may be null."""
    secret: bool = False
    members: tuple[Field, ...] = field(default=())
    parts: tuple[Schema, ...] = field(default=(), repr=False, compare=False)
    """The schemas that apply to its value, as they stand in the document."""


def fields(promise: Promise) -> tuple[Field, ...]:
    """The declared inputs of a promise, nested ones under `members`."""
    return fields_of(promise.spec.inputs)


def fields_of(schema: Schema) -> tuple[Field, ...]:
    """The declared fields of an object schema."""
    return tuple(_Reader(schema).fields([schema]))


def walk(fields: tuple[Field, ...]) -> Iterator[Field]:
    """Every field and, after each, its members."""
    for item in fields:
        yield item
        yield from walk(item.members)


def secret_paths(promise: Promise) -> frozenset[str]:
    """Dotted paths of the inputs that are kept in the secret store.

    A `writeOnly` anywhere below a list, or below keys that the schema does not name, makes the whole list or map
    a secret, and so does one deeper than `MAX_SCHEMA_DEPTH`.
    """
    return frozenset(item.path for item in walk(fields(promise)) if item.secret)


def types(schema: Schema) -> dict[str, str]:
    """Dotted input paths with their types, as a `Scope` takes them."""
    return {f"inputs.{item.path}": item.type for item in walk(fields_of(schema))}


def resolved(schema: Any, root: Schema) -> Schema:
    """The schema with a local `$ref` followed; `{}` where there is nothing to follow."""
    depth = 0
    while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str) and depth < MAX_SCHEMA_DEPTH:
        target: Any = root
        for part in schema["$ref"].removeprefix("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901 - the part as it is meant
            target = target.get(part) if isinstance(target, Mapping) else None
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **rest} if isinstance(target, Mapping) else rest
        depth += 1
    return schema if isinstance(schema, Mapping) else {}


def validator(schema: Schema) -> jsonschema_rs.Validator:
    """The validator of a schema: formats checked, values masked in messages, nothing fetched.

    Raises:
        jsonschema_rs.ValidationError: when the schema is not valid.
    """
    import jsonschema_rs  # noqa: PLC0415 - see above

    return jsonschema_rs.Draft202012Validator(
        dict(schema),
        validate_formats=True,
        mask=ANY_VALUE,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(),
    )


@lru_cache(maxsize=1)
def metaschema() -> jsonschema_rs.Validator:
    """The validator of schemas themselves."""
    import jsonschema_rs  # noqa: PLC0415 - see above

    return jsonschema_rs.Draft202012Validator(
        {"$ref": "https://json-schema.org/draft/2020-12/schema"}, offline=True, validate_formats=True
    )


class _Reader:
    """Finds the fields that one schema declares, up to a bound of depth and one of number."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._graph = SchemaGraph(root)
        self._left = MAX_FIELDS

    def fields(
        self, schemas: Sequence[Schema], prefix: str = "", *, nullable: bool = False, depth: int = 0
    ) -> Iterator[Field]:
        """The fields of an object that some schemas describe."""
        by_name: dict[str, list[Schema]] = {}
        for part in self._graph.parts(schemas):
            properties = part.get("properties")
            for name, inner in properties.items() if isinstance(properties, Mapping) else ():
                by_name.setdefault(str(name), []).append(inner)
        required = {
            name
            for schema in schemas[:1]
            for name in _listed(resolved(schema, self._root).get("required"))
            if isinstance(name, str)
        }
        for name, inners in by_name.items():
            merged = {
                key: value for inner in reversed(inners) for key, value in resolved(inner, self._root).items()
            }
            missing = nullable or (name not in required and "default" not in merged)
            yield self._field(merged, inners, f"{prefix}{name}", nullable=missing, depth=depth)

    def _field(self, merged: Schema, schemas: list[Schema], path: str, *, nullable: bool, depth: int) -> Field:
        parts = self._graph.parts(schemas)
        self._left -= 1
        # Schemas may refer to themselves: past the bounds nothing has a name, and what is secret hides the rest.
        bounded = depth >= MAX_SCHEMA_DEPTH or self._left <= 0
        members = () if bounded else tuple(self.fields(schemas, f"{path}.", nullable=nullable, depth=depth + 1))
        kind, null = _type(merged, self._root, has_members=bool(members))
        secret = any(
            is_secret(part) or self._graph.hides_secret(part) or (bounded and self._graph.leads_to_secret(part))
            for part in parts
        )
        return Field(path, merged, f"{kind}?" if null or nullable else kind, secret, members, tuple(parts))


def uncovered_secrets(schema: Schema) -> list[Place]:
    """Where `writeOnly` stands that makes no declared input a secret: such values would be kept in plain."""
    graph = SchemaGraph(schema)
    covered = graph.reachable(part for item in walk(fields_of(schema)) if item.secret for part in item.parts)
    places = {graph.places[id(secret)] for secret in graph.secrets if id(secret) not in covered}
    for part in graph.parts([schema]):  # the inputs as a whole, which have no path
        loose = [part] if is_secret(part) else []
        loose += [inner for inner in graph.below(part) if graph.leads_to_secret(inner)]
        places |= {graph.places[id(inner)] for inner in loose if id(inner) in graph.places}
    return sorted(places, key=str)


def count_fields(schema: Schema) -> int:
    """How many inputs a schema declares, nested ones too; `MAX_FIELDS` and more is too many."""
    return sum(1 for _ in walk(fields_of(schema)))


def _type(schema: Schema, root: Schema, *, has_members: bool, depth: int = 0) -> tuple[str, bool]:
    """The CEL type of a schema, and whether it admits null."""
    if depth > MAX_SCHEMA_DEPTH:
        return "dyn", True
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
        inner, inner_null = _type(resolved(schema.get("items"), root), root, has_members=False, depth=depth + 1)
        simple = inner in {"string", "int", "bool"} and not inner_null
        return f"list<{inner}>" if simple else "list<dyn>", null
    if kinds[0] == "object":
        return _object_type(schema, root, has_members=has_members, depth=depth), null
    return _SCALARS.get(kinds[0], "dyn"), null


def _object_type(schema: Schema, root: Schema, *, has_members: bool, depth: int) -> str:
    extra = schema.get("additionalProperties")
    if has_members:
        return "object" if extra is None or extra is False else "dyn"
    if isinstance(extra, Mapping):
        inner, null = _type(resolved(extra, root), root, has_members=False, depth=depth + 1)
        if inner in {"string", "int", "bool"} and not null:
            return f"map<string, {inner}>"
    return "map<string, dyn>"


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
