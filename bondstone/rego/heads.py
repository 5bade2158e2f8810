"""Takes out of rule heads what has to be evaluated, as OPA's compiler does before it evaluates anything.

regorus evaluates the head when the body holds, and forgets all results of a rule when the head of its last one is
undefined: `deny contains x.name if some x in input.xs` would find nothing where the last `x` has no name. In a
body an undefined value ends that one result only: `deny contains v if { some x in input.xs; v := x.name }`.
(Source: `rewriteRefsInHead` of OPA's compiler; measured with regorus 0.13.0.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bondstone.rego.definitions import declared

Tree = Mapping[str, Any]

LITERALS: Final = frozenset({"String", "RawString", "Number", "Bool", "True", "False", "Null"})
"""Kinds of nodes that need no evaluation."""
_NAME: Final = "head_value"
_V1: Final = re.compile(rb"\bv1\b")
_QUOTES: Final = (b'"', b"`")


def with_plain_heads(tree: Tree) -> str:
    """The source of a module in which heads hold names and literals only; lines stay where they are.

    A moved expression stands on one line, at the end of the body. One with a comment or a raw string keeps its
    lines, and moves those behind it.

    Args:
        tree: Its syntax tree, as regorus gives it.
    """
    source = str(tree["source"]["contents"])
    name = _NAME
    while name in source:
        name += "_"
    return _Edited(source.encode(), name).module(tree["ast"])


class _Edited:
    def __init__(self, source: bytes, name: str) -> None:
        self._source = source
        self._name = name
        self._count = 0
        self._edits: list[tuple[int, int, str]] = []

    def module(self, tree: Tree) -> str:
        if len(_V1.findall(self._source)) > 1:  # regorus takes `import rego.v1` for the definition of that name
            for item in tree.get("imports") or ():
                span = item["span"]
                if self._source[span["start"] : span["end"]].split() == [b"import", b"rego.v1"]:
                    self._edits.append((span["start"], span["end"], ""))
        for item in tree.get("rules") or ():
            if "Spec" in item:
                self._rule(item["Spec"])
        data = self._source
        for start, end, text in sorted(self._edits, key=lambda edit: edit[:2], reverse=True):
            data = data[:start] + text.encode() + data[end:]
        return data.decode()

    def _rule(self, spec: Tree) -> None:
        local = frozenset(declared(spec))
        (head,) = spec["head"].values()
        bodies = spec["bodies"] or []
        first = bodies[0] if bodies and not bodies[0]["is_else"] else None
        extents = [extent(self._source, *_span(index)) for index in _indexes(head["refr"]) if _needs(index, local)]
        if _needs(head.get("key"), local):
            begin = self._source.index(b"contains", _span(head["refr"])[1]) + len(b"contains")
            extents.append(extent(self._source, begin, head["span"]["end"]))
        self._move([*extents, *self._assigned(head, local)], first, head["span"]["end"])
        for body in bodies:
            self._move(self._assigned(body, local), body, body["span"]["end"])

    def _assigned(self, node: Tree, local: frozenset[str]) -> list[tuple[int, int]]:
        """Where the value of a head or of an `else` stands, if it has to be evaluated."""
        assign = node.get("assign")
        if not isinstance(assign, dict) or not _needs(assign["value"], local):
            return []
        begin, end = _span({"": assign})
        return [extent(self._source, begin + self._source[begin:end].index(b"=") + 1, end)]

    def _move(self, extents: list[tuple[int, int]], body: Tree | None, end: int) -> None:
        """Put names in the place of values, and what gives them those into a body, or into a new one at `end`."""
        if not extents:
            return
        query = body["query"] if body is not None and body["query"]["stmts"] else None
        moved, padding = [], ""
        for begin, stop in extents:
            text = self._source[begin:stop].decode()
            if query is not None and "#" not in text and "`" not in text:
                padding += "\n" * text.count("\n")
                text = " ".join(text.splitlines())
            self._count += 1
            name = f"{self._name}{self._count}"
            moved.append(f"{name} := {text}")
            self._edits.append((begin, stop, f" {name}{padding if stop == extents[-1][1] else ''}"))
        assignments = "; ".join(moved)
        if query is None:
            end = extent(self._source, end, end)[1]
            self._edits.append((end, end, f" if {{ {assignments} }}"))
            return
        begin, stop = query["span"]["start"], query["span"]["end"]
        if self._source[begin : begin + 1] == b"{" and query["stmts"][0]["span"]["start"] > begin:
            before = self._source[begin : stop - 1].rstrip(b" \t\r")
            separator = "" if before.endswith((b"\n", b";")) else "; "
            self._edits.append((stop - 1, stop - 1, f"{separator}{assignments} "))
        else:
            begin, stop = extent(self._source, begin, stop)
            self._edits += [(begin, begin, "{ "), (stop, stop, f"; {assignments} }}")]


def _span(node: Tree) -> tuple[int, int]:
    (inner,) = node.values()
    return inner["span"]["start"], inner["span"]["end"]


def extent(source: bytes, begin: int, end: int) -> tuple[int, int]:
    """Where something begins and ends: to regorus a text that is first or last has no quotes."""
    begin -= source[begin - 1 : begin] in _QUOTES
    return begin, end + (source[end : end + 1] in _QUOTES)


def _indexes(reference: Tree) -> Iterator[Tree]:
    """What stands in brackets in the name of a rule."""
    while "RefDot" in reference or "RefBrack" in reference:
        (part,) = reference.values()
        if "index" in part:
            yield part["index"]
        reference = part["refr"]


def _needs(value: Tree | None, local: frozenset[str]) -> bool:
    """Whether a value has to be evaluated: it is no literal and no name that the body gives a value."""
    if value is None or LITERALS & set(value):
        return False
    return str(value["Var"]["value"]) not in local if "Var" in value else True
