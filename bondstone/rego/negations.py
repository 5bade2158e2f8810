"""Takes operands out of negated calls and infix operators, as OPA's compiler does before it evaluates anything.

`not startswith(input.name, "x")` is undefined to OPA where there is no `input.name`: OPA evaluates the operand
before the `not`. To regorus the call is undefined, so that its negation holds. The author's line becomes
`operand := input.name; not startswith(operand, "x")`, which both decide alike. What OPA leaves in place stays:
`not input.name`, `not input.name == "x"`, and what is in a comprehension.
`x in xs` as a value (`found := x in xs`) is false to regorus where an operand has no value. There the operands go
into a comprehension, which then has no first item: `found := [(a in b) | a := x; b := xs][0]`.
(Source: `expandExpr` and `rewriteDynamics` of OPA's compiler; measured with OPA 1.22.4 and regorus 0.13.0.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bondstone.rego.definitions import Path, argument_names, local_names, outer_names
from bondstone.rego.heads import LITERALS, extent

Tree = Mapping[str, Any]

_NAME: Final = "operand"
_INFIX: Final = {"BoolExpr", "ArithExpr", "BinExpr"}
_REFERENCES: Final = {"Var", "RefDot", "RefBrack"}
_COLLECTIONS: Final = {"Array": "items", "Set": "items", "Object": "fields"}
COMPREHENSIONS: Final = ("ArrayCompr", "SetCompr", "ObjectCompr")
"""Kinds of nodes that have a body of their own."""
_TOKEN: Final = re.compile(
    rb"""(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<space>\#[^\n]*|\s+)|(?P<opening>[(\[{])|(?P<closing>[)\]}])""",
    re.VERBOSE,
)


def with_operands_before_negations(tree: Tree, known: frozenset[Path]) -> str:
    """The source of a module in which negated calls and infix operators have names and literals as operands.

    So has `in` where it is no condition by itself. Lines stay where they are.

    Args:
        tree: Its syntax tree, as regorus gives it.
        known: Paths of all rules of all modules: such a name is evaluated, any other is a variable, and stays.
    """
    source = str(tree["source"]["contents"])
    name = _NAME
    while name in source:
        name += "_"
    return _Edited(source.encode(), name, outer_names(tree, known)).module(tree["ast"])


def memberships_as_values(node: Any, condition: Tree | None = None) -> Iterator[Tree]:
    """Each `x in xs` that is no condition by itself, nor negated as one.

    Args:
        node: A part of a syntax tree.
        condition: One that is.
    """
    if isinstance(node, list):
        for item in node:
            yield from memberships_as_values(item, condition)
    elif isinstance(node, dict):
        literal = node.get("literal") or {}
        stated = literal.get("Expr") or literal.get("NotExpr")
        if stated:
            condition = stated["expr"].get("Membership")
        for name, inner in node.items():
            if name == "Membership" and inner is not condition:
                yield inner
            if name not in {"span", "field"}:
                yield from memberships_as_values(inner, condition)


class _Edited:
    def __init__(self, source: bytes, name: str, evaluated: frozenset[str]) -> None:
        self._source = source
        self._partners = _pairs(source)
        self._evaluated = evaluated
        self._name = name
        self._count = 0
        self._edits: list[tuple[int, int, bytes]] = []
        self._values: set[int] = set()

    def module(self, tree: Tree) -> str:
        self._values = {id(membership) for membership in memberships_as_values(tree.get("rules"))}
        for item in tree.get("rules") or ():
            spec = item.get("Spec")
            if spec:
                (head,) = spec["head"].values()
                evaluated = self._evaluated - set(argument_names(head))
                self._walk(head, evaluated)
                for body in spec["bodies"] or ():
                    self._walk(body, evaluated)
                    self._brace(body["query"])
        return self._taken(0, len(self._source)).decode()

    def _walk(self, node: Any, evaluated: frozenset[str]) -> None:
        """Edit each negation, the innermost first."""
        if isinstance(node, list):
            for item in node:
                self._walk(item, evaluated)
        elif isinstance(node, dict):
            if "stmts" in node:
                evaluated -= set(local_names(node))
            for name, inner in node.items():
                if name not in {"span", "field"}:
                    self._walk(inner, evaluated)
                if name == "Membership" and id(inner) in self._values:
                    self._membership(inner, evaluated)
            if "literal" in node and "NotExpr" in node["literal"]:
                self._negation(node, evaluated)

    def _negation(self, statement: Tree, evaluated: frozenset[str]) -> None:
        negation = statement["literal"]["NotExpr"]
        begin, stop = self._extent(negation["span"])
        extents = sorted(map(self._extent, _operands(negation["expr"], evaluated)))
        if not extents:
            return
        modifiers, end = b"", stop
        if statement.get("with_mods"):
            end = self._extent(statement["span"])[1]
            modifiers = b" " + _one_line(self._taken(stop, end)).strip()
        moved, kept, at = b"", b"", begin
        for first, last in extents:
            self._count += 1
            name = f"{self._name}{self._count}".encode()
            moved += self._lines(at, first) + name + b" := " + self._taken(first, last) + modifiers + b"; "
            kept += _one_line(self._taken(at, first)) + name
            at = last
        moved += self._lines(at, end)
        kept += _one_line(self._taken(at, stop)) + modifiers
        self._edits.append((begin, end, moved + kept))

    def _membership(self, membership: Tree, evaluated: frozenset[str]) -> None:
        begin, end = self._extent(membership["span"])
        extents = sorted(map(self._extent, _operands({"Membership": membership}, evaluated)))
        if not extents:
            return
        moved, kept, at = b"", b"", begin
        for first, last in extents:
            self._count += 1
            name = f"{self._name}{self._count}".encode()
            moved += (b"; " if moved else b"") + self._lines(at, first) + name + b" := " + self._taken(first, last)
            kept += _one_line(self._taken(at, first)) + name
            at = last
        kept += _one_line(self._taken(at, end))
        self._edits.append((begin, end, b"[(" + kept + b") | " + moved + self._lines(at, end) + b"][0]"))

    def _brace(self, query: Tree) -> None:
        """Put a body of one negation in braces, now that it has more statements."""
        begin = query["stmts"][0]["span"]["start"] if len(query["stmts"]) == 1 else -1
        end = next((end for start, end, _ in self._edits if start == begin), begin)
        if begin < end and not self._source.startswith(b"{", query["span"]["start"]):
            braced = b"{ " + self._taken(begin, end) + b" }"
            self._edits.append((begin, end, braced))

    def _lines(self, begin: int, end: int) -> bytes:
        return b"\n" * self._source[begin:end].count(b"\n")

    def _taken(self, begin: int, end: int) -> bytes:
        """What stands in a place, with the edits that were made in it, which are done then."""
        inside = sorted(edit for edit in self._edits if begin <= edit[0] and edit[1] <= end)
        self._edits = [edit for edit in self._edits if edit not in inside]
        text = b""
        for first, last, edited in inside:
            text += self._source[begin:first] + edited
            begin = last
        return text + self._source[begin:end]

    def _extent(self, span: Mapping[str, int]) -> tuple[int, int]:
        """Where something begins and ends: regorus leaves out brackets around what is first or last in it."""
        begin, end = extent(self._source, span["start"], span["end"])
        partners = [self._partners[at] for at in range(begin, end) if at in self._partners]
        return min([begin, *partners]), max([end, *(at + 1 for at in partners)])


def _pairs(source: bytes) -> dict[int, int]:
    """Where the partner of each bracket is."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for match in _TOKEN.finditer(source):
        if match["opening"]:
            opened.append(match.start())
        elif match["closing"]:
            pairs[match.start()] = opened.pop()
            pairs[pairs[match.start()]] = match.start()
    return pairs


def _one_line(text: bytes) -> bytes:
    """The same tokens without line ends and comments."""

    def plain(match: re.Match[bytes]) -> bytes:
        if match["space"]:
            return b" "
        if match["raw"] and b"\n" in match["raw"]:
            return json.dumps(match["raw"][1:-1].decode(), ensure_ascii=False).encode()
        return match[0]

    return _TOKEN.sub(plain, text)


def _operands(expression: Tree, evaluated: frozenset[str]) -> Iterator[Mapping[str, int]]:
    """The places of what OPA evaluates before the negation of an expression."""
    ((kind, inner),) = expression.items()
    if kind == "Call":
        operands = inner["params"]
    elif kind == "Membership":
        operands = [inner["key"], inner["value"], inner["collection"]]
    elif kind == "AssignExpr" or (kind == "BoolExpr" and inner["op"] == "Eq"):
        for side in (inner["lhs"], inner["rhs"]):
            yield from _indexes(side, evaluated) if _REFERENCES & set(side) else _moved(side, evaluated)
        return
    elif kind in _INFIX:
        operands = [inner["lhs"], inner["rhs"]]
    elif kind in _REFERENCES:
        yield from _indexes(expression, evaluated)
        return
    elif kind == "UnaryExpr":
        operands = [inner["expr"]]
    elif kind in _COLLECTIONS:
        operands = [expression]
    else:
        operands = []
    for operand in operands:
        yield from _moved(operand, evaluated)


def _moved(operand: Tree | None, evaluated: frozenset[str]) -> Iterator[Mapping[str, int]]:
    if operand is not None and not _is_literal(operand, evaluated):
        ((_, inner),) = operand.items()
        yield inner["span"]


def _indexes(reference: Tree, evaluated: frozenset[str]) -> Iterator[Mapping[str, int]]:
    """What a reference begins with, unless it is a name, and what stands in its brackets."""
    while "RefDot" in reference or "RefBrack" in reference:
        (part,) = reference.values()
        yield from _moved(part.get("index"), evaluated)
        reference = part["refr"]
    if "Var" not in reference:
        yield from _moved(reference, evaluated)


def _is_literal(node: Any, evaluated: frozenset[str]) -> bool:
    """Whether a value needs no evaluation, all the members of a collection included."""
    if isinstance(node, list):
        return all(
            _is_literal(item, evaluated) for item in node if not (isinstance(item, dict) and "start" in item)
        )
    ((kind, inner),) = node.items()
    if kind in _COLLECTIONS:
        return _is_literal(inner[_COLLECTIONS[kind]], evaluated)
    return kind in LITERALS or (kind == "Var" and inner["value"] not in evaluated)
