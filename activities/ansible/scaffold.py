"""An Ansible role or playbook as the draft of a promise: inputs from argument specs, defaults and vars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.ansible.copied import left_out
from bondstone.activities.ansible.inspect import playbook_problems
from bondstone.base.errors import InvalidInput
from bondstone.executors.scaffold import Draft, fits

_TARGET: Final = "ansible"
_YAML: Final = (".yml", ".yaml")
_TYPES: Final[dict[str, dict[str, Any]]] = {
    "bool": {"type": "boolean"},
    "dict": {"type": "object"},
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "list": {"type": "array"},
    "path": {"type": "string"},
    "raw": {},
    "str": {"type": "string"},
}
"""Ansible's argument types. `bits`, `bytes`, `json` and `jsonarg` are texts with rules of their own."""
_LITERAL: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_NAMEABLE: Final = re.compile(r"[A-Za-z0-9_-]+")
"""What can name an input."""
_SECRET: Final = re.compile(r"(password|passwd|secret|secret_?key|token|api_?key|private_?key)$", re.IGNORECASE)
_RULES: Final = ("mutually_exclusive", "required_by", "required_if", "required_one_of", "required_together")
_CONNECTION: Final[dict[str, dict[str, Any]]] = {
    "host": {"type": "string", "description": "Name or address that the platform's workers reach it by."},
    "login": {"type": "string", "description": "Account that the platform logs in to."},
    "hostKeys": {"type": "string", "description": "What `ssh-keyscan` prints. No other key is trusted."},
    "loginKey": {"type": "string", "writeOnly": True, "description": "Private key of that account."},
}


def draft(path: Path) -> Draft:
    """Read a role's folder, a playbook, or a folder with `site.yml`.

    Args:
        path: Where it is.

    Raises:
        InvalidInput: when it is none of these, or its files do not parse.
    """
    if path.is_dir() and (_file(path / "tasks" / "main") or _file(path / "meta" / "argument_specs")):
        return _role(path)
    playbook = _file(path / "site") if path.is_dir() else path
    if playbook is None:
        raise InvalidInput(
            f"{path} is not a role and holds no site.yml",
            hint="name a role's folder (with tasks/main.yml), or the file of a playbook",
        )
    return _playbook(playbook)


@dataclass(slots=True)
class _Inputs:
    """Inputs as they are collected, and what cannot be one."""

    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    """Secrets with a default: their value goes nowhere."""

    def add(self, name: str, schema: dict[str, Any], *, required: bool = False) -> None:
        """Take one over, unless its name is taken or it could only be passed as null."""
        if name in _CONNECTION:
            self.left.append(f"variable {name}: an input that says how to reach the host has this name")
        elif not required and "default" not in schema:
            self.left.append(f"variable {name}: it is optional and has no default, so it is not passed")
        else:
            self.properties[name] = schema
            self.required += [name] if required else []

    def literals(self, values: Mapping[str, Any], where: str) -> None:
        """Variables with a value: one that says its type becomes an input."""
        for name, value in values.items():
            if name in self.properties or name in self.hidden:
                continue
            if _is_computed(value):
                self.left.append(f"variable {name} ({where}): Ansible computes its value, which stays as it is")
            elif isinstance(value, str) and _SECRET.search(str(name)):
                self.left.append(f"variable {name} ({where}): it looks like a secret; its value stays as it is")
            elif place := _secret_in(str(name), value):
                self.left.append(
                    f"variable {name} ({where}): {place} looks like a secret; its value stays as it is"
                )
            elif type(value) not in _LITERAL:
                self.left.append(
                    f"variable {name} ({where}): its type is not clear from its value; it stays as it is"
                )
            else:
                self.add(str(name), {"type": _LITERAL[type(value)], "default": value})

    def draft(self, source: str, playbook: str, folder: tuple[Path, str], files: Mapping[str, str]) -> Draft:
        """All of it as a draft."""
        without = left_out(folder[0], playbook=Path(playbook).name if folder[1] == _TARGET else "")
        self.left += [f"{path}: it is not copied: {reason}" for path, reason in without.items()]
        left = [*self.left, "what undoes it: write a playbook that does, and name it as `destroy` of the step"]
        variables = {name: f"${{inputs.{name}}}" for name in self.properties}
        return Draft(
            kind="ansible",
            source=source,
            section={
                "playbook": playbook,
                "inventory": {
                    "all": {
                        "hosts": {"host": {"ansible_host": "${inputs.host}", "ansible_user": "${inputs.login}"}}
                    }
                },
                "known_hosts": "${inputs.hostKeys}",
                "private_key": "${inputs.loginKey}",
                **({"vars": variables} if variables else {}),
            },
            inputs={
                "type": "object",
                "additionalProperties": False,
                "properties": {**_CONNECTION, **self.properties},
                "required": [*_CONNECTION, *self.required],
            },
            folder=folder,
            without=frozenset(without),
            owns_folder=folder[1] != _TARGET,
            files=files,
            untranslated=left,
        )


def _role(role: Path) -> Draft:
    name = role.resolve().name
    inputs = _Inputs()
    defaults = _mapping(role / "defaults" / "main")
    specs = _mapping(role / "meta" / "argument_specs").get("argument_specs")
    if specs is None:
        specs = _mapping(role / "meta" / "main").get("argument_specs")
    for point, spec in (specs if isinstance(specs, dict) else {}).items():
        if point != "main":
            inputs.left.append(f"entry point {point}: the playbook runs the role's `main`")
        elif isinstance(spec, dict):
            _options(spec, defaults, inputs)
    inputs.literals(defaults, "defaults")
    needed = _mapping(role / "meta" / "main").get("dependencies")
    for other in needed if isinstance(needed, list) else ():
        inputs.left.append(f"the role {_role_name(other)} that it depends on: copy it into {_TARGET}/roles")
    playbook = yaml.safe_dump([{"name": f"Run {name}", "hosts": "all", "roles": [name]}], sort_keys=False)
    files = {f"{_TARGET}/site.yml": playbook}
    target = f"{_TARGET}/roles/{name}"
    return inputs.draft(f"the role `{name}`", f"{_TARGET}/site.yml", (role, target), files)


def _playbook(playbook: Path) -> Draft:
    problems = [problem.message for problem in playbook_problems(playbook)]
    if problems:
        raise InvalidInput(
            f"{playbook.name} cannot be a step: {'; '.join(problems)}",
            where=str(playbook),
            hint="correct the playbook, then run this again",
        )
    inputs = _Inputs()
    for play in _load(playbook):
        values = play.get("vars")
        inputs.literals(values if isinstance(values, dict) else {}, "vars")
        files = play.get("vars_files")
        for file in files if isinstance(files, list) else ():
            inputs.left.append(f"variables of {file} (vars_files): they stay as they are")
        roles = play.get("roles")
        for role in roles if isinstance(roles, list) else ():
            inputs.left.append(
                f"variables of the role {_role_name(role)}: name the role's own folder to have them as inputs"
            )
    return inputs.draft(
        f"the playbook `{playbook.name}`", f"{_TARGET}/{playbook.name}", (playbook.resolve().parent, _TARGET), {}
    )


def _role_name(role: Any) -> str:
    """How a play or a role names another one."""
    return str(role.get("role", role.get("name", role.get("src", ""))) if isinstance(role, dict) else role)


def _options(spec: Mapping[str, Any], defaults: Mapping[str, Any], inputs: _Inputs) -> None:
    """The options of an argument spec; a role's real default is the one in `defaults`."""
    options = spec.get("options")
    for name, option in (options if isinstance(options, dict) else {}).items():
        about = option if isinstance(option, dict) else {}
        if not _NAMEABLE.fullmatch(str(name)):
            inputs.left.append(f"variable {name}: no input can have this name, and Ansible no variable")
            continue
        schema = _option(name, about, inputs.left)
        value = defaults.get(name, about.get("default"))
        if about.get("no_log"):
            schema["writeOnly"] = True
            required = not (name in defaults or "default" in about) or bool(about.get("required"))
            if not required:
                inputs.hidden.add(name)
                inputs.left.append(f"variable {name}: it is a secret with a default, which is not shown")
                continue
            inputs.add(name, schema, required=True)
            continue
        if _is_computed(value):
            inputs.left.append(f"variable {name}: Ansible computes its default, which stays as it is")
            continue
        if place := _secret_in(str(name), value, about):
            inputs.left.append(f"variable {name}: {place} of its default looks like a secret, which is not shown")
            inputs.hidden.add(name)
            if about.get("required"):
                inputs.add(name, schema, required=True)
            continue
        if value is not None and fits(schema, value):
            schema["default"] = value
        elif value is not None:
            inputs.left.append(f"variable {name}: its default does not fit its own type")
        inputs.add(name, schema, required=bool(about.get("required")) and "default" not in schema)
    inputs.left += [f"{rule} of the role's arguments: Ansible still checks it" for rule in _RULES if rule in spec]


def _option(name: str, about: Mapping[str, Any], left: list[str]) -> dict[str, Any]:
    """One argument as JSON Schema."""
    kind = str(about.get("type", "str"))
    schema = dict(_TYPES.get(kind, {"type": "string"}))
    if kind not in _TYPES:
        left.append(f"variable {name}: the type {kind} is taken as a text")
    description = about.get("description")
    text = " ".join(map(str, description)) if isinstance(description, list) else str(description or "")
    if text:
        schema["description"] = text[:500]
    choices = about.get("choices")
    if isinstance(choices, list):
        schema["enum"] = choices
    if about.get("aliases"):
        left.append(f"variable {name}: its aliases are not inputs")
    inner = about.get("options")
    if isinstance(inner, dict):
        unnamed = {key for key in inner if not _NAMEABLE.fullmatch(str(key))}
        left += [f"variable {name}: its key {key!r} can name no input, and is taken unchecked" for key in unnamed]
        fit = {key: value for key, value in inner.items() if key not in unnamed}
        members = {key: _option(f"{name}.{key}", value or {}, left) for key, value in fit.items()}
        required = [key for key, value in fit.items() if value and value.get("required")]
        whole = {"type": "object", "properties": members, "additionalProperties": bool(unnamed)}
        whole |= {"required": required} if required else {}
        schema |= {"items": whole} if kind == "list" else whole
        left += [
            f"variable {name}.{key}: it is a secret inside of another variable, and is not kept as one"
            for key, value in inner.items()
            if value and value.get("no_log")
        ]
        left += [f"{rule} of {name}: Ansible still checks it" for rule in _RULES if rule in about]
    elif kind == "list" and "elements" in about:
        schema["items"] = dict(_TYPES.get(str(about["elements"]), {"type": "string"}))
    return schema


def _secret_in(name: str, value: Any, about: Any = None) -> str:
    """Where a value holds a plain secret, by the names in it and `no_log` of its argument; empty: nowhere."""
    spec = about if isinstance(about, dict) else {}
    inner = spec.get("options")
    match value:
        case str() if value and (spec.get("no_log") or _SECRET.search(name)):
            return name
        case dict():
            options = inner if isinstance(inner, dict) else {}
            places = (_secret_in(f"{name}.{key}", each, options.get(key)) for key, each in value.items())
        case list():
            places = (_secret_in(f"{name}[{index}]", each, {"options": inner}) for index, each in enumerate(value))
        case _:
            return ""
    return next(filter(None, places), "")


def _is_computed(value: Any) -> bool:
    """Whether a value holds a template somewhere, or what only Ansible can read."""
    match value:
        case str():
            return "{{" in value or "{%" in value
        case dict():
            return any(map(_is_computed, [*value.keys(), *value.values()]))
        case list():
            return any(map(_is_computed, value))
        case _Tagged():
            return True
    return False


class _Tagged:
    """What stands under a tag of Ansible's: `!vault`, `!unsafe`."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
    """Reads the YAML of Ansible; dates stay texts, as Ansible has them in JSON."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: _Tagged())
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


def _file(stem: Path) -> Path | None:
    """The YAML file of that name, with either ending."""
    return next((file for ending in _YAML if (file := stem.with_name(stem.name + ending)).is_file()), None)


def _mapping(stem: Path) -> dict[str, Any]:
    file = _file(stem)
    content = None if file is None else _load(file)
    return content if isinstance(content, dict) else {}


def _load(file: Path) -> Any:
    try:
        return yaml.load(file.read_text("utf-8-sig"), Loader=_Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{file.name} is not valid YAML: {str(error).splitlines()[0]}", where=str(file)
        ) from error
