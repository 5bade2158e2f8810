"""The steps of a promise: their graph, and what their executors say of their sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pydantic import ValidationError

from bondstone.base.errors import BondError, Problem
from bondstone.base.extras import missing
from bondstone.documents.yaml_places import Path_, PlacedDocument, did_you_mean, model_problems, read_stream
from bondstone.model.promise import Promise, Step
from bondstone.promise.parts import section_place, step_place
from bondstone.promise.sections import SectionChecker

_log = structlog.get_logger()


@dataclass(slots=True)
class StepReport:
    """What is known of one step before any run."""

    index: int
    problems: list[Problem] = field(default_factory=list)
    outputs: Mapping[str, str] | None = None
    """Names and types of its outputs; None when the executor could not look."""
    sensitive: frozenset[str] = frozenset()
    templates: list[PlacedDocument] = field(default_factory=list)
    """What its files with expressions hold."""


def check_steps(
    document: PlacedDocument, promise: Promise, executors: Mapping[str, SectionChecker], directory: Path
) -> dict[str, StepReport]:
    """Check every step; the result is by step id."""
    reports: dict[str, StepReport] = {}
    written = own_steps(document)
    for index, step in enumerate(promise.spec.steps):
        path = step_place(written, index)
        if step.id in reports:
            first = document.place((*step_place(written, reports[step.id].index), "id"))
            reports[step.id].problems.append(
                document.problem(
                    (*path, "id"), f"two steps are called {step.id!r}", hint=f"the first is in line {first.line}"
                )
            )
            continue
        report = StepReport(index)
        reports[step.id] = report
        if (
            step.executor != "none" and index < written
        ):  # "none" stands for a missing section, which is said already
            _check_section(document, step, executors, directory, report)
    for problem_step, problem in [*_check_needs(document, promise), *_check_hooks(document, promise)]:
        reports[problem_step].problems.append(problem)
    return reports


def own_steps(document: PlacedDocument) -> int:
    """How many steps are written under `steps`; those behind them are parts."""
    spec = document.data.get("spec")
    steps = spec.get("steps") if isinstance(spec, dict) else None
    return len(steps) if isinstance(steps, list) else 0


def hooks(promise: Promise) -> dict[Path_, str]:
    """The steps that run only where an operation names them, by the place that names them."""
    named: dict[Path_, str] = {}
    for section, words in (
        ("patch", ("before", "after")),
        ("upgrade", ("before", "after")),
        ("decommission", ("final",)),
    ):
        part = getattr(promise.spec, section)
        for word in words if part is not None else ():
            named |= {("spec", section, word, index): name for index, name in enumerate(getattr(part, word))}
    return named


def needed_by(promise: Promise, step: Step) -> set[str]:
    """Ids of all steps that a step needs, directly or through others."""
    by_id = {candidate.id: candidate for candidate in promise.spec.steps}
    needed: set[str] = set()
    waiting = list(step.needs)
    while waiting:
        need = waiting.pop()
        if need in needed or need not in by_id:
            continue
        needed.add(need)
        waiting += by_id[need].needs
    return needed - {step.id}


def _check_section(
    document: PlacedDocument,
    step: Step,
    executors: Mapping[str, SectionChecker],
    directory: Path,
    report: StepReport,
) -> None:
    at = section_place(own_steps(document), report.index, step.executor)
    executor = executors.get(step.executor)
    if executor is None:
        hint = did_you_mean(step.executor, executors) if executors else "no executor is installed"
        report.problems.append(
            document.problem(at, f"there is no executor {step.executor!r}", hint=hint, key=True)
        )
        return
    try:
        section = executor.section.model_validate(step.section)
        inspection = executor.check(section, directory)
    except ValidationError as error:
        report.problems += model_problems(document, error, executor.section, at)
        return
    except BondError as error:
        report.problems += error.problems or [document.problem(at, error.message, hint=error.hint, key=True)]
        return
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (absent := missing(error.name or "")):
            raise absent from error
        _log.warning("executor check failed", executor=step.executor, step=step.id, exc_info=error)
        message = f"the executor {step.executor!r} failed to check the step: {type(error).__name__}"
        report.problems.append(document.problem(at, message, hint="this is a fault of the executor", key=True))
        return
    report.problems += inspection.problems
    for key, problem in inspection.keys:
        placed = document.problem(
            (*at, *key), problem.message, hint=problem.hint, key=(*at, *key) in document.keys
        )
        report.problems.append(placed)
    if inspection.outputs or not (inspection.problems or inspection.keys):
        report.outputs = inspection.outputs  # else it could not look far enough to tell
    report.sensitive = inspection.sensitive
    for name in inspection.templates:
        report.templates += [item for item in read_stream(directory / name, name) if not item.problems]


def _check_hooks(document: PlacedDocument, promise: Promise) -> Iterator[tuple[str, Problem]]:
    """Hooks are steps, and no other step waits for them: when a service is made, they do not run."""
    named = hooks(promise)
    ids = [step.id for step in promise.spec.steps]
    for path, name in named.items():
        if name not in ids:
            yield ids[0], document.problem(path, f"there is no step {name!r}", hint=did_you_mean(name, ids))
    only_hooks = set(named.values())
    if only_hooks.issuperset(ids):
        yield (
            ids[0],
            document.problem(("spec", "steps"), "every step is a hook, so nothing would be made", key=True),
        )
    for index, step in enumerate(promise.spec.steps):
        for position, need in enumerate(step.needs):
            if need in only_hooks and need in ids and step.id not in only_hooks:
                yield (
                    step.id,
                    document.problem(
                        ("spec", "steps", index, "needs", position),
                        f"{need!r} runs only as a hook, so {step.id!r} cannot need it",
                    ),
                )


def _check_needs(document: PlacedDocument, promise: Promise) -> Iterator[tuple[str, Problem]]:
    ids = [step.id for step in promise.spec.steps]
    written = own_steps(document)
    for index, step in enumerate(promise.spec.steps):
        for position, need in enumerate(step.needs):
            path: Path_ = (*step_place(written, index), "needs", position)
            if need == step.id:
                yield step.id, document.problem(path, f"the step {step.id!r} needs itself")
            elif need not in ids:
                others = [name for name in ids if name != step.id]
                hint = did_you_mean(need, others) if others else "it is the only step"
                yield step.id, document.problem(path, f"there is no step {need!r}", hint=hint)
            elif need in step.needs[:position]:
                yield step.id, document.problem(path, f"{need!r} is needed twice")
    for cycle in _cycles(promise):
        step_index = ids.index(cycle[0])
        steps = " -> ".join([*cycle, cycle[0]])
        path = (*step_place(written, step_index), "needs")
        yield cycle[0], document.problem(path, f"the steps need each other in a circle: {steps}", key=True)


def _cycles(promise: Promise) -> Iterator[list[str]]:
    """One circle for each group of steps that need each other, starting at the step that comes first."""
    needs: dict[str, list[str]] = {}
    for step in promise.spec.steps:
        needs.setdefault(step.id, [need for need in step.needs if need != step.id])
    told: set[str] = set()
    for start in needs:
        if start in told:
            continue
        circle = _way(needs, start, start)
        if circle:
            told.update(circle)
            yield circle


def _way(needs: Mapping[str, list[str]], start: str, goal: str) -> list[str]:
    """The shortest way from a step through its needs to `goal`."""
    ways: list[list[str]] = [[start]]
    visited: set[str] = set()
    while ways:
        way = ways.pop(0)
        for need in needs.get(way[-1], ()):
            if need == goal:
                return way
            if need not in visited:
                visited.add(need)
                ways.append([*way, need])
    return []
