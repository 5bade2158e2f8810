"""Policy modules: read from a directory, looked at before they are published, found again by their rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import NotFound, PolicyInvalid, Problem
from bondstone.policy import data_files
from bondstone.policy.tokens import Token, statements
from bondstone.rego.choice import engine
from bondstone.rego.engine import FORBIDDEN, Question

Origin = Literal["organisation", "promise"]
ORIGINS: Final[tuple[Origin, ...]] = ("organisation", "promise")

MAX_MODULES: Final = 200
MAX_MODULE_BYTES: Final = 256 * 1024
MAX_TOTAL_BYTES: Final = 2 * 1024 * 1024

NEEDS_SECRETS: Final = "# bondstone: needs-secrets"
"""A line in any module of a set: its policies see what is secret in plans, which is masked otherwise."""

_DIRECTIVE: Final = re.compile(r"^[ \t]*#[ \t]*bondstone:.*$", re.MULTILINE | re.IGNORECASE)
_VERDICT: Final = re.compile(r"(deny|violation|warn|approval)(_[a-zA-Z0-9_]+)?")
_EXCEPTION: Final = "exception"
_TEST: Final = re.compile(r"(todo_)?test_\w+")
_LEVELS: Final = {"deny": "deny", "violation": "deny", "warn": "warn", "approval": "approval"}


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule that decides: `deny` of package `main`."""

    package: tuple[str, ...]
    name: str

    @property
    def level(self) -> str:
        """What its messages mean: `deny`, `approval` or `warn`."""
        return _LEVELS[self.name.split("_", 1)[0]]

    @property
    def suffix(self) -> str:
        """What `exception` rules of its package call it: `root` of `deny_root`, nothing of `deny`."""
        return self.name.partition("_")[2]

    @property
    def query(self) -> str:
        """The Rego that asks for its value."""
        return query((*self.package, self.name))

    def __str__(self) -> str:
        return ".".join((*self.package, self.name))


@dataclass(frozen=True)
class Module:
    """One Rego file, or one file of data beside them.

    Args:
        name: Its path inside the policy directory; messages name it.
        source: Its text.
        origin: Whose it is. The organisation's and a promise's are evaluated apart, so that neither can change
            what the other's rules see.
    """

    name: str
    source: str
    origin: Origin = "organisation"
    folder: str = ""
    """The start of `name` that says where the policy directory is; data lies below what comes after."""

    @property
    def is_data(self) -> bool:
        """Whether it is JSON or YAML."""
        return self.name.endswith(data_files.SUFFIXES)

    @property
    def is_test(self) -> bool:
        """Whether it is its author's own: never published, asked by `bond policy test`."""
        return self.name.endswith("_test.rego")

    @property
    def path_in_folder(self) -> str:
        """Its path inside the policy directory."""
        return self.name.removeprefix(f"{self.folder}/") if self.folder else self.name

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
        """What its rules are called."""
        return frozenset(_names(self.statements))

    @property
    def rules(self) -> list[PolicyRule]:
        """Its rules that decide, by the names conftest gives them, and `approval`."""
        if self.is_data:
            return []
        return [PolicyRule(self.package, name) for name in sorted(self.names) if _VERDICT.fullmatch(name)]

    @property
    def has_exceptions(self) -> bool:
        """Whether it has rules `exception`, which switch other rules of its package off."""
        return not self.is_data and _EXCEPTION in self.names

    @cached_property
    def needs_secrets(self) -> bool:
        """Whether it says that the policies of its set need the secret values of plans."""
        return not self.is_data and NEEDS_SECRETS in (text.strip() for text in _DIRECTIVE.findall(self.source))

    @property
    def tests(self) -> list[str]:
        """Names of its `test_` and `todo_test_` rules."""
        return [] if self.is_data else sorted(name for name in self.names if _TEST.fullmatch(name))


def query(path: Sequence[str]) -> str:
    """The Rego that asks for the value at a path of `data`."""
    return "".join(["data", *(f"[{json.dumps(part)}]" for part in path)])


def question(modules: Sequence[Module], queries: Sequence[str] = ()) -> Question:
    """Modules and queries as engines take them.

    Raises:
        DataInvalid: a data file cannot be used.
    """
    return Question(
        modules=tuple((module.name, module.source) for module in modules if not module.is_data),
        queries=tuple(queries),
        data=tuple(
            data_files.as_json(module.path_in_folder, module.source) for module in modules if module.is_data
        ),
    )


def load_modules(directory: Path, origin: Origin = "organisation", *, tests: bool = False) -> list[Module]:
    """Read every policy and data file under a directory, in order of name.

    Hidden files and folders are left out.

    Args:
        directory: The folder.
        origin: Whose they are.
        tests: Read `*_test.rego`, too, which are their authors' own.

    Raises:
        NotFound: when there is no such directory.
        PolicyInvalid: when a file is too large, not UTF-8, or a link, or there are too many.
    """
    if not directory.is_dir():
        raise NotFound(f"there is no directory {directory}", hint="name the directory with your *.rego files")
    suffixes = {".rego", *data_files.SUFFIXES}
    paths = sorted(
        path for path in directory.rglob("*") if path.suffix in suffixes and not _hidden(path, directory)
    )
    modules = [
        module
        for path in paths
        if not (module := Module(path.relative_to(directory).as_posix(), "", origin)).is_test or tests
    ]
    if len(modules) > MAX_MODULES:
        raise PolicyInvalid(f"{len(modules)} policy files, and {MAX_MODULES} are allowed", where=str(directory))
    modules = [replace(module, source=_read(directory / module.name)) for module in modules]
    if sum(len(module.source) for module in modules) > MAX_TOTAL_BYTES:
        raise PolicyInvalid(f"the policies are larger than {MAX_TOTAL_BYTES} bytes", where=str(directory))
    return modules


def modules_digest(modules: Iterable[Module]) -> str:
    """sha256 over names, origins and sources: equal for equal policies, in whatever order they come."""
    return digest(canonical(sorted([module.origin, module.name, module.source] for module in modules)))


def check_syntax(modules: Sequence[Module]) -> list[Problem]:
    """What must be mended before the modules can decide anything; each problem with file, line and column.

    Beside what the engine refuses: rules whose result is no set (`deny[msg] if { … }` makes an object in Rego v1),
    built-in functions that reach outside, and data files that cannot be merged.
    """
    problems = [problem for module in modules if not module.is_data for problem in _look(module)]
    for origin in ORIGINS:
        of_origin = [module for module in modules if module.origin == origin]
        rules = {
            (*module.package, name): module.name
            for module in of_origin
            if not module.is_data
            for name in module.names
        }
        data = [(module.path_in_folder, module.source) for module in of_origin if module.is_data]
        faults = list(data_files.problems(data, rules))
        if not faults and of_origin and not problems:
            faults = engine().check(question(of_origin))
        problems += faults
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
    if all(module.is_data for module in modules):
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


def _hidden(path: Path, directory: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(directory).parts)


def _names(token_lists: list[list[Token]]) -> Iterator[str]:
    for statement in token_lists:
        match [token.text for token in statement]:
            case ["package" | "import", *_]:
                pass
            case ["default", name, *_] | [name, *_]:
                yield name


def _look(module: Module) -> Iterator[Problem]:
    for match in _DIRECTIVE.finditer(module.source):
        if match.group().strip() != NEEDS_SECRETS:
            line = module.source.count("\n", 0, match.start()) + 1
            message = f"{match.group().strip()[:80]!r} is not an instruction"
            hint = f"write `{NEEDS_SECRETS}`, or begin the comment otherwise"
            yield Problem(message=message, file=module.name, line=line, column=1, hint=hint)
    if not module.package:
        yield Problem(message="no package", file=module.name, line=1, column=1, hint="begin with `package main`")
    for statement in module.statements:
        if statement[0].text in {"package", "import"}:
            continue
        if not module.is_test:
            yield from _forbidden_calls(module.name, statement)
        yield from _objects(module.name, statement)


def _forbidden_calls(file: str, statement: list[Token]) -> Iterator[Problem]:
    for index, token in enumerate(statement[:-2]):
        before = statement[index - 1].text if index else ""
        name = "".join(part.text for part in statement[index : index + 3])
        if token.kind == "name" and before != "." and name in FORBIDDEN:
            yield _problem(file, token, f"{name} may not be used", FORBIDDEN[name])


def _objects(file: str, statement: list[Token]) -> Iterator[Problem]:
    """`deny[msg] if { … }`: in Rego v1 an object, which decides nothing."""
    texts = [token.text for token in statement]
    if _VERDICT.fullmatch(texts[0]) and texts[1:2] == ["["] and "if" in texts:
        name = texts[0]
        message = "a rule that is an object, which decides nothing: syntax from before Rego v1"
        yield _problem(file, statement[0], message, f"write `{name} contains msg if {{ … }}`")


def _problem(file: str, token: Token, message: str, hint: str = "") -> Problem:
    return Problem(message=message, file=file, line=token.line, column=token.column, hint=hint)
