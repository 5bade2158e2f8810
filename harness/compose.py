"""Reads a compose file as far as ours goes: variables, services, and what each is told.

Of the Compose specification: interpolation (`$$`, `${A}`, `${A:-default}`, `${A:?message}`), YAML merges,
profiles, conditions of `depends_on`, mounts in the short form. What it does not know it refuses, so that nothing
in the file goes unread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

_VARIABLE: Final = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})")
_UNREAD: Final = frozenset(
    {
        # What a container engine enforces, and a process on this machine cannot show.
        *("restart", "read_only", "tmpfs", "cap_drop", "security_opt", "init", "stop_grace_period", "shm_size"),
        *("networks", "ports"),
    }
)


class ComposeInvalid(Exception):
    """The file, or what it needs, is not right; the message says where."""


@dataclass(frozen=True)
class Mount:
    """A volume or a file of ours in a container.

    Args:
        source: Name of a volume, a path from the file's directory (`./…`), or empty for a volume of its own.
        target: Path in the container.
        read_only: Whether it may only be read.
    """

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Service:
    """One service of the file, with all variables filled in.

    Args:
        name: What it is called, which is its host name for the others.
        image: Name and tag; of ours, as `build` makes it.
        build: The target of our Dockerfile; empty for images of others.
        entrypoint: Instead of the image's; empty to keep it.
        command: Instead of the image's; empty to keep it.
        environment: Variables.
        mounts: Volumes and files.
        needs: Other services that come before, and what of them is waited for.
        health: The command of its health check; empty when it has none of its own.
        health_off: The image's health check is switched off.
        profiles: It belongs to these only; empty: always.
        raw: All that the file says of it, for what is looked at by eye.
    """

    name: str
    image: str
    build: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    needs: Mapping[str, str]
    health: tuple[str, ...]
    health_off: bool
    profiles: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Compose:
    """A compose file.

    Args:
        directory: Where it is; its relative paths start there.
        services: By name.
        volumes: Named volumes.
        text: The file as it is written.
    """

    directory: Path
    services: Mapping[str, Service]
    volumes: frozenset[str]
    text: str = field(repr=False)

    @classmethod
    def read(cls, path: Path, variables: Mapping[str, str]) -> Compose:
        """Read a file.

        Args:
            path: The file.
            variables: As from `.env` and the environment.

        Raises:
            ComposeInvalid: it lacks a variable, or says what this reader does not know.
        """
        text = path.read_text(encoding="utf-8")
        document = _filled(YAML(typ="safe").load(text), variables)
        known = {"name", "services", "networks", "volumes"}
        unknown = [key for key in document if key not in known and not key.startswith("x-")]
        if unknown:
            raise ComposeInvalid(f"{path.name}: does not know {', '.join(unknown)}")
        services = {name: _service(name, dict(raw)) for name, raw in document["services"].items()}
        volumes = frozenset(document.get("volumes") or ())
        for service in services.values():
            for mount in service.mounts:
                if mount.source and not mount.source.startswith(("./", "../")) and mount.source not in volumes:
                    raise ComposeInvalid(f"{service.name}: no such volume: {mount.source}")
            missing = set(service.needs) - set(services)
            if missing:
                raise ComposeInvalid(f"{service.name} needs {', '.join(missing)}, which is not there")
        return cls(path.parent, services, volumes, text)

    def in_order(self, profiles: Sequence[str] = ()) -> list[Service]:
        """The services of these profiles and of none, each after those that it needs."""
        wanted = {
            name: service
            for name, service in self.services.items()
            if not service.profiles or set(service.profiles) & set(profiles)
        }
        order = TopologicalSorter({name: set(service.needs) for name, service in wanted.items()})
        return [wanted[name] for name in order.static_order()]


def read_variables(path: Path) -> dict[str, str]:
    """The variables of a `.env` file."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Fill in variables.

    Raises:
        ComposeInvalid: one that has to be set is not.
    """

    def value(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        variable = variables.get(match["name"], "")
        if variable:
            return variable
        if match["how"] == ":-":
            return match["rest"]
        raise ComposeInvalid(f"{match['name']} is not set: {match['rest'] or 'it has no default'}")

    return _VARIABLE.sub(value, text)


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolate(value, variables)
    if isinstance(value, Mapping):
        return {key: _filled(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, variables) for each in value]
    return value


def _service(name: str, raw: dict[str, Any]) -> Service:
    left = dict(raw)
    health = left.pop("healthcheck", {})
    test = list(health.get("test", ()))
    if test and test.pop(0) != "CMD":
        raise ComposeInvalid(f"{name}: a health check is a list that begins with CMD")
    needs = left.pop("depends_on", {})
    environment = left.pop("environment", {})
    for key, value in environment.items():
        if not isinstance(value, str):
            raise ComposeInvalid(f"{name}: {key} is {value!r}; quote it, as every variable is text")
    service = Service(
        name=name,
        image=left.pop("image"),
        build=left.pop("build", {}).get("target", ""),
        entrypoint=_words(name, left.pop("entrypoint", [])),
        command=_words(name, left.pop("command", [])),
        environment=environment,
        mounts=tuple(_mount(text) for text in left.pop("volumes", [])),
        needs={other: how["condition"] for other, how in needs.items()},
        health=tuple(test),
        health_off=bool(health.get("disable")),
        profiles=tuple(left.pop("profiles", ())),
        raw=raw,
    )
    unknown = set(left) - _UNREAD
    if unknown:
        raise ComposeInvalid(f"{name}: does not know {', '.join(sorted(unknown))}")
    return service


def _words(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ComposeInvalid(f"{name}: a command is a list of texts, for no shell to take apart")
    return tuple(value)


def _mount(text: str) -> Mount:
    parts = text.split(":")
    if len(parts) == 1:
        return Mount("", parts[0], read_only=False)
    return Mount(parts[0], parts[1], read_only=parts[2:] == ["ro"])
