"""How an expression is written: its tokens, the paths in it, and what must be quoted before CEL reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from bondstone.base.errors import ExpressionInvalid

MAX_EXPRESSION: Final = 2048
"""Most characters of one expression."""


MAX_GROWTH: Final = 100
"""How many times over nested and chained `map` may copy a value."""


ROOTS: Final = ("inputs", "steps", "requires", "service", "context", "outputs", "plan")
"""What every path of ours begins with."""


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


_COPYING: Final = frozenset({"filter", "map", "transformList", "transformMap", "transformMapEntry"})
_MACROS: Final = _COPYING | {"all", "exists", "existsOne", "exists_one"}
_MULTIPLYING: Final = frozenset({"join", "replace"})
_MAKERS: Final = _MULTIPLYING | {"bytes", "lowerAscii", "split", "string", "trim", "upperAscii"}

_ENDS_OPERAND = re.compile(r"[\w)\]}'\"`]$")
_OPERATOR_NAMES: Final = frozenset({"in", "true", "false", "null"})


@dataclass(frozen=True, slots=True)
class ExpressionCost:
    """What an expression does that costs memory or time, counted in its text."""

    macros: int = 0
    """Calls that go through a list: nested ones multiply."""
    copies: bool = False
    """Some of them make a list."""
    makers: int = 0
    """Operators and calls that make a text or a list."""
    sums: int = 0
    """`+` of numbers, texts or lists: which, only the values tell."""
    multiplies: bool = False
    """Some of them make more than they are given."""
    splits: bool = False
    calls: int = 0
    """All calls."""
    elements: int = 0
    """Elements of the lists and maps that are written out."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """An expression that was read."""

    text: str
    """The expression as CEL reads it: names that need it are quoted."""
    chains: tuple[Chain, ...]
    inserted: tuple[int, ...]
    """Offsets in `text` of every backtick that was put in."""
    whole: str = ""
    """The path, when the expression is nothing but one path."""
    growth: int = 1
    use: ExpressionCost = ExpressionCost()


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
def parse(expression: str) -> Parsed:
    """Read an expression; raises `ExpressionInvalid` past the bounds."""
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
    return replace(parsed, whole=_whole(expression, parsed.chains), growth=growth, use=_use(expression))


def _whole(expression: str, chains: tuple[Chain, ...]) -> str:
    only = chains[0] if len(chains) == 1 else None
    if only is None or only.called or expression[: only.start].strip() or expression[only.end :].strip():
        return ""
    return only.path


def _quoted(expression: str) -> Parsed:
    """Find every path, and quote the names that CEL would misread."""
    out: list[str] = []
    inserted: list[int] = []
    chains: list[Chain] = []
    length = 0
    position = 0
    previous, before = "", ""
    has_depth = 0
    while position < len(expression):
        kind, text, _ = next(tokens(expression, position))
        member = (
            previous == "." and before != "in" and _ENDS_OPERAND.search(before)
        )  # else the dot is CEL's "from the root"
        if kind == "name" and not member and text not in _OPERATOR_NAMES:
            chain, pieces = _chain(expression, position, inside_has=has_depth > 0)
            chains.append(chain)
            for piece, quote in pieces:
                if quote:
                    inserted += [length, length + len(piece) + 1]
                out.append(f"`{piece}`" if quote else piece)
                length += len(out[-1])
                position += len(piece)
            has_depth = 1 if chain.called == "has" and not chain.names else 0
            previous, before = "name", previous
            continue
        out.append(text)
        length += len(text)
        position += len(text)
        if kind != "space":
            previous, before = text, previous
            if text != "(":
                has_depth = 0
    return Parsed("".join(out), tuple(chains), tuple(inserted))


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
        if names in (["steps"], ["requires"]) and (step := _STEP_ID.match(expression, position)):
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


def _use(expression: str) -> ExpressionCost:
    words = [(kind, text) for kind, text, _ in tokens(expression) if kind != "space"]
    called = [
        text
        for (kind, text), (_, after) in zip(words, [*words[1:], ("", "")], strict=True)
        if kind == "name" and after == "("
    ]
    signs = [text for kind, text in words if kind == "other"]
    return ExpressionCost(
        macros=sum(name in _MACROS for name in called),
        copies=any(name in _COPYING for name in called),
        makers=signs.count("+") + sum(name in _MAKERS for name in called),
        sums=signs.count("+"),
        multiplies=any(name in _MULTIPLYING for name in called),
        splits="split" in called,
        calls=len(called),
        elements=signs.count(",") + 1,
    )


def bound_name(names: tuple[str, ...], declared: Mapping[str, Any]) -> str | None:
    """The longest prefix of a path that is declared."""
    for length in range(len(names), 0, -1):
        name = ".".join(names[:length])
        if name in declared:
            return name
    return None


def place_of(expression: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of an offset."""
    before = expression[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def short(expression: str) -> str:
    """The expression on one line, as errors name it."""
    text = " ".join(expression.split())
    return f"${{{text if len(text) <= 80 else text[:79] + '…'}}}"  # noqa: PLR2004 - fits a line
