r"""The part of kubectl's JSONPath that names fields. Pure.

`{.spec.ports[0].port}`, `['a.key']` or `.a\.key`, `[*]`, `[?(@.type=="Ready")]`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

MAX_PATH_CHARS: Final = 512
_STEP: Final = re.compile(
    r"""
      \.(?P<field>(?:[^.\[\]\\{}\s'"]|\\.)+)
    | \[(?P<index>-?\d{1,6})\]
    | \['(?P<single>[^']*)'\] | \["(?P<double>[^"]*)"\]
    | (?P<all>\[\*\]|\.\*)
    | \[\?\(\s*@\.(?P<key>[\w.-]+)\s*==\s*(?P<value>"[^"]*"|'[^']*'|-?\d+|true|false)\s*\)\]
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Step:
    kind: Literal["field", "index", "all", "filter"]
    key: Any = None
    value: Any = None


class JsonPath:
    """A path, compiled.

    Args:
        text: With or without the braces and the leading dot.

    Raises:
        ValueError: when it is none that is understood.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        inner = text.strip()
        if inner.startswith("{") and inner.endswith("}"):
            inner = inner[1:-1].strip()
        inner = inner.removeprefix("$")
        if inner and inner[0] not in ".[":
            inner = f".{inner}"
        if not inner or len(inner) > MAX_PATH_CHARS:
            raise ValueError("a path names at least one field, as in {.spec.clusterIP}")
        self._steps: list[_Step] = []
        at = 0
        while at < len(inner):
            match = _STEP.match(inner, at)
            if match is None:
                raise ValueError(f"the path is not understood from {inner[at : at + 20]!r} on")
            self._steps.append(_step(match))
            at = match.end()

    @property
    def first(self) -> str:
        """The first field it goes into; empty when it begins otherwise."""
        step = self._steps[0]
        return str(step.key) if step.kind == "field" else ""

    @property
    def many(self) -> bool:
        """Whether it finds a list of values rather than one."""
        return any(step.kind == "all" for step in self._steps)

    def find(self, value: Any) -> Any:
        """What is there: one value, or with `[*]` a list.

        Raises:
            KeyError: when nothing is there.
        """
        values = [value]
        for step in self._steps:
            values = [item for each in values for item in _follow(each, step)]
        if self.many:
            return values
        if not values:
            raise KeyError(self.text)
        return values[0]


def _step(match: re.Match[str]) -> _Step:
    if match["index"] is not None:
        return _Step("index", int(match["index"]))
    if match["all"] is not None:
        return _Step("all")
    if match["key"] is not None:
        raw = match["value"]
        return _Step("filter", match["key"].split("."), raw[1:-1] if raw[0] in "'\"" else json.loads(raw))
    if match["field"] is not None:
        return _Step("field", re.sub(r"\\(.)", r"\1", match["field"]))
    return _Step("field", match["single"] if match["single"] is not None else match["double"])


def _follow(value: Any, step: _Step) -> list[Any]:
    match step.kind:
        case "field":
            return [value[step.key]] if isinstance(value, dict) and step.key in value else []
        case "index":
            within = isinstance(value, list) and -len(value) <= step.key < len(value)
            return [value[step.key]] if within else []
        case "all":
            return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        case "filter":
            return (
                [item for item in value if _deep(item, step.key) == step.value] if isinstance(value, list) else []
            )


def _deep(value: Any, keys: list[str]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
