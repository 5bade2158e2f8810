"""How the schemas inside one JSON Schema apply to one another, and from which of them a secret can be reached.

A secret is a schema with `writeOnly: true`. JSON Schema has some thirty keywords that lead from one schema to
another; every one of them is followed here, so that no secret is missed because of where it stands. Nothing is
fetched: references outside the document lead nowhere, and a promise that has one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

Schema = Mapping[str, Any]
Place = tuple[str | int, ...]
"""The way from the root of a document: `("properties", "auth", "writeOnly")`."""

_SAME_ONE: Final = ("if", "then", "else")
_SAME_MANY: Final = ("allOf", "anyOf", "oneOf")
_SAME_NAMED: Final = ("dependentSchemas",)
_REFERENCES: Final = ("$ref", "$dynamicRef")

_BELOW_ONE: Final = (
    "additionalItems", "additionalProperties", "contains", "contentSchema", "items", "not", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_BELOW_MANY: Final = ("items", "prefixItems")
_BELOW_NAMED: Final = ("patternProperties",)

_VALUES: Final = frozenset({"const", "default", "enum", "examples"})
"""Keywords that hold values of any form, not schemas."""
_BY_NAME: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords that hold schemas by names, which are not keywords."""


class SchemaGraph:
    """The schemas inside a document.

    Args:
        root: The document. It must not change while this is used: schemas are told apart by identity.
    """

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.places: dict[int, Place] = {}
        """Where each schema stands, by its identity."""
        self.secrets: list[Schema] = []
        """Every schema with `writeOnly: true`, reachable or not."""
        self._anchors: dict[str, Schema] = {}
        self._collect(root)
        self._leading = self._leading_to_secrets()

    def parts(self, schemas: Iterable[Any]) -> list[Schema]:
        """Those schemas and all that apply to the same value: what they refer to, combine, and depend on."""
        parts: dict[int, Schema] = {}
        waiting = [*schemas]
        while waiting:
            schema = waiting.pop(0)
            if isinstance(schema, Mapping) and id(schema) not in parts:
                parts[id(schema)] = schema
                waiting += self._beside(schema)
        return list(parts.values())

    def all(self) -> list[Schema]:
        """Every schema that the document's keywords lead to."""
        by_id: dict[int, Schema] = {}
        waiting = [self.root]
        while waiting:
            schema = waiting.pop()
            if id(schema) not in by_id:
                by_id[id(schema)] = schema
                waiting += self._next(schema)
        return list(by_id.values())

    def beside(self, schema: Schema) -> list[Schema]:
        """The schemas that apply to the same value: what it refers to, combines, and depends on."""
        return [part for part in self._beside(schema) if isinstance(part, Mapping)]

    def below(self, schema: Schema) -> list[Schema]:
        """The schemas of what has no declared name in a value: items, other properties, decoded content."""
        children = [schema.get(word) for word in _BELOW_ONE]
        children += _listed(schema, _BELOW_MANY) + _named(schema, _BELOW_NAMED)
        return [inner for inner in children if isinstance(inner, Mapping)]

    def leads_to_secret(self, schema: Schema) -> bool:
        """Whether the schema, or one reached from it over any keyword, is secret."""
        return id(schema) in self._leading

    def hides_secret(self, schema: Schema) -> bool:
        """Whether there is a secret below the schema that has no declared name."""
        return any(self.leads_to_secret(inner) for inner in self.below(schema))

    def reachable(self, schemas: Iterable[Schema]) -> set[int]:
        """The identities of all schemas reached from some, over any keyword."""
        ids: set[int] = set()
        waiting = [*schemas]
        while waiting:
            schema = waiting.pop()
            if id(schema) not in ids:
                ids.add(id(schema))
                waiting += self._next(schema)
        return ids

    def _next(self, schema: Schema) -> list[Schema]:
        return [
            inner
            for inner in (*self._beside(schema), *self.below(schema), *_named(schema, ("properties",)))
            if isinstance(inner, Mapping)
        ]

    def _beside(self, schema: Schema) -> list[Any]:
        beside: list[Any] = [
            target for word in _REFERENCES if (target := self.target(schema.get(word))) is not None
        ]
        beside += _listed(schema, _SAME_MANY)
        beside += [schema[word] for word in _SAME_ONE if word in schema]
        return beside + _named(schema, _SAME_NAMED)

    def target(self, reference: Any) -> Schema | None:
        """What a reference inside the document leads to: a JSON pointer, or the name of an anchor.

        Args:
            reference: As in `#/$defs/size`.

        Returns:
            The schema; None where there is none.
        """
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            return self._anchors.get(pointer)
        target: Any = self.root
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping):
                target = target.get(name)
            elif isinstance(target, list) and name.isdigit() and int(name) < len(target):
                target = target[int(name)]
            else:
                return None
        return target if isinstance(target, Mapping) else None

    def _collect(self, root: Schema) -> None:
        """Note every mapping that may be a schema: under keywords that nobody knows, too."""
        waiting: list[tuple[Any, Place, bool]] = [(root, (), False)]
        while waiting:
            value, place, names = waiting.pop()
            if isinstance(value, list):
                waiting += [(item, (*place, index), False) for index, item in enumerate(value)]
            elif isinstance(value, Mapping):
                if not names:
                    self._note(value, place)
                waiting += [
                    (inner, (*place, str(word)), not names and word in _BY_NAME)
                    for word, inner in value.items()
                    if names or word not in _VALUES
                ]

    def _note(self, schema: Schema, place: Place) -> None:
        self.places[id(schema)] = place
        if is_secret(schema):
            self.secrets.append(schema)
        for word in ("$anchor", "$dynamicAnchor"):
            if isinstance(schema.get(word), str):
                self._anchors.setdefault(schema[word], schema)

    def _leading_to_secrets(self) -> set[int]:
        if not self.secrets:
            return set()
        before: dict[int, list[int]] = {}
        visited: set[int] = set()
        waiting = [self.root, *self.secrets]
        while waiting:
            schema = waiting.pop()
            if id(schema) in visited:
                continue
            visited.add(id(schema))
            for inner in self._next(schema):
                before.setdefault(id(inner), []).append(id(schema))
                waiting.append(inner)
        leading: set[int] = set()
        back = [id(schema) for schema in self.secrets]
        while back:
            node = back.pop()
            if node not in leading:
                leading.add(node)
                back += before.get(node, ())
        return leading


def is_secret(schema: Schema) -> bool:
    """Whether a schema says that its values are secret."""
    return schema.get("writeOnly") is True


def _listed(schema: Schema, words: Iterable[str]) -> list[Any]:
    return [item for word in words if isinstance(schema.get(word), list) for item in schema[word]]


def _named(schema: Schema, words: Iterable[str]) -> list[Any]:
    return list(_members(schema, words))


def _members(schema: Schema, words: Iterable[str]) -> Iterator[Any]:
    for word in words:
        inner = schema.get(word)
        if isinstance(inner, Mapping):
            yield from inner.values()
