"""Type constraints of Terraform's variables as JSON Schema. Pure.

The grammar is small and stable: https://developer.hashicorp.com/terraform/language/expressions/type-constraints
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Schema = dict[str, Any]

_TOKEN: Final = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|([A-Za-z_][\w-]*)|(\S))')
_PRIMITIVES: Final = {"string": "string", "number": "number", "bool": "boolean"}
MAX_DEPTH: Final = 12
"""Deeper types become `any`: a promise's schema is not read further down."""


class NotLiteralError(ValueError):
    """An expression that is no type or no literal value."""


def type_schema(text: str) -> Schema:
    """The JSON Schema of a type constraint.

    Args:
        text: As in the module: `map(object({port = number, cidr = optional(string, "10.0.0.0/8")}))`.

    Returns:
        The schema; empty for `any`.

    Raises:
        NotLiteralError: when the text is no type constraint.
    """
    reader = _Reader(text)
    schema = _type(reader, 0)
    reader.end()
    return schema


def literal(text: str) -> Any:
    """The value of a literal expression in HCL.

    Raises:
        NotLiteralError: when it calls a function or refers to anything.
    """
    reader = _Reader(text)
    value = _value(reader)
    reader.end()
    return value


def converted(value: Any, schema: Mapping[str, Any]) -> Any:
    """A default as Terraform converts it to the variable's type: `443` for a text is `"443"`."""
    kind = schema.get("type")
    if kind == "string" and isinstance(value, bool | int | float):
        return (
            str(value).lower()
            if isinstance(value, bool)
            else f"{value:g}"
            if isinstance(value, float)
            else str(value)
        )
    if kind == "boolean" and value in {"true", "false"}:
        return value == "true"
    if kind == "number" and isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return literal(value)
    if kind == "array" and isinstance(value, list):
        inner = schema.get("items")
        return [converted(item, inner) for item in value] if isinstance(inner, Mapping) else value
    if kind == "object" and isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        rest = others if isinstance(others, Mapping) else {}
        return {
            key: converted(item, named.get(key, rest))
            for key, item in value.items()
            if others is not False or key in named
        }
    return value


class _Reader:
    """The tokens of an expression, one after the other."""

    def __init__(self, text: str) -> None:
        self._tokens = [match.group().strip() for match in _TOKEN.finditer(text) if match.group().strip()]
        self._at = 0

    def peek(self) -> str:
        """The next token, empty at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, expected: str = "") -> str:
        """Consume the next token."""
        token = self.peek()
        if not token or (expected and token != expected):
            raise NotLiteralError(f"{token or 'the end'} where {expected or 'more'} was expected")
        self._at += 1
        return token

    def skip(self, *tokens: str) -> bool:
        """Consume the next token if it is one of these."""
        if self.peek() in tokens:
            self._at += 1
            return True
        return False

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self.peek():
            raise NotLiteralError(f"{self.peek()!r} after the end")


def _type(reader: _Reader, depth: int) -> Schema:
    name = reader.take()
    if name in _PRIMITIVES:
        return {"type": _PRIMITIVES[name]}
    if name == "any":
        return {}
    if name in {"list", "set", "map"} and not reader.skip("("):
        return {"type": "object"} if name == "map" else {"type": "array"}
    if name in {"list", "set", "map"}:
        inner = _type(reader, depth + 1)
        reader.take(")")
        return _collection(name, inner) if depth < MAX_DEPTH else {}
    if name == "tuple":
        reader.take("(")
        members = _sequence(reader, depth)
        reader.take(")")
        return {"type": "array", "prefixItems": members, "items": False, "minItems": len(members)}
    if name == "object":
        reader.take("(")
        schema = _object(reader, depth)
        reader.take(")")
        return schema if depth < MAX_DEPTH else {}
    raise NotLiteralError(f"{name!r} is no type")


def _collection(name: str, inner: Schema) -> Schema:
    if name == "map":
        return {"type": "object", "additionalProperties": inner or True}
    return {"type": "array", "items": inner or True, **({"uniqueItems": True} if name == "set" else {})}


def _sequence(reader: _Reader, depth: int) -> list[Schema]:
    members: list[Schema] = []
    reader.take("[")
    while not reader.skip("]"):
        members.append(_type(reader, depth + 1))
        reader.skip(",")
    return members


def _object(reader: _Reader, depth: int) -> Schema:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    reader.take("{")
    while not reader.skip("}"):
        name = reader.take().strip('"')
        if not reader.skip("=", ":"):
            raise NotLiteralError(f"{name!r} has no type")
        if reader.peek() == "optional":
            reader.take()
            reader.take("(")
            properties[name] = _type(reader, depth + 1)
            if reader.skip(","):
                default = _value(reader)
                if default is not None:
                    properties[name] = {**properties[name], "default": converted(default, properties[name])}
            reader.take(")")
        else:
            properties[name] = _type(reader, depth + 1)
            required.append(name)
        reader.skip(",")
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _value(reader: _Reader) -> Any:
    word = reader.take()
    if word.startswith('"'):
        if "${" in word or "%{" in word:
            raise NotLiteralError("a template is no literal")
        return json.loads(word)
    if re.fullmatch(r"-?\d.*", word):
        number = float(word)
        return int(number) if number.is_integer() and "." not in word else number
    if word in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[word]
    if word == "[":
        return _values(reader)
    if word == "{":
        return _mapping(reader)
    raise NotLiteralError(f"{word!r} is no literal")


def _values(reader: _Reader) -> Sequence[Any]:
    values = []
    while not reader.skip("]"):
        values.append(_value(reader))
        reader.skip(",")
    return values


def _mapping(reader: _Reader) -> dict[str, Any]:
    values: dict[str, Any] = {}
    while not reader.skip("}"):
        key = reader.take()
        if not reader.skip("=", ":"):
            raise NotLiteralError(f"{key!r} has no value")
        values[json.loads(key) if key.startswith('"') else key] = _value(reader)
        reader.skip(",")
    return values
