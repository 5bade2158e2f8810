"""Evaluating an expression for given values, within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from bondstone.base.errors import ExpressionInvalid
from bondstone.cel.environment import MAX_PARTS, MAX_SIZE, environment, library
from bondstone.cel.syntax import ROOTS, Chain, Parsed, bound_name, parse, short
from bondstone.cel.words import compile_faults, eval_words

MAX_NODES: Final = 100_000
"""Most single values that they may hold."""


MAX_WORK: Final = 1_000_000_000
"""Most characters that an expression may look at, each as often as it does: about a second."""

MAX_MEMORY: Final = 256 * 1024**2
"""Most bytes that an expression may make on its way to the result, where none is given back before the end."""

MAX_ITERATIONS: Final = 10_000
"""What the library itself allows in one evaluation."""

_BYTES_OF_ITERATION: Final = 1024
_BYTES_OF_ELEMENT: Final = 24


INT64: Final = range(-(2**63), 2**63)


Variables = Mapping[str, Any]
"""Flat dotted names to JSON values: `{"inputs.size": "small"}`."""


def references(expression: str) -> set[str]:
    """Every path of ours that an expression uses, as it is written: `{"inputs.size", "service.name"}`."""
    return {chain.path for chain in parse(expression).chains if chain.names and chain.names[0] in ROOTS}


def evaluate(expression: str, variables: Variables) -> Any:
    """The JSON value of an expression.

    An output of a step that was skipped is null. The message of an error never repeats a value.

    Raises:
        ExpressionInvalid: when it does not compile, fails, or its values or result are too large.
    """
    parsed = parse(expression)
    bindings = _bindings(parsed.chains, variables, expression)
    if parsed.whole and parsed.whole in bindings:
        _measure(bindings, expression)
        return _plain(bindings[parsed.whole], expression)
    _within_budget(parsed, *_measure(bindings, expression), expression)
    program = _program(parsed.text, tuple(sorted(bindings)), short(expression))
    try:
        value = program.eval(data={name: _listed(value) for name, value in bindings.items()})
    except RuntimeError as error:
        raise ExpressionInvalid(eval_words(str(error)), where=short(expression)) from None
    if value.type() == library().Type.ERROR:
        raise ExpressionInvalid(eval_words(str(value.value())), where=short(expression))
    return _plain(value.plain_value(), expression)


def _within_budget(parsed: Parsed, nodes: int, size: int, expression: str) -> None:
    """Refuse an expression that may take too much memory or time with these values, whatever is in them.

    The library gives no memory back before the end, and builds the list of a `map` or `filter` anew with each
    element: what is estimated is everything that is made, not what is there at once.
    """
    use = parsed.use
    text = size + len(expression)
    elements = (nodes + use.elements + (MAX_PARTS if use.splits else 0)) * (1 + use.sums)
    iterations = min(MAX_ITERATIONS, elements**use.macros) if use.macros else 0
    made = min(MAX_SIZE, text * text) if use.multiplies else text
    texts = made * parsed.growth * use.makers * (use.makers + 1) // 2
    each = _BYTES_OF_ITERATION + (_BYTES_OF_ELEMENT * min(elements, MAX_ITERATIONS) if use.copies else 0)
    memory = max(iterations, 1) * texts + iterations * each
    work = max(iterations, 1) * (use.calls + use.makers) * made
    if memory > MAX_MEMORY or work > MAX_WORK:
        raise ExpressionInvalid(
            "the values are too large for what the expression does with them",
            where=short(expression),
            hint="use fewer nested macros (all, exists, filter, map) and smaller values, or let a module do it",
        )


def _bindings(chains: Iterable[Chain], variables: Variables, expression: str) -> dict[str, Any]:
    """The variables that an expression uses, and only those."""
    bindings: dict[str, Any] = {}
    for chain in chains:
        bound = bound_name(chain.names, variables)
        if bound is not None:
            if chain.inside_has and bound == chain.path:
                raise ExpressionInvalid(
                    f"`has()` does not work on `{bound}`",
                    where=short(expression),
                    hint=f"write `{bound} != null`",
                )
            bindings[bound] = variables[bound]
        elif chain.names[:1] in {("steps",), ("requires",)} and len(chain.names) > 3:  # noqa: PLR2004 - steps.ID.outputs.NAME
            bindings[".".join(chain.names[:4])] = None
        elif chain.names and chain.names[0] in ROOTS:
            raise ExpressionInvalid(f"there is no `{chain.path}`", where=short(expression))
    return bindings


@lru_cache(maxsize=4096)
def _program(text: str, names: tuple[str, ...], where: str) -> Any:
    try:
        return environment(dict.fromkeys(names, library().Type.DYN)).compile(text)
    except RuntimeError as error:
        fault = next(iter(compile_faults(str(error))))
        raise ExpressionInvalid(fault.message, where=where, hint=fault.hint) from None


def _measure(values: Variables, expression: str) -> tuple[int, int]:
    """Count single values and characters; raises `ExpressionInvalid` past the bounds or for what is not JSON."""
    nodes = size = 0
    stack: list[Any] = list(values.values())
    while stack:
        value = stack.pop()
        nodes += 1
        if isinstance(value, str):
            size += len(value)
        elif isinstance(value, Mapping):
            size += sum(len(str(key)) for key in value)
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
        if nodes > MAX_NODES or size > MAX_SIZE:
            raise ExpressionInvalid("the values it uses are too large", where=short(expression))
    return nodes, size


def _listed(value: Any) -> Any:
    """The value as the library takes it: lists for tuples, dicts for mappings, floats for huge integers."""
    if isinstance(value, Mapping):
        return {_text(str(key)): _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, str):
        return _text(value)
    if type(value) is int and value not in INT64:
        return float(value)
    return value


def _text(text: str) -> str:
    """Text that the library takes whole: it cuts text at a NUL."""
    if "\0" in text or not _is_unicode(text):
        raise ExpressionInvalid(
            "a value it uses holds characters that are not text", hint="encode it, as base64 does"
        )
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any, expression: str) -> Any:
    """A result as JSON, keys in order; raises `ExpressionInvalid` when it is not JSON or too large."""
    _measure({"": value}, expression)
    return _as_json(value, expression)


def _as_json(value: Any, expression: str) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isfinite(value):
                return value
            raise ExpressionInvalid("the result is not a finite number", where=short(expression))
        case list() | tuple():
            return [_as_json(item, expression) for item in value]
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise ExpressionInvalid("the keys of a map must be text", where=short(expression))
            return {key: _as_json(value[key], expression) for key in sorted(value)}
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{value.total_seconds():g}s"
    raise ExpressionInvalid(
        f"the result is {type(value).__name__}, which JSON does not have", where=short(expression)
    )
