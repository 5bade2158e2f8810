"""What a module's files declare, read as Terraform reads them: overrides merged, values files counted.

HCL is parsed by HashiCorp's own parser (pygohcl), so that what it takes is what Terraform takes; its words and
places are those of a syntax error.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pygohcl

from bondstone.activities.terraform.workspace import is_test_file
from bondstone.base.errors import Problem

_PLACE: Final = re.compile(
    r"^(?:invalid HCL: )?\S*?:(?P<line>\d+),(?P<column>\d+)-[\d,]+: (?P<text>.*)$", re.DOTALL
)
_VALUES: Final = re.compile(r"(?:^terraform|\.auto)\.tfvars(?:\.json)?$")
_OVERRIDE: Final = re.compile(r"(?:^|_)override\.tf(?:\.json)?$")
_TEST_FOLDER: Final = "tests"
_TEST_BLOCKS: Final = frozenset(
    {
        "test",
        "run",
        "variables",
        "provider",
        "mock_provider",
        "override_resource",
        "override_data",
        "override_module",
    }
)


@dataclass(frozen=True, slots=True)
class Variable:
    """An input variable of a module."""

    name: str
    required: bool
    ephemeral: bool = False


@dataclass(slots=True)
class ModuleFiles:
    """What a module declares."""

    variables: dict[str, Variable] = field(default_factory=dict)
    outputs: dict[str, bool] = field(default_factory=dict)
    """Each with whether it is sensitive."""
    backends: list[str] = field(default_factory=list)
    """Kinds of its backend blocks, at most one in a module that works; `cloud` is one here."""
    values: frozenset[str] = frozenset()
    """Variables that its own `terraform.tfvars` and `*.auto.tfvars` give."""
    problems: list[Problem] = field(default_factory=list)


def is_module_file(name: str) -> bool:
    """Whether Terraform reads a file of this name as part of a module."""
    return name.endswith((".tf", ".tf.json"))


def read_module(promise: Path, module: str) -> ModuleFiles:
    """Read a module's files; files that do not parse are problems with their line and column.

    Args:
        promise: The promise's folder.
        module: The module's path in it.
    """
    files = _Files(promise / module, PurePosixPath(module))
    module_files = ModuleFiles()
    blocks: dict[str, dict[str, dict[str, Any]]] = {"variable": {}, "output": {}}
    names = sorted(filter(is_module_file, files.names), key=lambda name: (bool(_OVERRIDE.search(name)), name))
    for name in names:
        content = files.read(name)
        override = _OVERRIDE.search(name) is not None
        for kind, known in blocks.items():
            for label, body in _blocks(content, kind):
                if label in known and not override:
                    module_files.problems.append(
                        Problem(message=f"the {kind} {label!r} is declared twice", file=files.place(name))
                    )
                known[label] = {**known.get(label, {}), **body}
        module_files.backends += _backends(content)
    module_files.variables = {
        name: Variable(name, required="default" not in body, ephemeral=_is_true(body.get("ephemeral")))
        for name, body in blocks["variable"].items()
    }
    module_files.outputs = {name: _is_true(body.get("sensitive")) for name, body in blocks["output"].items()}
    module_files.values = frozenset(
        key for name in files.names if _VALUES.search(name) for key in files.read(name)
    )
    module_files.problems += [*files.problems, *_test_problems(files)]
    return module_files


def without_nulls(variables: dict[str, Any], promise: Path, module: str) -> dict[str, Any]:
    """The values for a module, null left out where the module has a value of its own.

    An optional input that nobody gave is null, and Terraform would take that in place of the default.

    Args:
        variables: As the section gives them.
        promise: The promise's folder.
        module: The module's path in it.
    """
    if None not in variables.values():
        return variables
    module_files = read_module(promise, module)
    optional = module_files.values | {item.name for item in module_files.variables.values() if not item.required}
    return {name: value for name, value in variables.items() if value is not None or name not in optional}


def modules_from_elsewhere(promise: Path, module: str) -> list[str]:
    """The sources of all modules that a module uses, directly or not, and that the promise does not bring.

    Args:
        promise: The promise's folder.
        module: The module's path in it.
    """
    sources: list[str] = []
    waiting, read = [PurePosixPath(module)], set[PurePosixPath]()
    while waiting:
        path = waiting.pop()
        if path in read:
            continue
        read.add(path)
        files = _Files(promise / path, path)
        for name in filter(is_module_file, files.names):
            for _, body in _blocks(files.read(name), "module"):
                source = body.get("source")
                if isinstance(source, str) and source.startswith(("./", "../")):
                    waiting.append(PurePosixPath(posixpath.normpath(path / source)))
                else:
                    sources.append(str(source))
    return sources


class _Files:
    """The files of a module, each parsed when it is asked for."""

    def __init__(self, folder: Path, path: PurePosixPath) -> None:
        self._folder = folder
        self._path = path
        self.problems: list[Problem] = []
        tests = [f"{_TEST_FOLDER}/{file.name}" for file in _files_in(folder / _TEST_FOLDER)]
        self.names = sorted([file.name for file in _files_in(folder)] + list(filter(is_test_file, tests)))

    def place(self, name: str) -> str:
        """A file as people know it, relative to the promise."""
        return str(self._path / name)

    def read(self, name: str) -> dict[str, Any]:
        """What a file holds; nothing when it cannot be read, which is a problem then."""
        try:
            text = (self._folder / name).read_text(encoding="utf-8-sig")
            content = json.loads(text) if name.endswith(".json") else pygohcl.loads(text)
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(Problem(message=f"the file cannot be read: {error}", file=self.place(name)))
        except json.JSONDecodeError as error:
            problem = f"not valid JSON: {error.msg}"
            self.problems.append(
                Problem(message=problem, file=self.place(name), line=error.lineno, column=error.colno)
            )
        except RecursionError:
            self.problems.append(Problem(message="the file is nested too deeply", file=self.place(name)))
        except pygohcl.HCLParseError as error:
            self.problems.append(_syntax_problem(str(error), self.place(name)))
        else:
            return content if isinstance(content, dict) else {}
        return {}


def _files_in(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (file for file in folder.iterdir() if file.is_file())


def _test_problems(files: _Files) -> Iterator[Problem]:
    for name in filter(is_test_file, files.names):
        before = len(files.problems)
        unknown = sorted(set(files.read(name)) - _TEST_BLOCKS)
        for problem in files.problems[before:]:
            yield problem.changed(hint="a broken test file stops `terraform init`")
        del files.problems[before:]
        if unknown:
            yield Problem(
                message=f"a test file has no block {unknown[0]!r}",
                file=files.place(name),
                hint="a broken test file stops `terraform init`",
            )


def _backends(content: Mapping[str, Any]) -> Iterator[str]:
    for block in _each(content.get("terraform")):
        yield from (name for name, _ in _blocks(block, "backend"))
        if "cloud" in block:
            yield "cloud"


def _blocks(content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The blocks of a kind with one label, each with its body."""
    for item in _each(content.get(kind)):
        for label, bodies in item.items():
            for body in _each(bodies):
                yield str(label), body


def _each(value: Any) -> list[dict[str, Any]]:
    """What is written once is a mapping, what is written several times a list of them."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]


def _is_true(value: Any) -> bool:
    """Whether Terraform takes a value for true: it converts texts."""
    return value is True or value == "true"


def _syntax_problem(text: str, file: str) -> Problem:
    match = _PLACE.match(text)
    if match is None:
        return Problem(message=f"not valid HCL: {text}", file=file)
    summary, _, detail = " ".join(match["text"].split()).partition("; ")
    return Problem(
        message=f"not valid HCL: {summary}",
        file=file,
        line=int(match["line"]),
        column=int(match["column"]),
        hint=detail,
    )
