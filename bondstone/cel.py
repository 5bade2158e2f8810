"""CEL, as Bondstone speaks it: the one module that touches `cel-expr-python`.

What was found out about the library (0.1.3), and what is done about it:

- A variable may have a dotted name, and the longest declared name wins. `steps.my-db.outputs.x` reads as a
  subtraction and `inputs.in` as an operator, unless such a name is quoted with backticks: done here, unseen.
- Errors of evaluation come back as a value of type ERROR whose text may repeat values: only known, value-free
  words are passed on.
- Wrapper types (`google.protobuf.StringValue`) are right for the checker (text or null) but evaluation refuses
  Python values for them: so the checker uses them, and evaluation declares what is referenced as DYN.
- `has(inputs.size)` on a dotted variable returns the variable's value, not a bool: refused in words.
- Maps come back in no order: keys are sorted. Integers are 64 bits. Evaluation stops after 10,000 iterations.
- Compiling costs 45 µs and an environment 30 µs: both are cached by expression and the names it uses.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from bondstone.errors import ExpressionInvalid

type_ = type  # `Scope.compile` has a field of that name

MAX_EXPRESSION: Final = 2048
"""Most characters of one expression."""
MAX_SIZE: Final = 1 << 20
"""Most characters that the values an expression uses, or its result, may hold."""
MAX_NODES: Final = 100_000
"""Most single values that they may hold."""
MAX_GROWTH: Final = 100
"""How many times over nested and chained `map` may copy a value."""
MAX_WORK: Final = 100_000_000
"""Most of (values x characters x growth) that an expression with `map` may be given."""
INT64: Final = range(-(2**63), 2**63)

ROOTS: Final = ("inputs", "steps", "service", "context", "outputs", "plan")
"""What every path of ours begins with."""

Variables = Mapping[str, Any]
"""Flat dotted names to JSON values: `{"inputs.size": "small"}`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an expression, and where in it (line and column from 1)."""

    message: str
    line: int = 1
    column: int = 1
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a check of one expression found."""

    type: str
    """The CEL type of the result, without its parameters: `string`, `list`; `dyn` when there are faults."""
    references: frozenset[str]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """One dotted path in an expression: `inputs.network.cidr`."""

    names: tuple[str, ...]
    start: int
    end: int
    """Where the path ends, without a called method."""
    called: str = ""
    """The method or function that the path ends in; `names` is without it."""
    inside_has: bool = False

    @property
    def path(self) -> str:
        """The path as written, dotted."""
        return ".".join(self.names)


class Scope:
    """The names an expression may use, each with its type.

    Args:
        types: Dotted name to type: `string`, `int`, `double`, `bool`, `dyn`, `list<string>`,
            `map<string, dyn>`; `object` for a map whose members are all declared too; a `?` at the end where the
            value may be null.
        refused: Dotted names that exist elsewhere, each with what to do about it here.
        members: For a list of maps, the keys that its maps have.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        refused: Mapping[str, str] | None = None,
        members: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.types = dict(types)
        self.refused = dict(refused or {})
        self.members = dict(members or {})
        self._roots = {name.partition(".")[0] for name in self.types} | set(ROOTS)
        self._env: Any = None

    def compile(self, expression: str) -> Compiled:
        """Check one expression: size, syntax, every path, every type."""
        try:
            parsed = _parse(expression)
        except ExpressionInvalid as error:
            return Compiled("dyn", frozenset(), (Fault(error.message, hint=error.hint),))
        chains = [chain for chain in parsed.chains if chain.names and chain.names[0] in self._roots]
        references = frozenset(chain.path for chain in chains)
        faults = [fault for chain in chains if (fault := self._chain_fault(expression, chain))]
        faults += self._member_faults(expression, parsed.chains)
        if faults:
            return Compiled("dyn", references, tuple(faults))
        if self._env is None:
            self._env = _environment({name: _cel_type(text) for name, text in self.types.items()})
        try:
            program = self._env.compile(parsed.text)
        except RuntimeError as error:
            return Compiled("dyn", references, tuple(_compile_faults(str(error), parsed, self)))
        faults = self._null_faults(expression, parsed)
        return Compiled("dyn" if faults else _type_name(program.return_type()), references, tuple(faults))

    def nullable(self, path: str) -> str:
        """The declared name that a path is read from, when it may be null; else empty."""
        bound = _bound(tuple(path.split(".")), self.types)
        return bound if bound and self.types[bound].endswith("?") else ""

    def _null_faults(self, expression: str, parsed: _Parsed) -> list[Fault]:
        """What fails when an input that may be left out is: the checker lets text-or-null pass as text.

        An expression that speaks of null is trusted to know what it does.
        """
        names = sorted({name for chain in parsed.chains if chain.names and (name := self.nullable(chain.path))})
        if not names or parsed.whole or "null" in expression:
            return []
        others = {name: cel.Type.DYN for name in self.types if name not in names}
        try:
            _environment({**others, **dict.fromkeys(names, cel.Type.NULL)}).compile(parsed.text)
        except RuntimeError as error:
            for line, column, message in _errors(str(error), parsed):
                match = _OVERLOAD.match(message)
                if match is None or match[1] not in _TAKES_NULL:
                    return [
                        Fault(
                            f"this fails where `{names[0]}` is null",
                            line,
                            column,
                            f"give it a default, or choose: {names[0]} == null ? … : …",
                        )
                    ]
        return []

    def _member_faults(self, expression: str, chains: Iterable[Chain]) -> Iterator[Fault]:
        for name, known in self.members.items():
            macro = re.compile(rf"{re.escape(name)}\s*\.\s*\w+\s*\(\s*([A-Za-z_]\w*)\s*,")
            variables = set(macro.findall(expression))
            for chain in chains:
                if chain.names[:1] and chain.names[0] in variables and len(chain.names) > 1:
                    if chain.names[1] not in known:
                        line, column = _place(expression, chain.start)
                        close = difflib.get_close_matches(chain.names[1], known, n=1)
                        hint = (
                            f"did you mean `{chain.names[0]}.{close[0]}`?"
                            if close
                            else "there is " + ", ".join(known)
                        )
                        yield Fault(f"there is no `{chain.path}`", line, column, hint)

    def _chain_fault(self, expression: str, chain: Chain) -> Fault | None:
        line, column = _place(expression, chain.start)
        bound = _bound(chain.names, self.types)
        if bound is None:
            if (refused := _bound(chain.names, self.refused)) is not None:
                return Fault(f"`{chain.path}` cannot be used here", line, column, self.refused[refused])
            whole = any(name.startswith(f"{chain.path}.") for name in self.types)
            if whole:
                return Fault(
                    f"`{chain.path}` cannot be used as a whole",
                    line,
                    column,
                    "name the member: " + self._members(chain),
                )
            return Fault(f"there is no `{chain.path}`", line, column, self.suggest(chain.path))
        if chain.inside_has and bound == chain.path:
            return Fault(
                f"`has()` does not work on `{bound}`", line, column, f"compare with null: `{bound} != null`"
            )
        rest = len(chain.names) - bound.count(".") - 1
        if rest and self.types[bound].rstrip("?") == "object":
            return Fault(f"there is no `{chain.path}`", line, column, self.suggest(chain.path))
        return None

    def _members(self, chain: Chain) -> str:
        names = sorted({name for name in self.types if name.startswith(f"{chain.path}.")})
        return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")  # noqa: PLR2004 - what fits a line

    def suggest(self, path: str) -> str:
        """What the author may have meant by a path that is not there."""
        close = difflib.get_close_matches(path, self.types, n=1, cutoff=0.6)
        if close:
            return f"did you mean `{close[0]}`?"
        head = path.rpartition(".")[0]
        siblings = sorted(name for name in self.types if name.rpartition(".")[0] == head)
        siblings = siblings or sorted(name for name in self.types if name.startswith(path.partition(".")[0] + "."))
        if siblings:
            return "there is " + ", ".join(siblings[:8]) + (", …" if len(siblings) > 8 else "")  # noqa: PLR2004
        roots = sorted({name.partition(".")[0] for name in self.types})
        return "paths here begin with " + ", ".join(roots) if roots else ""


def references(expression: str) -> set[str]:
    """Every path of ours that an expression uses, as it is written: `{"inputs.size", "service.name"}`."""
    return {chain.path for chain in _parse(expression).chains if chain.names and chain.names[0] in ROOTS}


def evaluate(expression: str, variables: Variables) -> Any:
    """The JSON value of an expression.

    An output of a step that was skipped is null. The message of an error never repeats a value.

    Raises:
        ExpressionInvalid: when it does not compile, fails, or its values or result are too large.
    """
    parsed = _parse(expression)
    bindings = _bindings(parsed.chains, variables, expression)
    if parsed.whole and parsed.whole in bindings:
        _measure(bindings, expression)
        return _plain(bindings[parsed.whole], expression)
    nodes, size = _measure(bindings, expression)
    if parsed.growth > 1 and (nodes + len(expression)) * (size + len(expression)) * parsed.growth > MAX_WORK:
        raise ExpressionInvalid("the values are too large for an expression with map()", where=_short(expression))
    program = _program(parsed.text, tuple(sorted(bindings)), _short(expression))
    try:
        value = program.eval(data={name: _listed(value) for name, value in bindings.items()})
    except RuntimeError as error:
        raise ExpressionInvalid(_eval_words(str(error)), where=_short(expression)) from None
    if value.type() == cel.Type.ERROR:
        raise ExpressionInvalid(_eval_words(str(value.value())), where=_short(expression))
    return _plain(value.plain_value(), expression)


def _bindings(chains: Iterable[Chain], variables: Variables, expression: str) -> dict[str, Any]:
    """The variables that an expression uses, and only those."""
    bindings: dict[str, Any] = {}
    for chain in chains:
        bound = _bound(chain.names, variables)
        if bound is not None:
            if chain.inside_has and bound == chain.path:
                raise ExpressionInvalid(
                    f"`has()` does not work on `{bound}`",
                    where=_short(expression),
                    hint=f"write `{bound} != null`",
                )
            bindings[bound] = variables[bound]
        elif chain.names[:1] == ("steps",) and len(chain.names) > 3:  # noqa: PLR2004 - steps.ID.outputs.NAME
            bindings[".".join(chain.names[:4])] = None
        elif chain.names and chain.names[0] in ROOTS:
            raise ExpressionInvalid(f"there is no `{chain.path}`", where=_short(expression))
    return bindings


# Reading expressions -----------------------------------------------------------------------------------

_STRING = (
    r"(?:[rR][bB]?|[bB][rR])(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|\"[^\"\n]*\"|'[^'\n]*')"
    r"|[bB]?(?:\"\"\"(?:\\[\s\S]|[^\\])*?\"\"\"|'''(?:\\[\s\S]|[^\\])*?'''"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
)
_TOKEN = re.compile(
    rf"(?P<space>\s+|//[^\n]*)|(?P<string>{_STRING})|(?P<number>\d[\w.]*)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<quoted>`[^`\n]*`)|(?P<other>[\s\S])"
)
_STEP_ID = re.compile(r"[a-z][a-z0-9-]*(?=\s*\.)")
_OPERATOR_NAMES: Final = frozenset({"in", "true", "false", "null"})


@dataclass(frozen=True, slots=True)
class _Parsed:
    text: str
    """The expression as CEL reads it: names that need it are quoted."""
    chains: tuple[Chain, ...]
    inserted: tuple[int, ...]
    """Offsets in `text` of every backtick that was put in."""
    whole: str = ""
    """The path, when the expression is nothing but one path."""
    growth: int = 1


def tokens(text: str, start: int = 0) -> Iterator[tuple[str, str, int]]:
    """Kind, text and offset of each token of an expression; white space and comments are of kind `space`."""
    position = start
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:  # pragma: no cover - `other` matches anything
            return
        yield match.lastgroup, match.group(), position
        position = match.end()


@lru_cache(maxsize=4096)
def _parse(expression: str) -> _Parsed:
    if len(expression) > MAX_EXPRESSION:
        raise ExpressionInvalid(
            f"an expression may have {MAX_EXPRESSION} characters, this one has {len(expression)}",
            hint="move the logic into the module or chart that uses the value",
        )
    if not expression.strip():
        raise ExpressionInvalid("the expression is empty", hint="write a path, as in ${inputs.size}")
    parsed = _quoted(expression)
    growth = _growth(expression, parsed.chains)
    if growth > MAX_GROWTH:
        raise ExpressionInvalid("the expression copies values too many times", hint="use fewer nested map() calls")
    return replace(parsed, whole=_whole(expression, parsed.chains), growth=growth)


def _whole(expression: str, chains: tuple[Chain, ...]) -> str:
    only = chains[0] if len(chains) == 1 else None
    if only is None or only.called or expression[: only.start].strip() or expression[only.end :].strip():
        return ""
    return only.path


def _quoted(expression: str) -> _Parsed:
    """Find every path, and quote the names that CEL would misread."""
    out: list[str] = []
    inserted: list[int] = []
    chains: list[Chain] = []
    length = 0
    position = 0
    previous = ""
    has_depth = 0
    while position < len(expression):
        kind, text, _ = next(tokens(expression, position))
        if kind == "name" and previous != "." and text not in _OPERATOR_NAMES:
            chain, pieces = _chain(expression, position, inside_has=has_depth > 0)
            chains.append(chain)
            for piece, quote in pieces:
                if quote:
                    inserted += [length, length + len(piece) + 1]
                out.append(f"`{piece}`" if quote else piece)
                length += len(out[-1])
                position += len(piece)
            has_depth = 1 if chain.called == "has" and not chain.names else 0
            previous = "name"
            continue
        out.append(text)
        length += len(text)
        position += len(text)
        if kind != "space":
            previous = text
            if text != "(":
                has_depth = 0
    return _Parsed("".join(out), tuple(chains), tuple(inserted))


def _chain(expression: str, start: int, *, inside_has: bool) -> tuple[Chain, list[tuple[str, bool]]]:
    """Read the dotted path at `start`: the chain, and its text in pieces, each with whether to quote it."""
    pieces: list[tuple[str, bool]] = []
    names: list[str] = []
    ends: list[int] = []
    position = start
    while True:
        match = _TOKEN.match(expression, position)
        if match is None:
            break
        word = match.group()
        if names == ["steps"] and (step := _STEP_ID.match(expression, position)):
            word = step.group()
        quoted = word.startswith("`")
        if not quoted and match.lastgroup != "name":
            break
        names.append(word.strip("`"))
        pieces.append((word, bool(pieces) and not quoted and (word in _OPERATOR_NAMES or "-" in word)))
        position += len(word)
        ends.append(position)
        dot = re.compile(r"\s*\.\s*(?=[A-Za-z_`])").match(expression, position)
        if dot is None:
            break
        pieces.append((dot.group(), False))
        position = dot.end()
    if pieces and not pieces[-1][0].strip("`. \n\t"):  # a dot that no name follows
        pieces.pop()
    called = ""
    if re.compile(r"\s*\(").match(expression, ends[-1]):
        called = names.pop()
        ends.pop()
    end = ends[-1] if ends else start
    return Chain(tuple(names), start, end, called, inside_has=inside_has), pieces


def _growth(expression: str, chains: Iterable[Chain]) -> int:
    """How many times over the `map` macros may copy what they are given, at most."""
    growth = 1
    for variable in re.findall(r"\.\s*map\s*\(\s*([A-Za-z_]\w*)", expression):
        uses = sum(1 for chain in chains if chain.names[:1] == (variable,)) - 1
        growth *= max(2, uses)
    return growth


def _bound(names: tuple[str, ...], declared: Mapping[str, Any]) -> str | None:
    """The longest prefix of a path that is declared."""
    for length in range(len(names), 0, -1):
        name = ".".join(names[:length])
        if name in declared:
            return name
    return None


def _place(expression: str, offset: int) -> tuple[int, int]:
    before = expression[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _short(expression: str) -> str:
    text = " ".join(expression.split())
    return f"${{{text if len(text) <= 80 else text[:79] + '…'}}}"  # noqa: PLR2004 - fits a line


# Compiling ---------------------------------------------------------------------------------------------

_WRAPPERS: Final = {
    "string": "google.protobuf.StringValue",
    "int": "google.protobuf.Int64Value",
    "double": "google.protobuf.DoubleValue",
    "bool": "google.protobuf.BoolValue",
}
_KNOWN_TYPE = re.compile(r"[a-z]+(<[a-z<>, ]+>)?")


def _environment(variables: Mapping[str, Any]) -> Any:
    return cel.NewEnv(variables=dict(variables), functions=_functions())


@lru_cache(maxsize=1)
def _functions() -> list[Any]:
    """Text functions of our own: those of CEL's extension have no bound on what they make."""
    string, strings = cel.Type.STRING, cel.Type.List(cel.Type.STRING)

    def declare(name: str, takes: list[Any], gives: Any, call: Callable[..., Any]) -> Any:
        return cel.FunctionDecl(name, [cel.Overload(f"bond_{name}", gives, takes, True, call)])

    return [
        declare("lowerAscii", [string], string, str.lower),
        declare("upperAscii", [string], string, str.upper),
        declare("trim", [string], string, str.strip),
        declare("replace", [string, string, string], string, _replace),
        declare("split", [string, string], strings, _split),
        declare("join", [strings, string], string, _join),
    ]


def _replace(text: str, old: str, new: str) -> str:
    if len(text) + (text.count(old) * len(new)) > MAX_SIZE:
        raise ValueError(_TOO_LARGE)
    return text.replace(old, new)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _join(parts: list[str], separator: str) -> str:
    if sum(map(len, parts)) + len(parts) * len(separator) > MAX_SIZE:
        raise ValueError(_TOO_LARGE)
    return separator.join(parts)


def _cel_type(text: str) -> Any:
    name = text.replace("(", "<").replace(")", ">")
    nullable = name.endswith("?")
    name = name.rstrip("?")
    if nullable:
        return cel.Type(_WRAPPERS[name]) if name in _WRAPPERS else cel.Type.DYN
    if name == "object" or not _KNOWN_TYPE.fullmatch(name):
        return cel.Type.DYN
    try:
        return cel.Type(name)
    except (RuntimeError, ValueError):
        return cel.Type.DYN


def _type_name(kind: Any) -> str:
    """The short name of a type: `string` of STRING, `list` of LIST<STRING>."""
    return re.split(r"[<( ]", str(kind).lower())[0].removesuffix("_wrapper").removesuffix("_type")


@lru_cache(maxsize=4096)
def _program(text: str, names: tuple[str, ...], where: str) -> Any:
    try:
        return _environment(dict.fromkeys(names, cel.Type.DYN)).compile(text)
    except RuntimeError as error:
        fault = next(iter(_compile_faults(str(error), None, None)))
        raise ExpressionInvalid(fault.message, where=where, hint=fault.hint) from None


_TAKES_NULL: Final = frozenset({"_==_", "_!=_", "@in", "_in_", "_&&_", "_||_"})
_ERROR_LINE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)' \(in container ''\)")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")
_UNEXPECTED = re.compile(
    r"Syntax error: (?:mismatched|extraneous|no viable alternative at) input '(.*?)'(?: expecting .*)?$"
)
_FUNCTION_NAMES: Final = (
    "size", "string", "int", "uint", "double", "bool", "bytes", "timestamp", "duration", "matches", "startsWith",
    "endsWith", "contains", "exists", "exists_one", "all", "map", "filter", "has", "lowerAscii", "upperAscii",
    "trim", "replace", "split", "join",
)  # fmt: skip


def _compile_faults(text: str, parsed: _Parsed | None, scope: Scope | None) -> Iterator[Fault]:
    """The errors of the compiler in our words, with columns of the expression as it was written."""
    found = False
    for line, column, message in _errors(text, parsed):
        if found and "yntax" in message:
            continue  # the first syntax error is the one that helps
        found = True
        yield _fault(message, line, column, scope)
    if not found:
        deep = "recursion" in text
        yield Fault("the expression is nested too deeply" if deep else "the expression does not compile")


def _errors(text: str, parsed: _Parsed | None) -> Iterator[tuple[int, int, str]]:
    for line_text, column_text, message in _ERROR_LINE.findall(text):
        line, column = max(int(line_text), 1), max(int(column_text), 1)
        if parsed and line == 1:
            column -= sum(1 for offset in parsed.inserted if offset < column)
        yield line, max(column, 1), message


def _fault(message: str, line: int, column: int, scope: Scope | None) -> Fault:
    if match := _UNDECLARED.match(message):
        name = match[1]
        names = [*_FUNCTION_NAMES, *(scope.types if scope else ())]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "text is written in quotes: 'text'"
        return Fault(f"there is nothing named `{name}`", line, column, hint)
    if match := _OVERLOAD.match(message):
        operator, types = match[1], _readable_types(match[2])
        return Fault(
            f"{_operator(operator)} does not work on ({types})", line, column, _overload_hint(operator, types)
        )
    if match := _UNEXPECTED.match(message):
        if match[1] == "<EOF>":
            return Fault("the expression ends too early", line, column)
        return Fault(f"`{match[1]}` is not expected here", line, column)
    if "recursion" in message:
        return Fault("the expression is nested too deeply", line, column)
    return Fault(message.removeprefix("Syntax error: "), line, column)


def _operator(name: str) -> str:
    if name in {"_?_:_", "_[_]"}:
        return "`? :`" if name == "_?_:_" else "`[ ]`"
    return f"`{name.strip('_@') or name}`"


def _readable_types(text: str) -> str:
    text = re.sub(r"wrapper\((\w+)\)", r"\1 or null", text)
    return text.replace("null_type", "null")


def _overload_hint(operator: str, types: str) -> str:
    if operator == "_?_:_":
        return "the condition must be true or false, and both branches of one type"
    if "double" in types and "int" in types:
        return "write whole numbers as 2.0 beside a number, or convert with double(…)"
    if operator == "_+_" and "string" in types:
        return "turn the other side into text with string(…)"
    if operator in {"_==_", "_!=_"} and "null" in types:
        return "this value is never null: it is required or has a default"
    return ""


# Values ------------------------------------------------------------------------------------------------

_TOO_LARGE: Final = "the result is too large"
_NO_OVERLOAD = re.compile(r"No matching overloads found : (.+?)\((.*)\)$")


def _eval_words(text: str) -> str:
    """An error of evaluation in words that hold no value, only kinds of values."""
    if match := _NO_OVERLOAD.search(text):
        types = re.sub(r"[^a-z0-9_,]", "", match[2].lower()).replace("int64", "int").replace("null_type", "null")
        return f"{_operator(match[1])} does not work on ({types.replace(',', ', ')})"
    for sign, words in (
        ("divide by zero", "it divides by zero"),
        ("modulus by zero", "it divides by zero"),
        ("Index error", "an index is outside the list"),
        ("Key not found", "the map has no such key"),
        ("Iteration budget", "it takes too many iterations"),
        ("overflow", "a number is too large"),
        (_TOO_LARGE, _TOO_LARGE),
        ("invalid regular expression", "the regular expression is not valid"),
    ):
        if sign in text:
            return words
    return "it cannot be evaluated for these values"


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
            raise ExpressionInvalid("the values it uses are too large", where=_short(expression))
    return nodes, size


def _listed(value: Any) -> Any:
    """The value as the library takes it: lists for tuples, dicts for mappings, floats for huge integers."""
    if isinstance(value, Mapping):
        return {str(key): _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if type_(value) is int and value not in INT64:
        return float(value)
    return value


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
            raise ExpressionInvalid("the result is not a finite number", where=_short(expression))
        case list() | tuple():
            return [_as_json(item, expression) for item in value]
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise ExpressionInvalid("the keys of a map must be text", where=_short(expression))
            return {key: _as_json(value[key], expression) for key in sorted(value)}
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{value.total_seconds():g}s"
    raise ExpressionInvalid(
        f"the result is {type_(value).__name__}, which JSON does not have", where=_short(expression)
    )
