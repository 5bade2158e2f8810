"""What a policy must not use with the embedded engine, because it would be decided otherwise than by OPA.

Works on the syntax tree that regorus gives. Which built-in functions are refused comes from `support.json`, which
`python -m tools.rego_conformance` writes after it has asked regorus and OPA the same questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from bondstone.rego.definitions import cycles, paths, rules
from bondstone.rego.functions import ADDED, FUNCTIONS
from bondstone.rego.negations import COMPREHENSIONS, memberships_as_values
from bondstone.rego.numbers import EXACT_BOUND, SIGNIFICANT_DIGITS, exact

INSTEAD: Final = {
    "array.flatten": "write `[x | some xs in lists; some x in xs]`",
    "json.match_schema": "check the members one by one (`is_string(input.x)`)",
    "json.verify_schema": "check the schema in `bond promise test` or in CI",
    "json.patch": "write `object.union(input, {…})` or `object.remove`",
    "net.cidr_merge": "use net.cidr_contains for each block",
    "net.cidr_contains_matches": "write `some block in blocks; net.cidr_contains(block, address)`",
    "strings.split_n": "use split",
    "strings.render_template": "use sprintf",
    "yaml.unmarshal": "keep the document as JSON and use json.unmarshal",
    "yaml.marshal": "use json.marshal",
    "yaml.is_valid": "keep the document as JSON and use json.is_valid",
    "glob.quote_meta": "use regex.match",
    "json.remove": "use object.remove",
    "time.add_date": 'add nanoseconds: `t + time.parse_duration_ns("24h")`',
    "time.format": "use time.date and time.clock",
    "glob.match": "use regex.match, or startswith and endswith",
    "walk": "write `walk(x, [path, value])`, with two operands",
}
"""What to write in place of a refused built-in function, where there is something."""
USE_OPA: Final = "let OPA decide: put `opa` on PATH or name it with BOND_OPA"

_ARITHMETIC: Final = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%"}
_SUMS: Final = frozenset({"sum", "product"})
_WHOLE: Final = frozenset(
    {"count", "indexof", "strings.count", "time.now_ns", "time.parse_rfc3339_ns", "time.parse_duration_ns"}
)
"""Functions whose result is always an integer."""
_SURROGATES: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")


@dataclass(frozen=True, slots=True)
class RulePlace:
    """Where something stands."""

    file: str
    line: int
    column: int


@dataclass(slots=True)
class Findings:
    """What is wrong with some modules, and what depends on the document."""

    problems: list[dict[str, Any]] = field(default_factory=list)
    inexact: RulePlace | None = None
    """The first arithmetic whose operands may be any numbers: wrong for some fractions."""
    fraction: tuple[RulePlace, str] | None = None
    """The first such fraction that a module itself has."""

    def add(self, place: RulePlace, message: str, hint: str = "") -> None:
        """Note a problem, in the form of `bondstone.base.errors.Problem`."""
        self.problems.append(
            {"file": place.file, "line": place.line, "column": place.column, "message": message, "hint": hint}
        )


@cache
def refused() -> Mapping[str, str]:
    """Built-in functions that the embedded engine may not use, each with the reason."""
    text = Path(__file__).with_name("support.json").read_text(encoding="utf-8")
    return {name: entry for name, entry in json.loads(text)["refused"].items() if name not in FUNCTIONS}


@cache
def supported() -> frozenset[str]:
    """Built-in functions that it answers as OPA does."""
    text = Path(__file__).with_name("support.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text)["supported"]) | frozenset(FUNCTIONS)


def examine(trees: Iterable[Mapping[str, Any]]) -> Findings:
    """Look at the syntax trees of all modules that are evaluated together."""
    trees = list(trees)
    defined = {name for tree in trees for name in _functions(tree["ast"])}
    findings = Findings()
    known = frozenset(path for tree in trees for path in paths(tree))
    every = []
    for tree in trees:
        module = _Module(tree, defined, findings)
        module.examine()
        of_module = list(rules(tree, known))
        every += of_module
        for rule in of_module:
            for name, span in rule.unbound:
                hint = "give what is negated a name (`found if …`) and write `not found`"
                if name != "_":
                    hint = "nothing gives it a value; is it misspelt?"
                findings.add(module.place(span), f"var {name} is unsafe", hint)
    if findings.inexact and findings.fraction:
        place, text = findings.fraction
        line = f"{findings.inexact.file}:{findings.inexact.line}"
        message = f"the arithmetic at {line} may meet {text}, and is then not done as OPA does it"
        findings.add(place, message, f"count in whole numbers (cents, millicores), or {USE_OPA}")
    for rule, way in cycles(every):
        names = " -> ".join(".".join(path) for path in way)
        place = RulePlace(rule.file, rule.span["line"], rule.span["col"])
        findings.add(place, f"rule {'.'.join(rule.path)} is recursive: {names}", "a rule cannot need itself")
    return findings


def _functions(tree: Mapping[str, Any]) -> Iterator[str]:
    package = path_of(tree["package"]["refr"])
    for rule in tree.get("rules") or ():
        head = (rule.get("Spec") or {}).get("head") or {}
        if "Func" in head:
            yield f"data.{package}.{path_of(head['Func']['refr'])}"
        if "Default" in rule and rule["Default"].get("args"):
            yield f"data.{package}.{path_of(rule['Default']['refr'])}"


def path_of(reference: Mapping[str, Any]) -> str:
    """`a.b.c` for a chain of names, else nothing."""
    if "Var" in reference:
        return str(reference["Var"]["value"])
    if "RefDot" in reference:
        before = path_of(reference["RefDot"]["refr"])
        return f"{before}.{reference['RefDot']['field'][1]}" if before else ""
    if "RefBrack" in reference and "String" in reference["RefBrack"]["index"]:
        before = path_of(reference["RefBrack"]["refr"])
        return f"{before}.{reference['RefBrack']['index']['String']['value']}" if before else ""
    return ""


def _value(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _has_named_index(node: Any) -> bool:
    if isinstance(node, list):
        return any(map(_has_named_index, node))
    if not isinstance(node, dict):
        return False
    bracket = node.get("RefBrack")
    return (bracket is not None and "Var" in bracket["index"]) or any(
        _has_named_index(inner) for name, inner in node.items() if name not in {"span", "field", *COMPREHENSIONS}
    )


class _Module:
    """One module under examination."""

    def __init__(self, tree: Mapping[str, Any], defined: set[str], findings: Findings) -> None:
        self._tree = tree["ast"]
        self._file = str(tree["source"]["file"])
        self._source = str(tree["source"]["contents"]).encode()
        self._defined = defined
        self._findings = findings
        self._package = path_of(self._tree["package"]["refr"])
        self._imports = dict(self._imported())
        self._sets = set(self._set_names(self._tree.get("rules") or []))

    def examine(self) -> None:
        """Note everything that it must not use."""
        for item in self._tree.get("imports") or ():
            if path_of(item["refr"]) == "future.keywords.not":
                self._findings.add(
                    self.place(item["span"]), "`not` with a body is not supported by the embedded engine", USE_OPA
                )
        for rule in self._tree.get("rules") or ():
            head = (rule.get("Spec") or {}).get("head") or {}
            if "Set" in head:
                self._head(head["Set"]["refr"])
            self._walk(rule)
            for membership in memberships_as_values(rule):
                self._value(membership)

    def _imported(self) -> Iterator[tuple[str, str]]:
        for item in self._tree.get("imports") or ():
            path = path_of(item["refr"])
            alias = item.get("as")
            name = self._text(alias) if isinstance(alias, dict) else path.rpartition(".")[2]
            yield name, path

    def _text(self, span: Mapping[str, Any]) -> str:
        return self._source[span["start"] : span["end"]].decode(errors="replace")

    def place(self, span: Mapping[str, Any]) -> RulePlace:
        """Line and column of a part."""
        before = self._source[: span["start"]]
        line = before.count(b"\n") + 1
        return RulePlace(self._file, line, len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1)

    def _walk(self, node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                self._walk(item)
        elif isinstance(node, dict):
            for name, inner in node.items():
                check = _CHECKS.get(name)
                if check is not None and isinstance(inner, dict):
                    check(self, inner)
                if name == "with_mods":
                    for changed in inner or ():
                        self._replacement(changed["as"])
                        if "NotExpr" in node["literal"]:
                            self._beside_negation(changed)
                if name not in {"span", "field"}:
                    self._walk(inner)

    def _head(self, reference: Mapping[str, Any]) -> None:
        inner = reference
        while "RefDot" in inner or "RefBrack" in inner:
            (part,) = inner.values()
            if "RefBrack" in inner and "String" not in part["index"]:
                self._findings.add(
                    self.place(part["span"]),
                    "a set rule whose name has variables may give another result than OPA",
                    f"give it a plain name and put the variable into its members, or {USE_OPA}",
                )
                return
            inner = part["refr"]

    def _call(self, call: Mapping[str, Any]) -> None:
        path = path_of(call["fcn"])
        (named,) = call["fcn"].values()
        place = self.place(named["span"])
        if path == "walk" and len(call["params"]) == 1 and not self._own(path):
            self._findings.add(place, "walk with one operand may give another result than OPA", INSTEAD["walk"])
        elif path in _SUMS and not self._own(path):
            self._may_be_inexact(place)
        if path in ADDED and len(call["params"]) > FUNCTIONS[path][0] and not self._own(path):
            self._findings.add(place, f"{path} has one operand too many", f"write `x := {path}(…)`")
        self._function(path, place, called=True)

    def _replacement(self, value: Mapping[str, Any]) -> None:
        """What `with` puts in place of something may be a function, too."""
        path = path_of(value)
        if path in refused():
            (named,) = value.values()
            self._function(path, self.place(named["span"]), called=False)

    def _own(self, path: str) -> bool:
        first, _, rest = path.partition(".")
        full = f"{self._imports[first]}.{rest}".rstrip(".") if first in self._imports else path
        return full in self._defined or f"data.{self._package}.{path}" in self._defined

    def _function(self, path: str, place: RulePlace, *, called: bool) -> None:
        if not path or self._own(path) or path in supported() or path == "print":
            return
        if path in refused():
            hint = f"{INSTEAD[path]}, or {USE_OPA}" if path in INSTEAD else USE_OPA
            self._findings.add(place, f"{path} may not be used with the embedded engine: {refused()[path]}", hint)
        elif called:
            self._findings.add(
                place, f"undefined function {path}", "is it misspelt, or in a file that is not here?"
            )

    def _number(self, number: Mapping[str, Any]) -> None:
        text = self._text(number["span"])
        whole = text.lstrip("-").isdigit()
        digits = len(text.replace(".", "").lstrip("-0"))
        if not _NUMBER.fullmatch(text) or (digits > SIGNIFICANT_DIGITS if not whole else not exact(int(text))):
            self._findings.add(
                self.place(number["span"]),
                f"the number {text} is not held exactly by the embedded engine",
                f"write it shorter, without an exponent and without zeros at its end, or {USE_OPA}",
            )
        elif not exact(_value(text)) and self._findings.fraction is None:
            self._findings.fraction = (self.place(number["span"]), text)

    def _arithmetic(self, expression: Mapping[str, Any]) -> None:
        operands = [expression["lhs"], expression["rhs"]]
        if any(self._is_set(operand) for operand in operands):
            return
        place = self.place(expression["span"])
        sign = _ARITHMETIC.get(expression["op"], expression["op"])
        if sign == "/":
            self._findings.add(
                place,
                "a division may give another result than OPA: its result may have no end",
                f"compare products (`a * 10 > b * 8` in place of `a / b > 0.8`), or {USE_OPA}",
            )
            return
        for operand in operands:
            if "Number" in operand and not exact(_value(self._text(operand["Number"]["span"]))):
                self._findings.add(
                    place,
                    f"with {self._text(operand['Number']['span'])} a sum or product may differ from OPA's",
                    f"count in whole numbers (cents, millicores), or {USE_OPA}",
                )
                return
        numbers = [_value(self._text(operand["Number"]["span"])) for operand in operands if "Number" in operand]
        if any(isinstance(number, float) for number in numbers) and any(abs(n) >= EXACT_BOUND for n in numbers):
            self._findings.add(
                place,
                "a fraction and a large number are not added as OPA adds them",
                f"count in whole numbers, or {USE_OPA}",
            )
        if not all(map(self._is_whole, operands)):
            self._may_be_inexact(place)

    def _may_be_inexact(self, place: RulePlace) -> None:
        if self._findings.inexact is None:
            self._findings.inexact = place

    def _is_whole(self, operand: Mapping[str, Any]) -> bool:
        if "Number" in operand:
            return self._text(operand["Number"]["span"]).isdigit()
        if "Call" in operand:
            return path_of(operand["Call"]["fcn"]) in _WHOLE
        if "ArithExpr" in operand:
            inner = operand["ArithExpr"]
            return self._is_whole(inner["lhs"]) and self._is_whole(inner["rhs"])
        return False

    def _is_set(self, operand: Mapping[str, Any]) -> bool:
        if "Set" in operand or "SetCompr" in operand:
            return True
        if "BinExpr" in operand:  # & and |
            return True
        if "ArithExpr" in operand:
            return self._is_set(operand["ArithExpr"]["lhs"]) or self._is_set(operand["ArithExpr"]["rhs"])
        return path_of(operand).rpartition(".")[2] in self._sets

    def _set_names(self, node: Any) -> Iterator[str]:
        """What is assigned a set anywhere in the module, and the rules that are sets."""
        if isinstance(node, list):
            for item in node:
                yield from self._set_names(item)
        elif isinstance(node, dict):
            head = node.get("head") or {}
            if "Set" in head:
                yield path_of(head["Set"]["refr"]).rpartition(".")[2]
            elif "Compr" in head and isinstance(head["Compr"].get("assign"), dict):
                value = head["Compr"]["assign"]["value"]
                if "Set" in value or "SetCompr" in value:
                    yield path_of(head["Compr"]["refr"]).rpartition(".")[2]
            if "AssignExpr" in node and {"Set", "SetCompr"} & set(node["AssignExpr"]["rhs"]):
                yield path_of(node["AssignExpr"]["lhs"])
            for name, inner in node.items():
                if name not in {"span", "field"}:
                    yield from self._set_names(inner)

    def _string(self, text: Mapping[str, Any]) -> None:
        if _SURROGATES.search(self._text(text["span"])):
            self._findings.add(
                self.place(text["span"]),
                "a character written as two `\\u` escapes is counted as two by the embedded engine",
                f"write the character itself, or {USE_OPA}",
            )

    def _comparison(self, expression: Mapping[str, Any]) -> None:
        operands = (expression["lhs"], expression["rhs"])
        if expression["op"] not in {"Eq", "Ne"} and any(map(self._is_set, operands)):
            self._findings.add(
                self.place(expression["span"]),
                "the order of sets is not OPA's",
                f"compare their sizes with count, or subtract one from the other, or {USE_OPA}",
            )

    def _negation(self, literal: Mapping[str, Any]) -> None:
        if "Set" in literal["expr"]:
            self._findings.add(
                self.place(literal["span"]),
                "`not { … }` is not supported by the embedded engine",
                f"give the body a name (`found if {{ … }}`) and write `not found`, or {USE_OPA}",
            )

    def _value(self, membership: Mapping[str, Any]) -> None:
        """An index that is a name may iterate, which it would not in a comprehension of its own."""
        if any(_has_named_index(membership[part]) for part in ("value", "collection")):
            self._findings.add(
                self.place(membership["span"]),
                "`x in xs` as a value, with a name in brackets, may give another result than OPA",
                f"give it a name before (`x := ys[i]`), or {USE_OPA}",
            )

    def _beside_negation(self, changed: Mapping[str, Any]) -> None:
        """What stands behind `with` is copied to each operand, in one line (see `bondstone.rego.negations`)."""
        if "\n" in self._text(changed["span"]) and any(
            f'"{kind}"' in json.dumps(changed) for kind in COMPREHENSIONS
        ):
            self._findings.add(
                self.place(changed["span"]),
                "a comprehension of several lines behind `with` of a negation is not supported here",
                f"give it a name in a line of its own, before the `not`, or {USE_OPA}",
            )

    def _membership(self, expression: Mapping[str, Any]) -> None:
        if expression.get("key") is not None:
            self._findings.add(
                self.place(expression["span"]),
                "`k, v in xs` as a condition may give another result than OPA for sets",
                f"write `xs[k] == v`, or {USE_OPA}",
            )


_CHECKS: Final = {
    "Call": _Module._call,  # noqa: SLF001 - a table of its own methods
    "Number": _Module._number,  # noqa: SLF001
    "ArithExpr": _Module._arithmetic,  # noqa: SLF001
    "String": _Module._string,  # noqa: SLF001
    "BoolExpr": _Module._comparison,  # noqa: SLF001
    "NotExpr": _Module._negation,  # noqa: SLF001
    "Membership": _Module._membership,  # noqa: SLF001
}
