"""Everything that is checked before a promise is published: all problems, each with its place.

A mistake in one place does not hide those elsewhere: what does not fit the manifest is set aside, and the rest is
checked without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bondstone.base.errors import BondError, Problem, PromiseInvalid
from bondstone.documents.error_recovery import salvage
from bondstone.documents.yaml_places import Path_, PlacedDocument, did_you_mean, ordered, read_file, refuse
from bondstone.model.promise import API_VERSION, Promise
from bondstone.promise.bundle import executables, pack
from bondstone.promise.cases import load_cases
from bondstone.promise.load import MANIFEST, split_steps, to_promise
from bondstone.promise.sections import SectionChecker
from bondstone.promise.validation.expressions import check_expressions
from bondstone.promise.validation.schema import check_schema
from bondstone.promise.validation.steps import check_steps

_PLACEHOLDERS: Final[Mapping[str, Any]] = {
    "apiVersion": API_VERSION,
    "kind": "Promise",
    "metadata": {"name": "unnamed", "version": "0.0.0"},
    "name": "unnamed",
    "version": "0.0.0",
    "promise": "unnamed",
    "id": "unnamed",
    "value": None,
    "roles": ["unnamed"],
}
"""What stands in for something that is missing, while the rest is checked."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a validation found."""

    promise: Promise | None
    """The manifest; None when there are problems."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    """What may be published but deserves a look; none are given while there are problems."""

    def require(self) -> Promise:
        """The promise, or `PromiseInvalid` with every problem."""
        if self.promise is None:
            raise refuse(self.problems, "the promise")
        return self.promise


def validate(directory: Path, executors: Mapping[str, SectionChecker]) -> Checked:
    """Check a promise's folder as thoroughly as can be done without running anything.

    Args:
        directory: The folder that holds `promise.yaml`.
        executors: Installed executors by kind, as `bondstone.executors.registry.load_executors` finds them.
    """
    if not directory.is_dir():
        return Checked(None, (Problem(message="there is no such folder", file=str(directory)),))
    if not (directory / MANIFEST).is_file():
        return Checked(None, (_no_manifest(directory),))
    document = read_file(directory / MANIFEST, MANIFEST)
    promise, problems = to_promise(document)
    rest = promise or _salvage(document)
    if rest is not None:
        problems += check_schema(document, rest)
        reports = check_steps(document, rest, executors, directory)
        problems += [problem for report in reports.values() for problem in report.problems]
        problems += check_expressions(document, rest, reports)
        problems += _check_names(document, rest)
        problems += _check_policies(document, rest, directory)
        problems += _check_cases(rest, directory)
    problems += _check_packing(directory)
    if problems or promise is None:
        return Checked(None, ordered(problems))
    return Checked(promise, (), ordered(_warnings(document, promise, directory)))


def _no_manifest(directory: Path) -> Problem:
    others = [entry.name for entry in directory.iterdir() if entry.suffix in {".yaml", ".yml"}]
    return Problem(
        message=f"the folder has no {MANIFEST}",
        file=str(directory),
        hint=f"there is {', '.join(sorted(others)[:5])}; name it {MANIFEST}" if others else "",
    )


def _salvage(document: PlacedDocument) -> Promise | None:
    """The manifest without what does not fit it, so that the rest can be checked; None when too little is left."""
    if document.problems or not isinstance(document.data, dict):
        return None
    _, data = split_steps(document)
    return salvage(data, Promise, _PLACEHOLDERS)


def _check_names(document: PlacedDocument, promise: Promise) -> Iterator[Problem]:
    """Names that would clash."""
    names: set[str] = set()
    for index, requirement in enumerate(promise.spec.requires):
        path: Path_ = ("spec", "requires", index)
        name = requirement.alias or requirement.promise
        if name in names:
            yield document.problem(path, f"two requirements are called {name!r}", hint="tell them apart with `as`")
        names.add(name)
        if requirement.promise == promise.name:
            yield document.problem((*path, "promise"), "a promise cannot require itself")
    upgrade = promise.spec.upgrade
    known = promise.spec.inputs.get("properties")
    if upgrade is None or not isinstance(known, dict):
        return
    for name in upgrade.inputs:
        if name not in known:
            path = ("spec", "upgrade", "inputs", name)
            yield document.problem(path, f"there is no input {name!r}", hint=did_you_mean(name, known), key=True)


def _check_policies(document: PlacedDocument, promise: Promise, directory: Path) -> Iterator[Problem]:
    """Policy files are there, inside the folder, and parse."""
    root = directory.resolve()
    sound = True
    for index, name in enumerate(promise.spec.policies):
        problem = _policy_problem(root, name)
        if problem is not None:
            sound = False
            yield document.problem(("spec", "policies", index), problem[0], hint=problem[1])
    if not sound or not promise.spec.policies:
        return
    from bondstone.policy import check_syntax  # noqa: PLC0415 - the engine is loaded when it is needed
    from bondstone.promise.policies import policy_modules  # noqa: PLC0415

    try:
        yield from check_syntax(policy_modules(promise, root))
    except BondError as error:
        yield from error.problems or [
            document.problem(("spec", "policies"), str(error), hint=error.hint, key=True)
        ]


def _policy_problem(root: Path, name: str) -> tuple[str, str] | None:
    """What is wrong with one entry of `policies`: message and hint."""
    target = (root / name).resolve()
    if not target.is_relative_to(root):
        return f"{name!r} leads out of the promise's folder", ""
    if not target.exists():
        around = [entry.name for entry in root.iterdir() if not entry.name.startswith(".")]
        return f"there is no {name!r} in the promise's folder", did_you_mean(name.strip("/"), around)
    if target.is_dir() and not any(target.rglob("*.rego")):
        return f"{name!r} holds no .rego file", ""
    if target.is_file() and target.suffix != ".rego":
        return f"{name!r} is not a .rego file", ""
    return None


def _check_cases(promise: Promise, directory: Path) -> Iterator[Problem]:
    try:
        load_cases(directory, promise)
    except PromiseInvalid as error:
        yield from error.problems


def _check_packing(directory: Path) -> Iterator[Problem]:
    try:
        pack(directory)
    except PromiseInvalid as error:
        yield from error.problems or [Problem(message=error.message, hint=error.hint)]


def _warnings(document: PlacedDocument, promise: Promise, directory: Path) -> Iterator[Problem]:
    if not promise.spec.description and not promise.metadata.title:
        yield document.problem(
            ("metadata",), "neither metadata.title nor spec.description says what this is", key=True
        )
    if not promise.metadata.owner:
        yield document.problem(("metadata",), "metadata.owner does not say whom to ask", key=True)
    try:
        names = executables(directory)
    except PromiseInvalid:
        return
    for name in names:
        yield Problem(
            message="is executable here, but a bundle keeps no modes",
            file=name,
            hint=f"run it by its interpreter, as in: sh {name}",
        )
