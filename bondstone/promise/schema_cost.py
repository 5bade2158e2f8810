"""How much work a validator has with a schema and a value, before it is given either.

Validators go through every combination of `anyOf`, `allOf` and references: a schema of twenty lines that refers to
itself twice takes minutes and gigabytes, and one that refers to itself deeply enough ends the process. Here the
same walk is only counted, each pair of schema and value once, so that counting is quick whatever the count is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bondstone.base.errors import InputsInvalid, PromiseInvalid
from bondstone.promise.schema_graph import Schema, SchemaGraph

MAX_WAYS: Final = 5_000
"""Most ways in which the parts of one schema may apply to one value: what validators unfold before any value."""
MAX_PARTS_DEEP: Final = 64
"""Most references and combinations inside one another, without going deeper into the value."""
MAX_EVALUATIONS: Final = 50_000
"""Most evaluations of a schema by a value, and two more for each value in it: a second or two at worst."""

_OF_MEMBERS: Final = ("additionalProperties", "propertyNames", "unevaluatedProperties")
_OF_ITEMS: Final = ("contains", "items", "unevaluatedItems")
_REMEMBERING: Final = ("unevaluatedItems", "unevaluatedProperties")


def check_ways(schema: Schema) -> None:
    """Refuse a schema that no validator should be made of.

    Raises:
        PromiseInvalid: naming the place of the part at fault.
    """
    graph = SchemaGraph(schema)
    counted: dict[int, int] = {}
    for root in graph.all():
        _ways(graph, root, counted, ())


def check_evaluations(schema: Schema, value: Any) -> None:
    """Refuse a value that would keep the schema's validator busy.

    Raises:
        InputsInvalid: when it would.
        PromiseInvalid: when the schema itself is to blame.
    """
    check_ways(schema)
    counter = _Counter(SchemaGraph(schema))
    if counter.count(schema, value, 0) > MAX_EVALUATIONS + 2 * _size(value):
        raise InputsInvalid(
            "checking the inputs by the schema would take too long",
            hint="the promise's author should look at parts that refer to themselves below anyOf, oneOf or allOf",
        )


def _ways(graph: SchemaGraph, schema: Schema, counted: dict[int, int], inside: tuple[int, ...]) -> int:
    """In how many ways its parts apply to one value."""
    place = "/".join(map(str, graph.places.get(id(schema), ())))
    if id(schema) in inside:
        raise PromiseInvalid(
            "a part of the schema refers to itself without going deeper into the value", where=place
        )
    if len(inside) > MAX_PARTS_DEEP:
        raise PromiseInvalid(
            f"more than {MAX_PARTS_DEEP} references and combinations lie inside one another", where=place
        )
    if id(schema) not in counted:
        total = 1 + sum(
            _ways(graph, part, counted, (*inside, id(schema)))
            for part in (*graph.beside(schema), *_negated(schema))
        )
        counted[id(schema)] = total * 2 if any(word in schema for word in _REMEMBERING) else total
    if counted[id(schema)] > MAX_WAYS:
        raise PromiseInvalid("the parts of the schema combine in too many ways", where=place)
    return counted[id(schema)]


class _Counter:
    """Counts evaluations; a count past the bound stays there."""

    def __init__(self, graph: SchemaGraph) -> None:
        self._graph = graph
        self._counted: dict[tuple[int, int], int] = {}

    def count(self, schema: Any, value: Any, depth: int) -> int:
        if not isinstance(schema, Mapping):
            return 1
        key = id(schema), id(value)
        if key not in self._counted:
            if depth > _MAX_DEPTH:
                return MAX_EVALUATIONS * 1000
            self._counted[key] = self._count(schema, value, depth + 1)
        return self._counted[key]

    def _count(self, schema: Schema, value: Any, depth: int) -> int:
        beside = sum(self.count(part, value, depth) for part in (*self._graph.beside(schema), *_negated(schema)))
        total = 1 + beside * (2 if any(word in schema for word in _REMEMBERING) else 1)
        if isinstance(value, Mapping):
            total += self._members(schema, value, depth)
        elif isinstance(value, list | tuple):
            listed = schema.get("prefixItems")
            parts = [schema[word] for word in _OF_ITEMS if word in schema]
            total += sum(self.count(part, item, depth) for part in parts for item in value)
            total += sum(
                self.count(part, item, depth)
                for part, item in zip(listed if isinstance(listed, list) else (), value, strict=False)
            )
        return total

    def _members(self, schema: Schema, value: Mapping[str, Any], depth: int) -> int:
        named = _mapping(schema, "properties")
        patterns = _mapping(schema, "patternProperties").values()
        others = [schema[word] for word in _OF_MEMBERS if word in schema]
        return sum(
            self.count(part, item, depth)
            for name, item in value.items()
            for part in (*([named[name]] if name in named else ()), *patterns, *others)
        )


_MAX_DEPTH: Final = 400
"""Of the walk itself, well inside Python's own limit."""


def _negated(schema: Schema) -> list[Schema]:
    return [schema["not"]] if isinstance(schema.get("not"), Mapping) else []


def _mapping(schema: Schema, word: str) -> Mapping[str, Any]:
    value = schema.get(word)
    return value if isinstance(value, Mapping) else {}


def _size(value: Any) -> int:
    """How many values there are in a JSON value."""
    total, waiting = 0, [value]
    while waiting:
        inner = waiting.pop()
        total += 1
        if isinstance(inner, Mapping):
            waiting += inner.values()
        elif isinstance(inner, list | tuple):
            waiting += inner
    return total
