"""What a promise requires, beside the published promises: versions, inputs, outputs, circles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

from bondstone.base.errors import Problem
from bondstone.cel.templates import references_in
from bondstone.documents.yaml_places import did_you_mean
from bondstone.model.promise import Promise, Requirement
from bondstone.promise.load import MANIFEST

MAX_DEPTH: Final = 8
"""How many levels of parts a service may have below it."""

Newest = Callable[[str, str], Awaitable[Promise | None]]
"""Gives the newest published revision of a promise within a range of versions; None when there is none."""


async def check_requirements(promise: Promise, newest: Newest) -> list[Problem]:
    """Every mistake in what a promise requires that only the published promises can show.

    Args:
        promise: The promise, valid in itself.
        newest: Looks a promise up.
    """
    problems: list[Problem] = []
    uses = _uses(promise)
    for requirement in promise.spec.requires:
        name = requirement.alias or requirement.promise
        part = await newest(requirement.promise, requirement.version)
        if part is None:
            problems.append(
                _problem(
                    f"no published version of {requirement.promise} is in {requirement.version}",
                    f"publish {requirement.promise} first: `bond promise list --all` shows what there is",
                )
            )
            continue
        if not requirement.bind:
            problems += _input_problems(name, requirement, part)
        problems += _output_problems(name, uses.get(name, set()), promise, part)
    problems += [
        _problem(words, "take one of them out of `requires`") for words in await _circles(promise, newest)
    ]
    return problems


def parts_first(promises: Iterable[Promise]) -> list[Promise]:
    """Promises in an order in which each can be published: behind those that it requires, otherwise by name."""
    left = {promise.name: promise for promise in sorted(promises, key=lambda each: each.name)}
    ordered: list[Promise] = []
    while left:
        ready = [each for each in left.values() if not any(part.promise in left for part in each.spec.requires)]
        ordered += ready or list(left.values())  # a circle: publishing names it
        for promise in ready or list(left.values()):
            del left[promise.name]
    return ordered


def _uses(promise: Promise) -> dict[str, set[str]]:
    """Names of the outputs that expressions use, by part."""
    trees: list[Any] = [step.section for step in promise.spec.steps]
    trees += [output.value for output in promise.spec.outputs.values()]
    uses: dict[str, set[str]] = {}
    for path in references_in(trees):
        match path.split("."):
            case ["requires", part, "outputs", output, *_]:
                uses.setdefault(part, set()).add(output)
    return uses


def _input_problems(name: str, requirement: Requirement, part: Promise) -> Iterator[Problem]:
    schema = part.spec.inputs
    properties = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False
    for key in requirement.inputs:
        if closed and key not in properties:
            yield _problem(f"the part {name} ({part.name}) has no input {key!r}", did_you_mean(key, properties))
    for key in schema.get("required", ()):
        if key not in requirement.inputs and "default" not in properties.get(key, {}):
            yield _problem(
                f"the part {name} ({part.name}) needs the input {key!r}", f"add it to requires.{name}.inputs"
            )


def _output_problems(name: str, used: set[str], promise: Promise, part: Promise) -> Iterator[Problem]:
    known = part.spec.outputs
    for output in sorted(used):
        if output not in known:
            yield _problem(f"the part {name} ({part.name}) has no output {output!r}", did_you_mean(output, known))
    secret = {f"requires.{name}.outputs.{output}" for output in used if output in known and known[output].secret}
    for output_name, declared in promise.spec.outputs.items():
        if not declared.secret and secret & references_in(declared.value):
            yield _problem(
                f"the output {output_name!r} would show a secret of the part {name}", "say `secret: true` there"
            )


async def _circles(promise: Promise, newest: Newest) -> list[str]:
    """Circles among promises, and chains that are too long.

    A revision is walked again only where it lies deeper than before: what is below it was seen then.
    """
    words: list[str] = []
    walked: dict[str, int] = {}

    async def walk(current: Promise, way: tuple[str, ...]) -> None:
        revision = f"{current.name}@{current.version}"
        if walked.get(revision, 0) >= len(way):
            return
        walked[revision] = len(way)
        for requirement in current.spec.requires:
            chain = (*way, requirement.promise)
            if requirement.promise in way:
                words.append(f"promises require each other in a circle: {' -> '.join(chain)}")
            elif len(chain) > MAX_DEPTH + 1:
                words.append(f"parts are more than {MAX_DEPTH} levels deep: {' -> '.join(chain)}")
            else:
                part = await newest(requirement.promise, requirement.version)
                if part is not None:
                    await walk(part, chain)

    await walk(promise, (promise.name,))
    return list(dict.fromkeys(words))


def _problem(message: str, hint: str) -> Problem:
    return Problem(message=message, file=MANIFEST, hint=hint)
