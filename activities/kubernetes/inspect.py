"""What can be said of a section and its files before any run. Asks no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bondstone.activities.clusters.jsonpath import JsonPath
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.outputs import named_parts, object_named
from bondstone.activities.kubernetes.manifests import object_problem, source_file
from bondstone.activities.kubernetes.section import KubernetesSection
from bondstone.base.errors import InvalidInput, Problem
from bondstone.documents.yaml_places import did_you_mean, read_stream
from bondstone.executors.protocol import SectionReport

Key = tuple[tuple[str | int, ...], Problem]


def report(section: KubernetesSection, promise: Path) -> SectionReport:
    """Check a section against the files it names."""
    keys: list[Key] = []
    problems: list[Problem] = []
    templates: list[str] = []
    refs: list[tuple[Ref, Key | Problem]] = []
    for index, source in enumerate(section.manifests):
        at: tuple[str | int, ...] = ("manifests", index)
        if not isinstance(source, str):
            if words := object_problem(source, rendered=False):
                keys.append((at, Problem(message=words)))
            else:
                refs.append((Ref.of(source), (at, Problem(message=""))))
            continue
        name, problem = _file(source, promise)
        if problem is not None:
            keys.append((at, problem))
            continue
        if name in templates:
            keys.append((at, Problem(message=f"the file {name} is named twice")))
            continue
        templates.append(name)
        file_refs, of_file = _objects(promise, name)
        problems += of_file
        refs += file_refs
    for ref, place in _twice(refs):
        words = f"{ref.address} is declared twice"
        if isinstance(place, Problem):
            problems.append(place.changed(message=words))
        else:
            keys.append((place[0], place[1].changed(message=words)))
    keys += _names(section, [ref for ref, _ in refs])
    return SectionReport(
        problems=problems,
        outputs=dict.fromkeys(section.outputs, "dyn"),
        sensitive=frozenset(name for name, output in section.outputs.items() if output.sensitive),
        keys=keys,
        templates=templates,
    )


def _file(source: str, promise: Path) -> tuple[str, Problem | None]:
    try:
        name = source_file(source)
    except InvalidInput as error:
        return "", Problem(message=error.message, hint=error.hint)
    if (promise / name).is_file():
        return name, None
    files = sorted(
        str(file.relative_to(promise))
        for ending in ("*.yaml", "*.yml", "*.json")
        for file in promise.rglob(ending)
    )
    return name, Problem(message=f"the promise has no file {name!r}", hint=did_you_mean(name, files))


def _objects(promise: Path, name: str) -> tuple[list[tuple[Ref, Problem]], list[Problem]]:
    refs: list[tuple[Ref, Problem]] = []
    problems: list[Problem] = []
    documents = read_stream(promise / name, name)
    for document in documents:
        problems += document.problems
        if document.problems or document.data is None:
            continue
        for path, item in _items(document.data):
            if words := object_problem(item, rendered=False):
                problems.append(document.problem(path, words))
            else:
                refs.append((Ref.of(item), document.problem(path, "")))
    if not refs and not problems:
        problems.append(Problem(message="the file holds no object", file=name))
    return refs, problems


def _items(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(data, dict) and data.get("kind") == "List" and isinstance(data.get("items"), list):
        for index, item in enumerate(data["items"]):
            yield from _items(item, (*path, "items", index))
    else:
        yield path, data


def _twice(refs: list[tuple[Ref, Any]]) -> Iterator[tuple[Ref, Any]]:
    earlier: set[Ref] = set()
    for ref, place in refs:
        if ref in earlier and "${" not in ref.address:
            yield ref, place
        earlier.add(ref)


def _names(section: KubernetesSection, refs: list[Ref]) -> Iterator[Key]:
    """Waits and outputs: what they name, and paths that are understood."""
    named: list[tuple[tuple[str, str | int], str, str]] = [
        (("wait", index), item.source, item.path) for index, item in enumerate(section.wait)
    ]
    named += [(("outputs", name), item.source, item.path) for name, item in section.outputs.items()]
    plain = all("${" not in ref.name for ref in refs)  # else any object may have any of the names
    for at, source, path in named:
        try:
            if "${" not in source:
                named_parts(source)
                if plain:
                    object_named(source, refs, section.namespace)
        except ValueError as error:
            yield (*at, "object" if at[0] == "wait" else "from"), Problem(message=str(error))
        try:
            if path and "${" not in path:
                JsonPath(path)
        except ValueError as error:
            yield (*at, "path"), Problem(message=str(error))
