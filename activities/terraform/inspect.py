"""What can be said of a module without running it: its variables, its outputs, its syntax errors.

Reads HCL with python-hcl2, which gives the place of a syntax error; importing it takes half a second, so only
`check` imports this module.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hcl2
from lark.exceptions import UnexpectedInput, VisitError

from bondstone.activities.terraform.section import TerraformSection
from bondstone.activities.terraform.workspace import module_path
from bondstone.base.errors import InvalidInput, Problem
from bondstone.executors.protocol import SectionReport

_SHOWN = 8
"""How many names a message lists at most."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An input variable of a module."""

    name: str
    required: bool
    ephemeral: bool = False


@dataclass(slots=True)
class Module:
    """What a module declares."""

    variables: dict[str, Variable] = field(default_factory=dict)
    outputs: dict[str, bool] = field(default_factory=dict)
    """Each with whether it is sensitive."""
    backends: list[str] = field(default_factory=list)
    """Kinds of its backend blocks, at most one in a module that works; `cloud` is one here."""
    problems: list[Problem] = field(default_factory=list)


def report(section: TerraformSection, promise: Path) -> SectionReport:
    """Check a section against the module it names."""
    keys = list(_section_problems(section, promise))
    if keys:
        return SectionReport(keys=keys)
    module = read_module(promise, section.module)
    if not module.problems:
        keys = [*_backend_problems(section, module), *_variable_problems(section, module)]
    return SectionReport(
        problems=module.problems,
        outputs=dict.fromkeys(module.outputs, "dyn"),
        sensitive=frozenset(name for name, sensitive in module.outputs.items() if sensitive),
        keys=keys,
    )


def read_module(promise: Path, module: str) -> Module:
    """Read a module's files; files that do not parse are problems with their line and column."""
    found = Module()
    for file in sorted((promise / module).iterdir()):
        parse = _parser(file.name)
        if parse is None or not file.is_file():
            continue
        name = f"{module_path(module)}/{file.name}"
        try:
            content = parse(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            found.problems.append(Problem(message=f"the file cannot be read: {error}", file=name))
        except json.JSONDecodeError as error:
            found.problems.append(
                Problem(message=f"not valid JSON: {error.msg}", file=name, line=error.lineno, column=error.colno)
            )
        except UnexpectedInput as error:
            found.problems.append(_syntax_problem(error, name))
        except (VisitError, RecursionError) as error:
            found.problems.append(Problem(message=f"the file cannot be understood: {error}", file=name))
        else:
            _collect(content, found)
    return found


def _section_problems(section: TerraformSection, promise: Path) -> Iterator[tuple[tuple[str | int, ...], Problem]]:
    if section.backend == "own" and not any("${" in str(value) for value in section.backend_config.values()):
        yield (
            ("backend",),
            Problem(
                message="with `backend: own` every service would have the same state",
                hint='tell them apart, as in backend_config: {key: "${service.team}/${service.name}.tfstate"}',
            ),
        )
    if section.backend != "own" and section.backend_config:
        yield (
            ("backend_config",),
            Problem(message="the platform keeps the state, so this has no use", hint="say `backend: own` too"),
        )
    if "${" in section.module:
        yield (
            ("module",),
            Problem(
                message="the module must not be an expression: it is checked when the promise is published",
                hint="use two steps with `when`",
            ),
        )
        return
    try:
        directory = promise / module_path(section.module)
    except InvalidInput as error:
        yield ("module",), Problem(message=error.message)
        return
    if not directory.is_dir():
        modules = sorted({str(file.parent.relative_to(promise)) for file in promise.rglob("*.tf")})
        yield (
            ("module",),
            Problem(
                message=f"the promise has no directory {section.module!r}",
                hint=_meant(section.module, modules) or "create it, with the module's *.tf files",
            ),
        )
    elif not any(_parser(file.name) for file in directory.iterdir()):
        yield ("module",), Problem(message=f"{section.module!r} holds no *.tf file", hint="a module needs one")


def _backend_problems(
    section: TerraformSection, module: Module
) -> Iterator[tuple[tuple[str | int, ...], Problem]]:
    if section.backend != "own":
        return
    if not module.backends:
        yield (
            ("backend",),
            Problem(
                message=f"the module {section.module} has no backend block of its own",
                hint='add one, as in terraform { backend "s3" {} }; what it lacks comes from backend_config',
            ),
        )
    elif "cloud" in module.backends:
        yield (
            ("backend",),
            Problem(
                message="a `cloud` block runs Terraform elsewhere, where no stored plan can be applied",
                hint="use a backend that only keeps the state",
            ),
        )


def _variable_problems(
    section: TerraformSection, module: Module
) -> Iterator[tuple[tuple[str | int, ...], Problem]]:
    for name in section.variables:
        if name not in module.variables:
            yield (
                ("variables", name),
                Problem(
                    message=f"the module {section.module} has no variable {name!r}",
                    hint=_meant(name, module.variables),
                ),
            )
    for variable in module.variables.values():
        if variable.ephemeral:
            yield (
                ("module",),
                Problem(
                    message=f"the variable {variable.name!r} is ephemeral, which a saved plan cannot hold",
                    hint="make it `sensitive` instead: plans and states are encrypted",
                ),
            )
        if variable.required and variable.name not in section.variables:
            yield (
                ("variables",) if section.variables else (),
                Problem(
                    message=f"the module {section.module} needs a variable that is not passed: {variable.name!r}",
                    hint=f"add it under `variables`, or give it a default in {section.module}",
                ),
            )


def _parser(name: str) -> Callable[[str], Any] | None:
    if name.endswith(".tf"):
        return _parse_hcl
    return json.loads if name.endswith(".tf.json") else None


def _parse_hcl(text: str) -> Any:
    return hcl2.loads(text if text.endswith("\n") else f"{text}\n")


def _collect(content: Any, module: Module) -> None:
    for name, body in _blocks(content, "variable"):
        module.variables[name] = Variable(
            name, required="default" not in body, ephemeral=body.get("ephemeral") is True
        )
    settings = content.get("terraform") if isinstance(content, dict) else None
    for block in settings if isinstance(settings, list) else [settings]:
        module.backends += [name for name, _ in _blocks(block, "backend")]
        if isinstance(block, dict) and "cloud" in block:
            module.backends.append("cloud")
    for name, body in _blocks(content, "output"):
        module.outputs[name] = body.get("sensitive") is True


def _blocks(content: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The blocks of a kind with one label; JSON has them in an object, HCL (by python-hcl2) in a list of such."""
    found = content.get(kind) if isinstance(content, dict) else None
    for item in found if isinstance(found, list) else [found]:
        for label, body in item.items() if isinstance(item, dict) else ():
            first = body[0] if isinstance(body, list) and body else body
            if isinstance(first, dict):
                yield str(label).strip('"'), first


def _syntax_problem(error: UnexpectedInput, file: str) -> Problem:
    token = getattr(error, "token", None)
    if getattr(token, "type", "") == "$END":
        text = "the file ends in the middle of a block or an expression"
        hint = "a `}`, `)` or `]` is missing"
    else:
        seen = str(token if token is not None else getattr(error, "char", "")).strip()
        text = f"not valid HCL: {seen.splitlines()[0]!r} is not expected here" if seen else "not valid HCL"
        hint = "`terraform fmt` says more"
    return Problem(message=text, file=file, line=max(error.line, 0), column=max(error.column, 0), hint=hint)


def _meant(word: str, names: Iterable[str]) -> str:
    known = sorted(names)
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {close[0]!r}?"
    if not known:
        return ""
    rest = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"there is: {', '.join(known[:_SHOWN])}{rest}"
