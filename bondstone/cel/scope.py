"""Checking an expression against the names and types it will find."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bondstone.base.errors import ExpressionInvalid
from bondstone.cel.environment import cel_type, environment, library, type_name
from bondstone.cel.syntax import ROOTS, Chain, Parsed, bound_name, parse, place_of
from bondstone.cel.words import OVERLOAD, TAKES_NULL, Fault, compile_faults, errors_of


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a check of one expression found."""

    type: str
    """The CEL type of the result, without its parameters: `string`, `list`; `dyn` when there are faults."""
    references: frozenset[str]
    faults: tuple[Fault, ...] = ()


class VariableScope:
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
            parsed = parse(expression)
        except ExpressionInvalid as error:
            return Compiled("dyn", frozenset(), (Fault(error.message, hint=error.hint),))
        chains = [chain for chain in parsed.chains if chain.names and chain.names[0] in self._roots]
        references = frozenset(chain.path for chain in chains)
        faults = [fault for chain in chains if (fault := self._chain_fault(expression, chain))]
        faults += self._member_faults(expression, parsed.chains)
        if faults:
            return Compiled("dyn", references, tuple(faults))
        if self._env is None:
            self._env = environment({name: cel_type(text) for name, text in self.types.items()})
        try:
            program = self._env.compile(parsed.text)
        except RuntimeError as error:
            return Compiled("dyn", references, tuple(compile_faults(str(error), parsed, self.types)))
        faults = self._null_faults(expression, parsed)
        return Compiled("dyn" if faults else type_name(program.return_type()), references, tuple(faults))

    def nullable(self, path: str) -> str:
        """The declared name that a path is read from, when it may be null; else empty."""
        bound = bound_name(tuple(path.split(".")), self.types)
        return bound if bound and self.types[bound].endswith("?") else ""

    def _null_faults(self, expression: str, parsed: Parsed) -> list[Fault]:
        """What fails when an input that may be left out is: the checker lets text-or-null pass as text.

        An expression that speaks of null is trusted to know what it does.
        """
        names = sorted({name for chain in parsed.chains if chain.names and (name := self.nullable(chain.path))})
        if not names or parsed.whole or "null" in expression:
            return []
        others = {name: library().Type.DYN for name in self.types if name not in names}
        try:
            environment({**others, **dict.fromkeys(names, library().Type.NULL)}).compile(parsed.text)
        except RuntimeError as error:
            for line, column, message in errors_of(str(error), parsed):
                match = OVERLOAD.match(message)
                if match is None or match[1] not in TAKES_NULL:
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
        """Keys that the maps of a list do not have, inside `list.exists(c, …)` and the like."""
        for name, known in self.members.items():
            macro = re.compile(rf"{re.escape(name)}\s*\.\s*\w+\s*\(\s*([A-Za-z_]\w*)\s*,")
            variables = set(macro.findall(expression))
            for chain in chains:
                variable, *rest = chain.names or ("",)
                if not rest or variable not in variables or rest[0] in known:
                    continue
                line, column = place_of(expression, chain.start)
                close = difflib.get_close_matches(rest[0], known, n=1)
                hint = f"did you mean `{variable}.{close[0]}`?" if close else "there is " + ", ".join(known)
                yield Fault(f"there is no `{chain.path}`", line, column, hint)

    def _chain_fault(self, expression: str, chain: Chain) -> Fault | None:
        line, column = place_of(expression, chain.start)
        bound = bound_name(chain.names, self.types)
        if bound is None:
            if (refused := bound_name(chain.names, self.refused)) is not None:
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
        names = [name for name in self.types if not name.endswith(".outputs")]
        close = difflib.get_close_matches(path, names, n=1, cutoff=0.6)
        if close:
            return f"did you mean `{close[0]}`?"
        head = path.rpartition(".")[0]
        siblings = sorted(name for name in self.types if name.rpartition(".")[0] == head)
        siblings = siblings or sorted(name for name in self.types if name.startswith(path.partition(".")[0] + "."))
        if siblings:
            return "there is " + ", ".join(siblings[:8]) + (", …" if len(siblings) > 8 else "")  # noqa: PLR2004
        roots = sorted({name.partition(".")[0] for name in self.types})
        return "paths here begin with " + ", ".join(roots) if roots else ""
