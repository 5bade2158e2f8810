"""Parts: what a promise `requires` becomes steps of the executor `service`, so that the rules of steps hold.

A part is a service of its own. As a step it is planned (made, changed, or left), decided by policies, approved,
applied, kept by a retry, rolled back and taken down like any other.
Its outputs are `requires.<as>.outputs.<name>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bondstone.base.names import SERVICE_EXECUTOR
from bondstone.documents.yaml_places import Path_

PREFIX: Final = "requires"
_USE: Final = re.compile(
    r"\brequires\.([a-z][a-z0-9-]*)|\bsteps\.([a-z][a-z0-9-]*)|\brequires\[\"([a-z][a-z0-9-]*)\"\]"
)


def with_parts(spec: Mapping[str, Any], steps: list[Any]) -> list[Any]:
    """The steps of a promise, and behind them one for each requirement.

    Args:
        spec: `spec` of the manifest as it was read.
        steps: Its steps, their sections already under `executor` and `section`.

    Returns:
        The steps, with what their expressions use of parts among their `needs`.
    """
    requirements = [item for item in spec.get("requires") or () if isinstance(item, Mapping)]
    names = {part_name(item) for item in requirements}
    written = [_with_needs(step, names) if isinstance(step, dict) else step for step in steps]
    ids = {step.get("id") for step in written if isinstance(step, dict)} | names
    return [*written, *(_step(item, ids) for item in requirements)]


def part_name(requirement: Mapping[str, Any]) -> str:
    """What expressions call a requirement."""
    return str(requirement.get("as") or requirement.get("promise") or "part")


def step_place(own_steps: int, index: int) -> Path_:
    """Where a step stands in the manifest: under `steps`, or under `requires`."""
    return ("spec", "steps", index) if index < own_steps else ("spec", PREFIX, index - own_steps)


def section_place(own_steps: int, index: int, executor: str) -> Path_:
    """Where the section of a step stands: a requirement is its own section."""
    place = step_place(own_steps, index)
    return place if place[1] == PREFIX else (*place, executor)


def _step(requirement: Mapping[str, Any], ids: set[Any]) -> dict[str, Any]:
    name = part_name(requirement)
    bind = requirement.get("bind")
    default = f"${{service.team}}/${{service.name}}-{name}"
    section = {
        "promise": requirement.get("promise"),
        "version": requirement.get("version") or ">=0",
        "service": bind or requirement.get("service") or default,
        "bind": bool(bind),
        **({"adopted": requirement["adopted"]} if requirement.get("adopted") else {}),
        "inputs": requirement.get("inputs") or {},
    }
    needs = [use for use in dict.fromkeys(_uses(section)) if use in ids and use != name]
    what = f"bound to a {section['promise']}" if bind else f"a {section['promise']} of its own"
    return {
        "id": name,
        "executor": SERVICE_EXECUTOR,
        "section": section,
        "needs": needs,
        "description": what,
        "timeout": requirement.get("timeout") or "24h",
    }


def _with_needs(step: dict[str, Any], parts: set[str]) -> dict[str, Any]:
    written = step.get("needs") or []
    if not isinstance(written, list):
        return step
    used = [use for use in dict.fromkeys(_uses(step.get("section"))) if use in parts and use not in written]
    return {**step, "needs": [*written, *used]} if used else step


def _uses(tree: Any) -> Iterator[str]:
    """Names of parts and steps that the expressions of a tree refer to."""
    if isinstance(tree, str):
        if "${" in tree:
            for match in _USE.finditer(tree):
                yield next(name for name in match.groups() if name)
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _uses(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _uses(value)
