"""Reading `promise.yaml` into the manifest, every schema problem with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from bondstone.base.errors import Problem
from bondstone.documents.yaml_places import Path_, PlacedDocument, model_problems, ordered, read, read_file, refuse
from bondstone.model.promise import STEP_KEYS, Promise
from bondstone.promise.parts import with_parts

MANIFEST: Final = "promise.yaml"


def load_promise(path: Path) -> Promise:
    """Read a promise from its folder, or from its `promise.yaml`.

    Only the shape is checked, not what it means; for that see `bondstone.promise.validation.before_publish`.

    Raises:
        PromiseInvalid: with every problem, by file, line and column.
    """
    file = path / MANIFEST if path.is_dir() else path
    return _finished(read_file(file, file.name))


def parse_promise(data: bytes) -> Promise:
    """Read a promise from the bytes of its `promise.yaml`, as a bundle holds them."""
    return _finished(read(data, MANIFEST))


def to_promise(document: PlacedDocument) -> tuple[Promise | None, list[Problem]]:
    """The manifest of a document, or what is wrong with its shape; problems of the YAML come first."""
    if document.problems:
        return None, list(document.problems)
    if not isinstance(document.data, dict):
        return None, [document.problem((), "a promise is a mapping with apiVersion, kind, metadata and spec")]
    problems, data = split_steps(document)
    try:
        promise = Promise.model_validate(data)
    except ValidationError as error:
        problems += model_problems(document, error, Promise)
        return None, problems
    return (None if problems else promise), problems


def _finished(document: PlacedDocument) -> Promise:
    promise, problems = to_promise(document)
    if promise is None:
        raise refuse(ordered(problems), document.file)
    return promise


def split_steps(document: PlacedDocument) -> tuple[list[Problem], Any]:
    """Bring each step's executor section under `executor` and `section`, saying which have none or several."""
    spec = document.data.get("spec")
    steps = spec.get("steps") if isinstance(spec, dict) else None
    if steps is None and isinstance(spec, dict) and spec.get("requires"):
        steps = []
    if not isinstance(steps, list):
        return [], document.data
    problems: list[Problem] = []
    split: list[Any] = []
    for index, step in enumerate(steps):
        path = ("spec", "steps", index)
        if not isinstance(step, dict):
            split.append(step)
            continue
        kinds = [key for key in step if key not in STEP_KEYS]
        if not kinds:
            problems.append(
                document.problem(
                    path, "the step has no executor section", hint="add one, as in terraform: {module: …}"
                )
            )
        if len(kinds) > 1:
            problems += _too_many(document, path, kinds)
        kind = next((key for key in kinds if key not in _misspelt(kinds)), "none")
        rest = {key: value for key, value in step.items() if key in STEP_KEYS}
        split.append({**rest, "executor": kind, "section": step.get(kind)})
    return problems, {**document.data, "spec": {**spec, "steps": with_parts(spec, split)}}


def _too_many(document: PlacedDocument, path: Path_, kinds: list[str]) -> Iterator[Problem]:
    """Of several keys that may be the section: which is a misspelt key, which is one too many."""
    misspelt = _misspelt(kinds)
    for key, meant in misspelt.items():
        yield document.problem((*path, key), f"unknown key {key!r}", hint=f"did you mean {meant!r}?", key=True)
    sections = [key for key in kinds if key not in misspelt]
    for extra in sections[1:]:
        yield document.problem(
            (*path, extra),
            f"{extra!r} is a second executor section: a step has one, here {sections[0]!r}",
            hint=f"beside its section a step has {', '.join(STEP_KEYS)}",
            key=True,
        )


def _misspelt(kinds: list[str]) -> dict[str, str]:
    """Which of several keys are misspelt keys of a step; one is left over."""
    corrections = {key: close[0] for key in kinds if (close := difflib.get_close_matches(key, STEP_KEYS, n=1))}
    if len(corrections) == len(kinds):
        corrections.pop(kinds[0], None)
    return corrections
