"""What a JSON Schema asks for, given what has been chosen: its conditions resolved into plain properties. Pure.

Resolved are `if`/`then`/`else`, `dependentRequired`, `dependentSchemas`, `allOf` of these, and `oneOf` or `anyOf`
whose branches tell each other apart by constants. What is not resolved stays for the check of the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bondstone.promise.schema import resolved, validator

Schema = Mapping[str, Any]

MAX_ROUNDS: Final = 5
"""Conditions that depend on what other conditions ask for are followed so far."""
_BRANCHES: Final = ("oneOf", "anyOf")


def effective(schema: Schema, values: Mapping[str, Any], root: Schema) -> dict[str, Any]:
    """The schema without conditions: with what they ask for, as the values stand.

    Args:
        schema: Of an object.
        values: What has been chosen; what has not is as its default says.
        root: The whole schema, for references.
    """
    merged = _plain(schema)
    for _ in range(MAX_ROUNDS):
        before = merged
        merged = _plain(schema)
        for part in _conditional(schema, {**_defaults(before, root), **values}, root):
            merged = _merged(merged, part)
        if merged == before:
            break
    return merged


def deciding(schema: Schema, root: Schema) -> frozenset[str]:
    """The properties of an object on which depends what else is asked.

    Args:
        schema: Of the object.
        root: The whole schema, for references.
    """
    return frozenset(_deciding(schema, root))


# Helpers ---------------------------------------------------------------------------------------------------------


def _conditional(schema: Schema, values: Mapping[str, Any], root: Schema) -> Iterator[Schema]:
    """What the conditions of a schema ask for, each part without conditions of its own."""
    if "if" in schema:
        chosen = "then" if _holds(schema["if"], values, root) else "else"
        yield from _whole(schema.get(chosen), values, root)
    for name, needed in schema.get("dependentRequired", {}).items():
        if name in values:
            yield {"required": needed}
    for name, part in schema.get("dependentSchemas", {}).items():
        if name in values:
            yield from _whole(part, values, root)
    for part in schema.get("allOf", ()):
        yield from _whole(part, values, root)
    for keyword in _BRANCHES:
        yield from _branch(schema, [resolved(branch, root) for branch in schema.get(keyword, ())], values, root)


def _branch(
    schema: Schema, branches: Sequence[Schema], values: Mapping[str, Any], root: Schema
) -> Iterator[Schema]:
    """The choice between branches, and what the chosen one asks for."""
    telling = _telling(branches, root)
    if not telling:
        return
    undeclared = telling - schema.get("properties", {}).keys()
    choices = {name: _choice(branches, name, root) for name in sorted(undeclared)}
    yield {"properties": choices, "required": sorted(telling)}
    for branch in branches:
        properties = branch["properties"]
        constants = {name: properties[name] for name in telling}
        if _holds({"properties": constants, "required": sorted(telling)}, values, root):
            left = {name: part for name, part in properties.items() if name not in telling}
            yield from _whole({**branch, "properties": left}, values, root)


def _whole(part: Any, values: Mapping[str, Any], root: Schema) -> Iterator[Schema]:
    """A part, and what its own conditions ask for."""
    schema = resolved(part, root)
    if schema:
        yield _plain(schema)
        yield from _conditional(schema, values, root)


def _plain(schema: Schema) -> dict[str, Any]:
    without = {"if", "then", "else", "dependentRequired", "dependentSchemas", "allOf", *_BRANCHES}
    return {key: value for key, value in schema.items() if key not in without}


def _merged(schema: Schema, part: Schema) -> dict[str, Any]:
    """A schema that asks for what both ask for; of a property that both have, the later words count."""
    properties = dict(schema.get("properties", {}))
    for name, declared in part.get("properties", {}).items():
        before = properties.get(name)
        both = isinstance(before, Mapping) and isinstance(declared, Mapping)
        properties[name] = {**before, **declared} if both else declared  # type: ignore[dict-item] # both are
    required = [*schema.get("required", ()), *part.get("required", ())]
    return {**schema, "properties": properties, "required": list(dict.fromkeys(required))}


def _telling(branches: Iterable[Schema], root: Schema) -> set[str]:
    """The properties that have a constant in every branch, by which the branches tell each other apart."""
    names = [
        {name for name, part in branch.get("properties", {}).items() if "const" in resolved(part, root)}
        for branch in branches
    ]
    return set.intersection(*names) if names else set()


def _choice(branches: Iterable[Schema], name: str, root: Schema) -> dict[str, Any]:
    """A property whose values are the constants of all branches."""
    parts = [resolved(branch["properties"][name], root) for branch in branches]
    words = next((part for part in parts if part.get("title")), {})
    kept = {key: words[key] for key in ("title", "description") if key in words}
    values: list[Any] = []
    for part in parts:
        if part["const"] not in values:
            values.append(part["const"])
    return {**kept, "enum": values}


def _defaults(schema: Schema, root: Schema) -> dict[str, Any]:
    parts = {name: resolved(part, root) for name, part in schema.get("properties", {}).items()}
    return {name: part["default"] for name, part in parts.items() if "default" in part}


def _holds(condition: Any, values: Mapping[str, Any], root: Schema) -> bool:
    if isinstance(condition, bool):
        return condition
    if not isinstance(condition, Mapping):
        return False
    import jsonschema_rs  # noqa: PLC0415 - see `bondstone.promise.schema`

    try:
        return validator({"$defs": root.get("$defs", {}), **condition}).is_valid(dict(values))
    except (jsonschema_rs.ValidationError, ValueError):
        return False


def _deciding(schema: Schema, root: Schema, depth: int = 0) -> Iterator[str]:
    if depth > MAX_ROUNDS:
        return
    condition = resolved(schema.get("if"), root)
    yield from condition.get("properties", {})
    yield from condition.get("required", ())
    yield from schema.get("dependentRequired", {})
    yield from schema.get("dependentSchemas", {})
    for keyword in _BRANCHES:
        yield from _telling([resolved(branch, root) for branch in schema.get(keyword, ())], root)
    inner = [schema.get("then"), schema.get("else"), *schema.get("allOf", ())]
    inner += [*schema.get("dependentSchemas", {}).values(), *(schema.get("oneOf", ())), *(schema.get("anyOf", ()))]
    for part in inner:
        yield from _deciding(resolved(part, root), root, depth + 1)
