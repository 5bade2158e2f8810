"""Inputs of a request: defaults filled in, checked by the promise's schema, secrets taken out.

No message here ever repeats the value of a `writeOnly` input.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.errors import InputsInvalid, Problem
from bondstone.documents.yaml_places import did_you_mean
from bondstone.model.promise import Promise
from bondstone.model.secret import REF_KEY, SecretRef, as_ref, has_reference, replace_refs
from bondstone.promise.schema import (
    ANY_VALUE,
    MAX_SCHEMA_DEPTH,
    Field,
    fields,
    resolved,
    secret_paths,
    validator,
)
from bondstone.promise.schema_cost import check_evaluations, check_ways
from bondstone.promise.schema_graph import Schema

if TYPE_CHECKING:
    import jsonschema_rs

MAX_INPUT_BYTES: Final = 256 * 1024
"""Largest inputs of one request as JSON: they are part of histories, whose payloads are limited."""
MAX_INPUT_DEPTH: Final = 32
MAX_PROBLEMS: Final = 100
"""Most problems of one request that are told."""

_UNSEEN: Final = (
    "the promise declares it where `additionalProperties: false` does not see it (`allOf`, `anyOf`, `$ref`); "
    "its author should write `unevaluatedProperties: false`"
)

__all__ = [
    "MAX_INPUT_BYTES",
    "check_inputs",
    "complete_inputs",
    "fill_defaults",
    "require_references",
    "secret_paths",
    "split_secrets",
    "with_secrets",
]


def complete_inputs(
    promise: Promise, inputs: Mapping[str, Any], reveal: Callable[[SecretRef], Any] | None = None
) -> dict[str, Any]:
    """The inputs with every default filled in, checked.

    Args:
        promise: Whose schema is asked.
        inputs: As requested; secrets may be references already.
        reveal: Gives the value of a reference, so that the schema can check it; without it a reference is taken
            as valid.

    Returns:
        The completed inputs; references are still references.

    Raises:
        InputsInvalid: naming every field that is wrong, with secret values left out.
    """
    _bounded(inputs)
    check_ways(promise.spec.inputs)
    completed = fill_defaults(promise.spec.inputs, inputs)
    problems = check_inputs(promise, completed, reveal)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputsInvalid(
            f"the inputs do not fit {promise.name}@{promise.version}: {count}",
            problems=problems,
            hint=f"bond promise show {promise.name}@{promise.version} lists its inputs",
        )
    return completed


def check_inputs(
    promise: Promise, inputs: Mapping[str, Any], reveal: Callable[[SecretRef], Any] | None = None
) -> list[Problem]:
    """Every problem of completed inputs, by field."""
    return [problem for _, problem in located_problems(promise, inputs, reveal)]


def located_problems(
    promise: Promise, inputs: Mapping[str, Any], reveal: Callable[[SecretRef], Any] | None = None
) -> list[tuple[tuple[str | int, ...], Problem]]:
    """Every problem of completed inputs, each with the path of the value that it is about."""
    secrets = secret_paths(promise)
    stray = [((), problem) for problem in _stray_references(inputs, secrets, "")]
    if stray:
        return list(stray)
    hidden = {path for path in secrets if as_ref(_get(inputs, path)) is not None} if reveal is None else set()
    value = inputs if reveal is None else replace_refs(dict(inputs), reveal)
    check_evaluations(promise.spec.inputs, value)
    problems: list[tuple[tuple[str | int, ...], Problem]] = []
    for error in islice(validator(promise.spec.inputs).iter_errors(value), MAX_PROBLEMS):
        path = ".".join(map(str, error.instance_path))
        if any(path == secret or path.startswith(f"{secret}.") for secret in hidden):
            continue
        problems.append((tuple(error.instance_path), _problem(error, path, promise, secrets)))
    once = {problem: (at, problem) for at, problem in problems}
    return sorted(once.values(), key=lambda located: located[1].message)


def split_secrets(promise: Promise, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the secret values out of inputs; references and nulls stay.

    Returns:
        The inputs without the secret values, and the values by dotted path: put references in their place with
        `with_secrets`.
    """
    public = copy.deepcopy(dict(inputs))
    values: dict[str, Any] = {}
    for path in sorted(secret_paths(promise)):
        *parents, last = path.split(".")
        holder: Any = public
        for name in parents:
            holder = holder.get(name) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or last not in holder:
            continue
        if holder[last] is not None and as_ref(holder[last]) is None:
            values[path] = holder.pop(last)
    return public, values


def with_secrets(public: Mapping[str, Any], references: Mapping[str, SecretRef]) -> dict[str, Any]:
    """The inputs that `split_secrets` left, with a reference in place of each value it took."""
    whole = copy.deepcopy(dict(public))
    for path, reference in references.items():
        *parents, last = path.split(".")
        holder = whole
        for name in parents:
            holder = holder.setdefault(name, {})
        holder[last] = reference.as_json()
    return whole


def require_references(promise: Promise, inputs: Mapping[str, Any]) -> None:
    """Refuse a secret input that arrived as a plain value; the schema's own default is everybody's to read.

    Publishing refuses such a default; revisions that were stored in another way may have one.

    Raises:
        InputsInvalid: naming the fields, never their values.
    """
    public, values = split_secrets(promise, inputs)
    filled = fill_defaults(promise.spec.inputs, public)
    values = {path: value for path, value in values.items() if _get(filled, path) != value}
    if values:
        raise InputsInvalid(
            "secret inputs must be stored first and passed by reference",
            problems=[
                Problem(message=f"{path}: a secret input (writeOnly) was passed as a plain value")
                for path in values
            ],
            hint=f'bond and the client do this; by hand, pass {{"{REF_KEY}": KEY}}',
        )


def fill_defaults(schema: Schema, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of inputs with the schema's defaults in place of what is missing, inside objects too.

    Null for an optional input whose type knows no null is the same as nothing, as in a change of a service.
    """
    filled: dict[str, Any] = _fill(schema, copy.deepcopy(dict(inputs)), schema, 0)
    return filled


def _fill(schema: Any, value: Any, root: Schema, depth: int) -> Any:
    if depth > MAX_SCHEMA_DEPTH or as_ref(value) is not None:
        return value
    if isinstance(value, list):
        items = resolved(resolved(schema, root).get("items"), root)
        return [_fill(items, item, root, depth + 1) for item in value] if items else value
    if not isinstance(value, dict):
        return value
    for part in _certain_parts(schema, root):
        properties = part.get("properties")
        for name, inner in properties.items() if isinstance(properties, Mapping) else ():
            inner_schema = resolved(inner, root)
            optional = "default" in inner_schema or name not in (part.get("required") or ())
            if optional and name in value and value[name] is None and _excludes_null(inner_schema):
                del value[name]
            if name not in value and "default" in inner_schema:
                value[name] = copy.deepcopy(inner_schema["default"])
            if name in value:
                value[name] = _fill(inner_schema, value[name], root, depth + 1)
    return value


def _excludes_null(schema: Schema) -> bool:
    """Whether null is no value of a schema by its type: in a request it then stands for nothing given."""
    kinds = schema.get("type")
    return isinstance(kinds, str | list) and "null" not in ([kinds] if isinstance(kinds, str) else kinds)


def _certain_parts(schema: Any, root: Schema) -> Iterator[Schema]:
    """The schemas that surely apply: the schema itself and its `allOf`."""
    part = resolved(schema, root)
    yield part
    for option in part.get("allOf") or ():
        yield from _certain_parts(option, root)


# Words -------------------------------------------------------------------------------------------------


def _problem(
    error: jsonschema_rs.ValidationError, path: str, promise: Promise, secrets: frozenset[str]
) -> Problem:
    import jsonschema_rs  # noqa: PLC0415 - see `bondstone.promise.schema`

    name = path or "inputs"
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Required(property=missing):
            field = f"{path}.{missing}" if path else str(missing)
            return Problem(message=f"{field} is required", hint=_describe(promise, field))
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=unexpected) | (
            jsonschema_rs.ValidationErrorKind.UnevaluatedProperties(unexpected=unexpected)
        ):
            words = ", ".join(f"{path}.{word}" if path else word for word in unexpected)
            return Problem(
                message=f"{words}: there is no such input", hint=_hint(unexpected, _known(promise, path))
            )
        case jsonschema_rs.ValidationErrorKind.FalseSchema() if error.schema_path[-1:] == ["additionalProperties"]:
            return Problem(message=f"{name}: no input fits", hint=_UNSEEN if _known(promise, path) else "")
    message = error.message
    if (
        message.startswith(ANY_VALUE)
        and not _touches(path, secrets)
        and isinstance(error.instance, str | int | float)
    ):
        message = f"{json.dumps(error.instance, ensure_ascii=False)[:80]}{message.removeprefix(ANY_VALUE)}"
    return Problem(message=f"{name}: {message}", hint=_describe(promise, path))


def _hint(unexpected: Iterable[str], known: Sequence[str]) -> str:
    if any(word in known for word in unexpected):
        return _UNSEEN
    return "; ".join(dict.fromkeys(did_you_mean(word, known) for word in unexpected)) if known else ""


def _touches(path: str, secrets: frozenset[str]) -> bool:
    return any(
        path == secret or path.startswith(f"{secret}.") or secret.startswith(f"{path}.") or not path
        for secret in secrets
    )


def _describe(promise: Promise, path: str) -> str:
    for item in _walk(fields(promise)):
        if item.path == path:
            words = item.schema.get("description") or item.schema.get("title") or ""
            return str(words)[:200]
    return ""


def _known(promise: Promise, path: str) -> list[str]:
    prefix = f"{path}." if path else ""
    return [
        item.path.removeprefix(prefix)
        for item in _walk(fields(promise))
        if item.path.startswith(prefix) and "." not in item.path.removeprefix(prefix)
    ]


def _walk(fields: tuple[Field, ...]) -> Iterator[Field]:
    for item in fields:
        yield item
        yield from _walk(item.members)


def _stray_references(value: Any, secrets: frozenset[str], path: str) -> Iterator[Problem]:
    """References where the promise has no secret input: they would be taken for values."""
    if path in secrets:
        if as_ref(value) is None and has_reference(value):
            yield Problem(message=f"{path}: a reference stands for the whole secret, not for a part of it")
        return
    if isinstance(value, Mapping):
        if REF_KEY in value:
            yield Problem(message=f"{path or 'inputs'}: not a secret input, so it takes no reference")
            return
        for name, item in value.items():
            yield from _stray_references(item, secrets, f"{path}.{name}" if path else str(name))
    elif has_reference(value):
        yield Problem(message=f"{path}: not a secret input, so it takes no reference")


def _get(inputs: Any, path: str) -> Any:
    for name in path.split("."):
        inputs = inputs.get(name) if isinstance(inputs, Mapping) else None
    return inputs


def _bounded(inputs: Mapping[str, Any]) -> None:
    if _depth(inputs, 0) > MAX_INPUT_DEPTH:
        raise InputsInvalid(f"the inputs are nested deeper than {MAX_INPUT_DEPTH}")
    try:
        size = len(json.dumps(inputs, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError):
        raise InputsInvalid(
            f"the inputs are not JSON: {next(_not_json(inputs, ''), 'inputs')}",
            hint="use text, numbers, true, false, lists and maps",
        ) from None
    if size > MAX_INPUT_BYTES:
        raise InputsInvalid(
            f"the inputs are larger than {MAX_INPUT_BYTES // 1024} KiB", hint="pass large things by their address"
        )


def _not_json(value: Any, path: str) -> Iterator[str]:
    """The fields whose values JSON has no way to write, each with why."""
    where = path or "inputs"
    match value:
        case Mapping():
            for name, item in value.items():
                if not isinstance(name, str):
                    yield f"{where} has a key that is not text: {name!r}"
                yield from _not_json(item, f"{path}.{name}" if path else str(name))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _not_json(item, f"{path}[{index}]")
        case float() if not math.isfinite(value):
            yield f"{where} is {value}, which is not a number"
        case str() if not _is_unicode(value):
            yield f"{where} holds characters that are not text"
        case None | bool() | int() | float() | str():
            return
        case _:
            yield f"{where} is a {type(value).__name__}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _depth(value: Any, depth: int) -> int:
    if depth > MAX_INPUT_DEPTH:
        return depth
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return max((_depth(item, depth + 1) for item in inner), default=depth)
