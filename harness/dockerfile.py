"""Reads of our Dockerfile what a container is started with, and what its images are made of."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A stage, with what it has from the stage it starts from.

    Args:
        base: The stage or image that it starts from.
        environment: What `ENV` sets.
        command: Of `CMD`.
        health: The command of `HEALTHCHECK`.
        user: Of `USER`.
        tools: Programs copied from other stages, by their path in this one: the stage.
    """

    base: str
    environment: Mapping[str, str]
    command: tuple[str, ...]
    health: tuple[str, ...]
    user: str
    tools: Mapping[str, str]


def stages(path: Path) -> dict[str, Stage]:
    """The named stages of a Dockerfile, build arguments filled in with their defaults."""
    by_name: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    name = ""
    for instruction, rest in _instructions(path.read_text(encoding="utf-8")):
        if instruction == "ARG":
            key, _, value = rest.partition("=")
            arguments[key] = value
            continue
        if instruction == "FROM":
            base, _, name = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], rest).partition(" AS ")
            old = by_name.get(base)
            by_name[name] = replace(old, base=base) if old else Stage(base, {}, (), (), "", {})
            continue
        by_name[name] = replace(by_name[name], **_changes(instruction, rest, by_name[name]))
    return by_name


def _changes(instruction: str, rest: str, stage: Stage) -> dict[str, Any]:
    if instruction == "ENV":
        pairs = (word.split("=", 1) for word in shlex.split(rest))
        return {"environment": {**stage.environment, **dict(pairs)}}
    if instruction == "CMD":
        return {"command": tuple(json.loads(rest))}
    if instruction == "USER":
        return {"user": rest}
    if instruction == "HEALTHCHECK":
        return {"health": tuple(json.loads(rest.partition(" CMD ")[2]))}
    if instruction == "COPY" and rest.startswith("--from="):
        origin, _, target = rest.removeprefix("--from=").split()
        return {"tools": {**stage.tools, target: origin}} if "/bin/" in target else {}
    return {}


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            instruction, _, rest = line.strip().partition(" ")
            yield instruction, rest.strip()
