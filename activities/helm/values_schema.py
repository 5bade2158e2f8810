"""A chart's `values.schema.json` as the schema of a promise's inputs; what no promise can say is noted.

Charts write any draft of JSON Schema, and promises are of draft 2020-12, refer only to themselves, and name inputs
that expressions can say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

from bondstone.base.errors import InvalidInput
from bondstone.executors.scaffold import fits
from bondstone.promise.schema import metaschema
from bondstone.promise.schema_graph import SchemaGraph

FILE: Final = "values.schema.json"

_TAKEN: Final = frozenset({"properties", "required", "$defs", "definitions"})
_SAYS_NOTHING: Final = frozenset(
    {"type", "$schema", "title", "description", "additionalProperties", "$id", "id", "$comment"}
)
_NAMED: Final = frozenset(
    {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties", "dependencies"}
)
"""Keywords that hold schemas by names, which are not keywords."""
_VALUES: Final = frozenset({"const", "default", "enum", "examples"})
_BOUNDS: Final = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))


def read(file: Path) -> Mapping[str, Any] | None:
    """The schema in a file; None where it is `true` or `false`, which describes no values.

    Raises:
        InvalidInput: when it is no JSON Schema.
    """
    try:
        schema = json.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{FILE} is not valid JSON: {error}", where=str(file)) from error
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        raise InvalidInput(f"{FILE} is not a JSON Schema: it is not an object", where=str(file))
    return schema


def inputs_of(schema: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The inputs that a chart's own schema leads to: closed, with the chart's values as defaults.

    Args:
        schema: The chart's.
        values: The chart's.

    Returns:
        JSON Schema of the inputs, and what was not translated.
    """
    left: list[str] = []
    root = _Translation(schema, left).translated()
    declared: dict[str, Any] = root.pop("properties", {})
    properties: dict[str, Any] = {}
    for name in dict.fromkeys((*values, *declared)):
        stated = declared.get(name, {})
        if stated is False:
            left.append(f"value {name}: the chart's own schema forbids it")
        elif "." in name or name.startswith("$") or not name.strip():
            left.append(f"value {name}: no input can have this name; the chart's own value is used")
        else:
            properties[name] = dict(stated) if isinstance(stated, Mapping) else {}
    inputs = {"type": "object", "additionalProperties": False, "properties": properties}
    required = _names(root.pop("required", ()))
    left += [
        f"value {name}: it is required, and it is not an input" for name in required if name not in properties
    ]
    if needed := [name for name in required if name not in values and name in properties]:
        inputs["required"] = needed
    inputs |= root
    _leave_out_unusable(inputs, left)
    for name in [name for name in properties if name not in values and name not in needed]:
        if not fits({**inputs, "required": []}, {name: None}):  # an input without a value is passed on as null
            del properties[name]
            left.append(f"value {name}: the chart has no default for it, and its schema refuses null")
    for name, value in values.items():
        if name in properties and value is not None and "default" not in properties[name]:
            _set_default(inputs, name, value, left)
    left += [f"{FILE}: {key} at the top was not taken over" for key in sorted({*schema} - _TAKEN - _SAYS_NOTHING)]
    return inputs, list(dict.fromkeys(left))


def _set_default(inputs: Mapping[str, Any], name: str, value: Any, left: list[str]) -> None:
    declared = inputs["properties"][name]
    if _holds_secret(declared, inputs):
        return
    if fits({**inputs, "required": []}, {name: value}):
        declared["default"] = value
    else:
        left.append(f"value {name}: the chart's default does not fit the chart's own schema")


def _holds_secret(declared: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    graph = SchemaGraph(inputs)
    return graph.leads_to_secret(declared)


def _leave_out_unusable(inputs: dict[str, Any], left: list[str]) -> None:
    """Take out each schema that no validator of a promise takes, until one takes the whole."""
    for word in ("$defs", "definitions", "properties"):
        for name, schema in inputs.get(word, {}).items():
            problem = next(metaschema().iter_errors(schema), None)
            if problem is not None:
                left.append(_unusable(word, name, problem))
                inputs[word][name] = {}
    for word in ("properties", "$defs", "definitions"):
        for name in inputs.get(word, {}):
            if _problem(inputs) is None:
                return
            kept, inputs[word][name] = inputs[word][name], {}
            problem = _problem({**inputs, word: {**inputs[word], name: kept}})
            if problem is not None:
                left.append(_unusable(word, name, problem))


def _problem(inputs: Mapping[str, Any]) -> jsonschema_rs.ValidationError | None:
    try:
        fits(inputs, {})
    except jsonschema_rs.ValidationError as error:
        return error
    return None


def _unusable(word: str, name: str, problem: jsonschema_rs.ValidationError) -> str:
    place = "".join(f".{part}" for part in problem.instance_path)
    why = str(problem.message).splitlines()[0]
    return (
        f"{FILE}: {word}.{name}{place} means nothing in JSON Schema 2020-12 ({why}), so its value is not checked"
    )


class _Translation:
    """One schema of any draft, in the terms of draft 2020-12."""

    def __init__(self, schema: Mapping[str, Any], left: list[str]) -> None:
        self._graph = SchemaGraph(schema)
        self._schema = schema
        self._left = left
        self._own = str(schema.get("$id") or schema.get("id") or "").partition("#")[0]

    def translated(self) -> dict[str, Any]:
        """The parts of the schema that inputs take over."""
        parts = {}
        for word in ("$defs", "definitions", "properties"):
            if isinstance(self._schema.get(word), Mapping):
                parts[word] = dict(self._each_named(self._schema[word], word))
        if not isinstance(self._schema.get("required"), bool):
            parts["required"] = self._schema.get("required", ())
        return parts

    def _each_named(self, schemas: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
        for name, schema in schemas.items():
            yield str(name), self._one(schema, f"{place}.{name}")

    def _one(self, schema: Any, place: str) -> Any:
        if isinstance(schema, list):
            return [self._one(item, f"{place}.{index}") for index, item in enumerate(schema)]
        if not isinstance(schema, Mapping):
            return schema
        made: dict[str, Any] = {}
        for word, inner in schema.items():
            if word in _VALUES:
                made[word] = inner
            elif word in _NAMED and isinstance(inner, Mapping):
                made[word] = dict(self._each_named(inner, f"{place}.{word}"))
            elif word in {"$ref", "$dynamicRef"}:
                self._refer(made, word, inner, place)
            elif not (word == "$id" or (word == "id" and isinstance(inner, str))):
                made[word] = self._one(inner, f"{place}.{word}")
        _modern(made)
        return made

    def _refer(self, made: dict[str, Any], word: str, reference: Any, place: str) -> None:
        local = str(reference)
        base, hash_sign, pointer = local.partition("#")
        if base and base == self._own:
            local = f"#{pointer}"
        elif base:
            self._left.append(f"{FILE}: {place} refers to {reference}, outside the file, which is not followed")
            return
        if hash_sign and local != "#" and self._graph.target(local) is not None and self._is_kept(local):
            made[word] = local
        elif local == "#":
            self._left.append(f"{FILE}: {place} refers to the whole schema, which is not followed")
        else:
            self._left.append(f"{FILE}: {place} refers to {reference}, which the file does not have")

    def _is_kept(self, local: str) -> bool:
        """Whether the target stands in a part of the schema that inputs take over."""
        target = self._graph.target(local)
        place = self._graph.places.get(id(target), ())
        return bool(place) and place[0] in {"$defs", "definitions", "properties"}


def _modern(schema: dict[str, Any]) -> None:
    """Say what older drafts say in the words of 2020-12."""
    for exclusive, bound in _BOUNDS:
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema.pop("additionalItems")
        if not schema["prefixItems"]:
            del schema["prefixItems"]
    if isinstance(schema.get("required"), bool):  # of draft 3: the parent's
        del schema["required"]


def _names(required: Any) -> Sequence[str]:
    return [name for name in required if isinstance(name, str)] if isinstance(required, list | tuple) else ()
