"""What a promise's `requirements.yml` names and its folder lacks: nothing fetches it, so publishing says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from bondstone.activities.ansible.section import AnsibleSection
from bondstone.base.errors import Problem
from bondstone.documents.yaml_places import Path_, PlacedDocument, read_file

_FILES: Final = (
    "requirements.yml", "requirements.yaml",
    "collections/requirements.yml", "collections/requirements.yaml",
    "roles/requirements.yml", "roles/requirements.yaml",
)  # fmt: skip
"""Where Ansible's own tools look for it, below the folder of the playbook and the promise's."""


def missing_requirements(sections: Sequence[AnsibleSection], promise: Path) -> list[Problem]:
    """A warning for each collection and role that a `requirements.yml` names and the promise does not hold.

    Args:
        sections: Those of all Ansible steps.
        promise: The promise's folder.
    """
    folders = {PurePosixPath(), *(PurePosixPath(section.playbook).parent for section in sections)}
    warnings: list[Problem] = []
    for file in sorted({str(folder / name) for folder in folders for name in _FILES}):
        if (promise / file).is_file():
            warnings += _of_file(read_file(promise / file, file), promise, folders)
    return warnings


def _of_file(document: PlacedDocument, promise: Path, folders: set[PurePosixPath]) -> Iterator[Problem]:
    if document.problems:
        yield from document.problems
        return
    data = document.data
    # a plain list is the older form, of roles alone
    lists = data if isinstance(data, dict) else {"roles": data}
    for kind in ("collections", "roles"):
        entries = lists.get(kind)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            name = _name(entry, kind)
            if any(_holds(promise / folder / kind, name, kind) for folder in folders):
                continue
            path: Path_ = (index,) if data is entries else (kind, index)
            yield _warning(document, path, name, kind)


def _warning(document: PlacedDocument, path: Path_, name: str, kind: str) -> Problem:
    one = kind.removesuffix("s")
    command = f"`ansible-galaxy {one} install -r {document.file} -p {kind}` in the promise's folder"
    hint = f"{command} brings it into the bundle"
    if kind == "collections":
        hint += "; or install it in the environment of the workers, as PyPI's package `ansible` does"
    return document.problem(
        path, f"the {one} {name} is not in the promise's folder, and no worker fetches it", hint=hint
    )


def _name(entry: Any, kind: str) -> str:
    """What it is called once it is installed; of an address that says no name, the address."""
    if isinstance(entry, dict):
        named = entry.get("name") or entry.get("source") or entry.get("src") or ""
    else:
        named = entry
    name = str(named)
    if kind == "roles" and "/" in name:
        return PurePosixPath(urlsplit(name).path).name.removesuffix(".git")
    return name.partition(":")[0] if "//" not in name else name


def _holds(folder: Path, name: str, kind: str) -> bool:
    if kind == "roles":
        return bool(name) and (folder / name).is_dir()
    namespace, _, rest = name.partition(".")
    return bool(rest) and (folder / "ansible_collections" / namespace / rest).is_dir()
