"""What can be said of a section and its module without running it: its variables, its outputs, its mistakes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from bondstone.activities.terraform.module_files import ModuleFiles, is_module_file, read_module
from bondstone.activities.terraform.section import TerraformSection
from bondstone.activities.terraform.workspace import module_path
from bondstone.base.errors import InvalidInput, Problem
from bondstone.executors.protocol import SectionReport

_SHOWN = 8
"""How many names a message lists at most."""


def report(section: TerraformSection, promise: Path) -> SectionReport:
    """Check a section against the module it names."""
    keys = list(_section_problems(section, promise))
    if keys:
        return SectionReport(keys=keys)
    module = read_module(promise, str(module_path(section.module)))
    if not module.problems:
        keys = [*_backend_problems(section, module), *_variable_problems(section, module)]
    return SectionReport(
        problems=module.problems,
        outputs=dict.fromkeys(module.outputs, "dyn"),
        sensitive=frozenset(name for name, sensitive in module.outputs.items() if sensitive),
        keys=keys,
    )


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
    elif not any(is_module_file(file.name) for file in directory.iterdir()):
        yield ("module",), Problem(message=f"{section.module!r} holds no *.tf file", hint="a module needs one")


def _backend_problems(
    section: TerraformSection, module: ModuleFiles
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
    section: TerraformSection, module: ModuleFiles
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
        if variable.required and variable.name not in {*section.variables, *module.values}:
            yield (
                ("variables",) if section.variables else (),
                Problem(
                    message=f"the module {section.module} needs a variable that is not passed: {variable.name!r}",
                    hint=f"add it under `variables`, or give it a default in {section.module}",
                ),
            )


def _meant(word: str, names: Iterable[str]) -> str:
    known = sorted(names)
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {close[0]!r}?"
    if not known:
        return ""
    rest = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"there is: {', '.join(known[:_SHOWN])}{rest}"
