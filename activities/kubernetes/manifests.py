"""From a rendered section to the objects it declares: files read, expressions in them evaluated."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bondstone.activities.clusters.manifests import MAX_MANIFEST_CHARS, MAX_OBJECTS, Ref, read_manifests
from bondstone.activities.kubernetes.section import KubernetesSection
from bondstone.base.errors import InvalidInput, Problem, ToolFailed
from bondstone.cel import templates

_NAME: Final = re.compile(r"[a-z0-9A-Z]([a-z0-9A-Z.:_-]{0,251}[a-z0-9A-Z])?")


def declared(section: KubernetesSection, bundle: Path, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects that a section declares.

    Args:
        section: Rendered.
        bundle: The unpacked revision.
        variables: What expressions in files see.

    Raises:
        ToolFailed: when a file is not there or not readable, or what is in it is no object with a name.
        ExpressionInvalid: when an expression cannot be evaluated.
    """
    every: list[dict[str, Any]] = []
    size = 0
    for source in section.manifests:
        if isinstance(source, str):
            text = _read(bundle, source)
            size += len(text)
            if size > MAX_MANIFEST_CHARS:
                raise ToolFailed(f"the manifests are larger than {MAX_MANIFEST_CHARS // 1024**2} MiB")
            items: list[dict[str, Any]] = templates.render(read_manifests(text, where=source), variables)
        else:
            items, source = [source], "the section"  # noqa: PLW2901 - for the errors
        for item in items:
            if problem := object_problem(item):
                raise ToolFailed(problem, where=source, hint="correct the manifest")
            every.append(item)
    if len(every) > MAX_OBJECTS:
        raise ToolFailed(f"there are more than {MAX_OBJECTS} objects")
    return every


def object_problem(item: Any, *, rendered: bool = True) -> str:
    """What is wrong with a manifest as a Kubernetes object, in words; empty when nothing is.

    Args:
        item: The manifest.
        rendered: Whether its expressions are evaluated.
    """
    if not isinstance(item, Mapping):
        return "a manifest is a mapping with apiVersion, kind and metadata"
    for key in ("apiVersion", "kind"):
        if not isinstance(item.get(key), str) or not item[key]:
            return f"the manifest has no {key}"
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(name, str) or not name:
        return f"the {item['kind']} has no metadata.name: without one the step cannot find it again"
    if "${" in name and not rendered:
        return ""
    return (
        ""
        if _NAME.fullmatch(name)
        else f"the {item['kind']}'s metadata.name is not a name that Kubernetes accepts"
    )


def source_file(source: str) -> str:
    """The name of a manifest file inside the promise, spelt plainly.

    Raises:
        InvalidInput: when it is an expression, or leads out of the promise.
    """
    if "${" in source:
        raise InvalidInput("a file's name must not be an expression: it is checked when the promise is published")
    plain = posixpath.normpath(source)
    if posixpath.isabs(plain) or plain.startswith("..") or "\\" in plain:
        raise InvalidInput(f"{source!r} is not inside the promise")
    return plain


def duplicates(refs: Sequence[Ref]) -> list[Problem]:
    """Objects that are declared twice."""
    twice = sorted({ref for ref in refs if refs.count(ref) > 1}) if len(set(refs)) < len(refs) else []
    return [Problem(message=f"{ref.address} is declared twice") for ref in twice]


def _read(bundle: Path, source: str) -> str:
    path = bundle / source_file(source)
    try:
        if path.stat().st_size > MAX_MANIFEST_CHARS:
            raise ToolFailed(f"the file is larger than {MAX_MANIFEST_CHARS // 1024**2} MiB", where=source)
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ToolFailed("the file of manifests cannot be read", where=source, hint="publish it again") from None
