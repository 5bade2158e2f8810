"""What can be said of a section and its playbooks before any run. Runs nothing and asks no host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bondstone.activities.ansible.section import AnsibleSection
from bondstone.base.errors import Problem
from bondstone.documents.yaml_places import PlacedDocument, did_you_mean, read_file
from bondstone.executors.protocol import SectionReport

Key = tuple[tuple[str | int, ...], Problem]

_LISTS: Final = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")
_TAG: Final = "the tag "
"""How a problem begins that is about a YAML tag: Ansible's own (`!vault`, `!unsafe`) are none."""


def report(section: AnsibleSection, promise: Path) -> SectionReport:
    """Check a section against the files it names."""
    keys: list[Key] = []
    problems: list[Problem] = []
    for key in ("playbook", "destroy", "inventory"):
        name = getattr(section, key)
        if not isinstance(name, str) or not name:
            continue
        if "${" in name and key == "inventory":
            continue
        if "${" in name:
            keys.append(((key,), Problem(message="a file's name must not be an expression")))
        elif (promise / name).is_file():
            if key != "inventory":
                problems += _playbook(read_file(promise / name, name), checked=section.check == "required")
        elif not (key == "inventory" and (promise / name).is_dir()):
            keys.append(((key,), _missing(promise, name)))
    if isinstance(section.inventory, dict) and not section.inventory:
        keys.append((("inventory",), Problem(message="the inventory names no host")))
    return SectionReport(
        problems=problems,
        outputs=dict.fromkeys(section.outputs, "dyn"),
        sensitive=frozenset(name for name, output in section.outputs.items() if output.sensitive),
        keys=keys,
    )


def playbook_problems(playbook: Path) -> list[Problem]:
    """What of a playbook cannot be run by a step."""
    return [*_playbook(read_file(playbook, playbook.name), checked=True)]


def _missing(promise: Path, name: str) -> Problem:
    files = sorted(
        str(file.relative_to(promise)) for ending in ("*.yml", "*.yaml") for file in promise.rglob(ending)
    )
    return Problem(message=f"the promise has no file {name!r}", hint=did_you_mean(name, files))


def _playbook(document: PlacedDocument, *, checked: bool) -> Iterator[Problem]:
    unread = [item for item in document.problems if not item.message.startswith(_TAG)]
    if unread:
        yield from unread
        return
    plays = document.data
    if not isinstance(plays, list) or not all(isinstance(play, dict) for play in plays):
        yield document.problem((), "a playbook is a list of plays", hint="begin with `- hosts: all`")
        return
    for index, play in enumerate(plays):
        if "hosts" not in play and not any(str(key).endswith("import_playbook") for key in play):
            yield document.problem((index,), "the play names no `hosts`", hint="`hosts: all` for every host")
        if "vars_prompt" in play:
            yield document.problem(
                (index, "vars_prompt"),
                "nobody can answer `vars_prompt` on a worker",
                hint="make it an input of the promise, and pass it by `vars` of the step",
                key=True,
            )
        if checked:
            yield from _unchecked(document, play, (index,))


def _unchecked(document: PlacedDocument, item: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[Problem]:
    """Tasks that would run while a plan is only made."""
    if item.get("check_mode") is False and item.get("changed_when") is not False:
        yield document.problem(
            (*path, "check_mode"),
            "with `check_mode: false` this task runs during the plan, before anybody has approved it",
            hint="add `changed_when: false` if it only reads; else remove it, or say `check: skip` in the step",
            key=True,
        )
    for name in _LISTS:
        inner = item.get(name)
        for index, each in enumerate(inner if isinstance(inner, list) else ()):
            if isinstance(each, dict):
                yield from _unchecked(document, each, (*path, name, index))
