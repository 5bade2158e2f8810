"""Data beside policies: JSON and YAML files become `data`, below the folders that they are in, as OPA loads them.

A YAML file may hold only what every version of YAML reads alike: readers differ over the rest (`on`, `0777`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from bondstone.base.errors import Problem

SUFFIXES: Final = (".json", ".yaml", ".yml")
MAX_DEPTH: Final = 64

_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FRACTION: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9]")


class DataInvalid(Exception):
    """A data file that cannot be used."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def as_json(name: str, source: str) -> str:
    """A data file as the JSON text of an object, below the folders of its name.

    Args:
        name: Its path inside the policy directory, as in `limits/sizes.yaml`.
        source: Its text.

    Raises:
        DataInvalid: with file, line and column.
    """
    if name.endswith(".json"):
        text, value = source, _json(name, source)
    else:
        value = _yaml(name, source)
        text = json.dumps(value)
    if not isinstance(value, dict):
        raise DataInvalid(Problem(message="a data file must hold an object", file=name, line=1, column=1))
    for folder in reversed(name.split("/")[:-1]):
        text = f"{{{json.dumps(folder)}: {text}}}"
    return text


def problems(files: Sequence[tuple[str, str]], rules: Mapping[tuple[str, ...], str]) -> Iterator[Problem]:
    """What is wrong with data files: each by itself, with each other, and with rules of the same name.

    Args:
        files: Name and source of each.
        rules: Path of each rule, package and name, with the file that it is in.
    """
    merged: dict[str, Any] = {}
    for name, source in files:
        try:
            value = json.loads(as_json(name, source))
        except DataInvalid as error:
            yield error.problem
            continue
        clash = _merge(merged, value, ())
        if clash:
            message = f"another data file says data.{'.'.join(clash)}, too"
            yield Problem(message=message, file=name, line=1, column=1, hint="say it once")
    for path, file in rules.items():
        if _is_said(merged, path):
            message = f"a data file says data.{'.'.join(path)}, which is a rule's name"
            yield Problem(message=message, file=file, line=1, column=1, hint="rename the rule or the data")


def _merge(into: dict[str, Any], value: dict[str, Any], path: tuple[str, ...]) -> tuple[str, ...]:
    for key, item in value.items():
        if key not in into:
            into[key] = item
        elif isinstance(into[key], dict) and isinstance(item, dict):
            clash = _merge(into[key], item, (*path, key))
            if clash:
                return clash
        else:
            return (*path, key)
    return ()


def _is_said(data: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(data, dict):
            return True
        if part not in data:
            return False
        data = data[part]
    return True


def _json(name: str, source: str) -> Any:
    try:
        return json.loads(source, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        problem = Problem(message=f"not JSON: {error.msg}", file=name, line=error.lineno, column=error.colno)
        raise DataInvalid(problem) from error
    except (ValueError, RecursionError) as error:
        raise DataInvalid(Problem(message=str(error), file=name, line=1, column=1)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("an object names a member twice")
    return mapping


def _yaml(name: str, source: str) -> Any:
    try:
        documents = list(yaml.compose_all(source, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = Problem(message=f"not YAML: {error.problem}", file=name, line=line, column=column)
        raise DataInvalid(problem) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise DataInvalid(Problem(message=f"not YAML: {error}", file=name, line=1, column=1)) from error
    if len(documents) > 1:
        raise DataInvalid(Problem(message="a data file holds one document", file=name, line=1, column=1))
    return _Values(name).value(documents[0], 0) if documents else None


class _Values:
    """The values of YAML nodes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, depth: int) -> Any:
        if id(node) in self._seen or depth > MAX_DEPTH:
            raise self._refusal(node, "aliases and deep nesting are not supported", "write it out")
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return dict(self._members(node, depth))

    def _members(self, node: yaml.Node, depth: int) -> Iterator[tuple[str, Any]]:
        names: set[str] = set()
        for key, item in node.value:
            name = self.value(key, depth + 1) if isinstance(key, yaml.ScalarNode) else None
            if not isinstance(name, str) or (name == "<<" and key.style is None):
                raise self._refusal(key, "a name that is not text", "put it in quotes")
            if name in names:
                raise self._refusal(key, f"{name!r} is named twice", "name it once")
            names.add(name)
            yield name, self.value(item, depth + 1)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        if node.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _WHOLE.fullmatch(text):
            return int(text)
        if _FRACTION.fullmatch(text):
            return float(text)
        if node.tag == "tag:yaml.org,2002:str" and text[:1] not in set("0123456789.+-") | {"="}:
            return text
        if node.tag == "tag:yaml.org,2002:str" and not re.fullmatch(r"[0-9.+-][0-9a-fA-FxobeE_.:+-]*", text):
            return text
        raise self._refusal(
            node, f"readers of YAML differ over {text!r}", "put it in quotes, or write true or false"
        )

    def _refusal(self, node: yaml.Node, message: str, hint: str) -> DataInvalid:
        mark = node.start_mark
        return DataInvalid(
            Problem(message=message, file=self._name, line=mark.line + 1, column=mark.column + 1, hint=hint)
        )
