"""Policy modules: read from a directory, looked at before they are published, found again by their rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import NotFound, PolicyInvalid, Problem
from bondstone.policy.engine import ENGINE
from bondstone.policy.tokens import KEYWORDS, Token, statements

Origin = Literal["organisation", "promise"]

MAX_MODULES: Final = 200
MAX_MODULE_BYTES: Final = 256 * 1024
MAX_TOTAL_BYTES: Final = 2 * 1024 * 1024

FORBIDDEN: Final = {
    "http.send": "a decision must follow from its recorded input alone, so policies cannot call out",
    "net.lookup_ip_addr": "a decision must follow from its recorded input alone, so policies cannot call out",
    "opa.runtime": "it would show the environment of the process that runs Bondstone",
}
"""Built-in functions that no policy may call, and why."""

_VERDICT: Final = re.compile(r"(deny|violation|warn|approval)(_[a-zA-Z0-9_]+)?")
_LEVELS: Final = {"deny": "deny", "violation": "deny", "warn": "warn", "approval": "approval"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that decides: `deny` of package `main`."""

    package: tuple[str, ...]
    name: str

    @property
    def level(self) -> str:
        """What its messages mean: `deny`, `approval` or `warn`."""
        return _LEVELS[self.name.split("_", 1)[0]]

    @property
    def query(self) -> str:
        """The Rego that asks for its value."""
        return "".join(["data", *(f"[{json.dumps(part)}]" for part in (*self.package, self.name))])

    def __str__(self) -> str:
        return ".".join((*self.package, self.name))


@dataclass(frozen=True)
class Module:
    """One Rego file.

    Args:
        name: Its path inside the policy directory; messages name it.
        source: Its text.
        origin: Whose it is. The organisation's and a promise's are evaluated apart, so that neither can change
            what the other's rules see.
    """

    name: str
    source: str
    origin: Origin = "organisation"

    @cached_property
    def statements(self) -> list[list[Token]]:
        """Its tokens by statement."""
        return statements(self.source)

    @cached_property
    def package(self) -> tuple[str, ...]:
        """The parts of its package's name; empty when it has none."""
        for statement in self.statements:
            if statement[0].text == "package":
                parts = (token for token in statement[1:] if token.kind in {"name", "string"})
                return tuple(token.text.strip('"`') for token in parts)
        return ()

    @cached_property
    def names(self) -> frozenset[str]:
        """What its imports and rules are called."""
        return frozenset(_names(self.statements))

    @property
    def rules(self) -> list[Rule]:
        """Its rules that decide, by the names conftest gives them, and `approval`."""
        return [Rule(self.package, name) for name in sorted(self.names) if _VERDICT.fullmatch(name)]


def load_modules(directory: Path, origin: Origin = "organisation") -> list[Module]:
    """Read every `*.rego` under a directory, in order of name; `*_test.rego` are their authors' own and left out.

    Raises:
        NotFound: when there is no such directory.
        PolicyInvalid: when a file is too large, not UTF-8, or a link, or there are too many.
    """
    if not directory.is_dir():
        raise NotFound(f"there is no directory {directory}", hint="name the directory with your *.rego files")
    paths = sorted(path for path in directory.rglob("*.rego") if not path.name.endswith("_test.rego"))
    if len(paths) > MAX_MODULES:
        raise PolicyInvalid(f"{len(paths)} policy files, and {MAX_MODULES} are allowed", where=str(directory))
    modules = [Module(path.relative_to(directory).as_posix(), _read(path), origin) for path in paths]
    if sum(len(module.source) for module in modules) > MAX_TOTAL_BYTES:
        raise PolicyInvalid(f"the policies are larger than {MAX_TOTAL_BYTES} bytes", where=str(directory))
    return modules


def modules_digest(modules: Iterable[Module]) -> str:
    """sha256 over names, origins and sources: equal for equal policies, in whatever order they come."""
    return digest(canonical(sorted([module.origin, module.name, module.source] for module in modules)))


def check_syntax(modules: Sequence[Module]) -> list[Problem]:
    """What must be mended before the modules can decide anything; each problem with file, line and column.

    Beside what the engine itself refuses, three things that it would take and answer wrongly: rules in the syntax
    before Rego v1 (`deny[msg] { … }` gives the wrong kind of result), names that nothing defines (such a rule
    never fires), and built-in functions that reach outside.
    """
    names = {module.package: frozenset[str]() for module in modules}
    for module in modules:
        names[module.package] |= module.names
    problems = [problem for module in modules for problem in _look(module, names[module.package])]
    if not problems:
        problems = _compile(modules)
    return problems


def require_valid(modules: Sequence[Module], where: str = "") -> None:
    """Raise `PolicyInvalid` with every problem that `check_syntax` finds."""
    problems = check_syntax(modules)
    if problems:
        raise PolicyInvalid("the policies cannot be used as they are", where=where, problems=problems)


def load_valid(directory: Path) -> list[Module]:
    """The modules of a directory, that may be put in force.

    Raises:
        NotFound: when there is no such directory.
        PolicyInvalid: with every problem, or when there is no module at all.
    """
    modules = load_modules(directory)
    if not modules:
        raise PolicyInvalid("there is no *.rego file", where=str(directory))
    require_valid(modules, where=str(directory))
    return modules


def _read(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise PolicyInvalid("a policy has to be a regular file", where=str(path))
    if path.stat().st_size > MAX_MODULE_BYTES:
        raise PolicyInvalid(f"a policy file may have {MAX_MODULE_BYTES} bytes", where=str(path))
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PolicyInvalid(f"the file is not UTF-8: {error.reason}", where=str(path)) from error


def _names(found: list[list[Token]]) -> Iterator[str]:
    for statement in found:
        match [token.text for token in statement]:
            case ["package", *_]:
                pass
            case ["import", *path]:
                yield path[-1].strip('"`')
            case ["default", name, *_] | [name, *_]:
                yield name


def _look(module: Module, names: frozenset[str]) -> Iterator[Problem]:
    if not module.package:
        yield Problem(message="no package", file=module.name, line=1, column=1, hint="begin with `package main`")
    for statement in module.statements:
        if statement[0].text in {"package", "import"}:
            continue
        yield from _forbidden_calls(module.name, statement)
        old = _old_syntax(statement)
        if old is not None:
            yield old.changed(file=module.name)
        else:
            yield from _undefined_names(module.name, statement, names)


def _problem(file: str, token: Token, message: str, hint: str = "") -> Problem:
    return Problem(message=message, file=file, line=token.line, column=token.column, hint=hint)


def _forbidden_calls(file: str, statement: list[Token]) -> Iterator[Problem]:
    for index, token in enumerate(statement[:-2]):
        before = statement[index - 1].text if index else ""
        name = "".join(part.text for part in statement[index : index + 3])
        if token.kind == "name" and before != "." and name in FORBIDDEN:
            yield _problem(file, token, f"{name} may not be used", FORBIDDEN[name])


def _old_syntax(statement: list[Token]) -> Problem | None:
    name, second = statement[0], statement[1] if len(statement) > 1 else None
    if _VERDICT.fullmatch(name.text) and second is not None and second.text == "[":
        return _problem("", name, "syntax from before Rego v1", f"write `{name.text} contains msg if {{ … }}`")
    for token, before in zip(statement[1:], statement, strict=False):
        if token.depth:
            continue
        if token.text == "if":
            return None
        if token.text == "{" and _ends_term(before):
            return _problem(
                "", token, "a rule body without `if`: syntax from before Rego v1", "write `… if { … }`"
            )
    return None


def _ends_term(token: Token) -> bool:
    if token.kind == "name":
        return token.text not in KEYWORDS - {"true", "false", "null", "else"}
    return token.kind in {"string", "number"} or token.text in {")", "]", "}"}


def _undefined_names(file: str, statement: list[Token], names: frozenset[str]) -> Iterator[Problem]:
    """Names that occur once in a rule, in a place that cannot give them a value."""
    counts: dict[str, int] = {}
    for token in statement:
        if token.kind == "name":
            counts[token.text] = counts.get(token.text, 0) + 1
    declaring = False
    body = next((i for i, token in enumerate(statement) if token.text in {"if", ":=", "contains"}), len(statement))
    for index, token in enumerate(statement):
        before = statement[index - 1].text if index else ""
        after = statement[index + 1].text if index + 1 < len(statement) else ""
        if token.text in {"some", "every"}:
            declaring = True
        elif declaring and (token.text == "in" or token.line != statement[index - 1].line):
            declaring = False
        if (
            token.kind == "name"
            and counts[token.text] == 1
            and token.text not in KEYWORDS | names
            and not token.text.startswith("_")
            and not declaring
            and before != "."
            and after not in {":=", "="}
            and not _is_call(statement, index)
            and before != "="
            and token.inside != "["
            and not (token.inside == "(" and index < body)
        ):
            yield _problem(
                file,
                token,
                f"nothing gives {token.text!r} a value, so this rule could never hold",
                "is it misspelt? a text needs quotes",
            )


def _is_call(statement: list[Token], index: int) -> bool:
    """Whether `count(` or `json.marshal(` begins here."""
    while index + 2 < len(statement) and statement[index + 1].text == ".":
        index += 2
    return index + 1 < len(statement) and statement[index + 1].text == "("


def _compile(modules: Sequence[Module]) -> list[Problem]:
    """Ask the engine; the organisation's and the promise's modules apart, as they are evaluated."""
    problems: list[Problem] = []
    for origin in ("organisation", "promise"):
        own = [module for module in modules if module.origin == origin]
        rules = sorted({rule for module in own for rule in module.rules}, key=str)
        if own:
            found = ENGINE.check([(module.name, module.source) for module in own], [rule.query for rule in rules])
            problems += [_explained(problem) if problem.file else _located(problem, own) for problem in found]
    return problems


def _explained(problem: Problem) -> Problem:
    if problem.message == "Invalid collection":
        # Valid Rego, but rego-cpp 1.5.2 does not parse it.
        hint = "this engine does not take `some k, v in xs` inside [ ]: write `v := xs[k]`"
        return problem.changed(hint=hint)
    return problem


def _located(problem: Problem, modules: Iterable[Module]) -> Problem:
    """The engine names no place for an unknown function: the first call of it."""
    name = problem.message.removeprefix("Function not found: ").split(".")
    for module in modules:
        for statement in module.statements:
            for index, token in enumerate(statement):
                chain = [part.text for part in statement[index : index + 2 * len(name) : 2]]
                if chain[: len(name)] == name and token.kind == "name" and _is_call(statement, index):
                    return problem.changed(
                        file=module.name,
                        line=token.line,
                        column=token.column,
                    )
    return problem
