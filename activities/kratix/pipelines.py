"""Pipelines run in order: what they say there shall be, and the status of the object after each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.kratix import contract
from bondstone.activities.kratix.engine import ContainerRunner, Mounts
from bondstone.activities.kratix.section import KratixSection, Pipeline
from bondstone.base.canonical import digest
from bondstone.base.errors import OperationFailed, ToolFailed, TryLater
from bondstone.model.promise import seconds

MAX_OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""Of all files that one pipeline writes."""
MAX_FILES: Final = 2000


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the pipelines of an object lead to."""

    documents: tuple[dict[str, Any], ...] = ()
    """Objects that there shall be."""
    status: Mapping[str, Any] = field(default_factory=dict)
    """Of the object, as the pipelines have left it."""
    notes: tuple[str, ...] = ()
    """What was written and is not followed, in words."""
    files: Mapping[str, str] = field(default_factory=dict)
    """For a git destination: what each pipeline wrote, by its name and the file's."""


async def run_pipelines(
    engine: ContainerRunner,
    section: KratixSection,
    directory: Path,
    *,
    action: str,
    owner: str,
    log: Callable[[str], None],
    network: str = "none",
) -> Rendered:
    """Run pipelines one after the other, each with the status that those before it have left.

    Args:
        engine: What runs containers.
        section: The step's section.
        directory: An empty folder of this attempt.
        action: configure or delete.
        owner: Whose containers they are: names them, so that those of an earlier attempt are replaced.
        log: Takes what the containers print.
        network: The engine's name of the containers' network.

    Raises:
        TryLater: a pipeline asked to run again later (`retryAfter`).
        OperationFailed: a pipeline has suspended its workflow.
        ToolFailed: a container failed, or wrote what the contract does not know.
    """
    documents: list[dict[str, Any]] = []
    notes: list[str] = []
    files: dict[str, str] = {}
    status: dict[str, Any] = dict(section.object.get("status") or {})
    place = "destination" if section.destination else "cluster"
    pipelines = section.configure if action == "configure" else section.delete
    for number, pipeline in enumerate(pipelines):
        mounts = Mounts.under(directory / f"{number:02d}-{pipeline.name}")
        shown = contract.object_document(section, status)
        (mounts.input / "object.yaml").write_text(yaml.safe_dump(shown, sort_keys=False), encoding="utf-8")
        await _run(engine, section, pipeline, mounts, network, action=action, owner=owner, log=log)
        status = contract.merge_status(status, contract.read_status(_metadata(mounts, "status.yaml")))
        _follow(contract.read_control(_metadata(mounts, "workflow-control.yaml")), pipeline)
        for selector in contract.read_selectors(_metadata(mounts, "destination-selectors.yaml")):
            labels = ", ".join(f"{key}={value}" for key, value in selector.labels.items())
            notes.append(f"{pipeline.name} selects destinations with {labels}; the step's {place} is used")
        if section.destination:
            files |= {f"{pipeline.name}/{name}": text for name, text in _files(mounts.output, exact=True)}
            shutil.rmtree(mounts.input.parent, ignore_errors=True)
            continue
        written = contract.documents(list(_files(mounts.output)))
        foreign = contract.platform_objects(written)
        if foreign:
            raise ToolFailed(
                f"the pipeline {pipeline.name} writes objects that only Kratix understands: {', '.join(foreign)}",
                hint="declare the same under `requires`, or as a step of its own",
            )
        documents += written
        shutil.rmtree(mounts.input.parent, ignore_errors=True)
    return Rendered(tuple(documents), status, tuple(notes), files)


async def _run(
    engine: ContainerRunner,
    section: KratixSection,
    pipeline: Pipeline,
    mounts: Mounts,
    network: str,
    *,
    action: str,
    owner: str,
    log: Callable[[str], None],
) -> None:
    variables = contract.environment(section, pipeline.name, action)
    for container in pipeline.containers:
        name = f"bond-kratix-{digest(f'{owner}/{pipeline.name}/{container.name}'.encode())[:24]}"
        log(f"{pipeline.name}: {container.name} ({container.image})")
        printed = await engine.run(
            container, variables, mounts, name=name, network=network, seconds=seconds(section.timeout)
        )
        for line in printed.splitlines():
            log(f"{container.name}: {line}")


def _follow(control: contract.Control, pipeline: Pipeline) -> None:
    """Go on, wait, or stop, as the pipeline says."""
    words = f": {control.message}" if control.message else ""
    if control.suspend:
        raise OperationFailed(
            f"the pipeline {pipeline.name} has suspended its workflow{words}",
            hint="`bond service retry` runs its pipelines again, from the first of the step",
        )
    if control.retry_after_seconds is not None:
        raise TryLater(
            f"the pipeline {pipeline.name} runs again in {control.retry_after_seconds:g} s{words}",
            after_seconds=control.retry_after_seconds,
        )


def _metadata(mounts: Mounts, name: str) -> str:
    path = mounts.metadata / name
    if path.is_symlink() or not path.is_file():
        return ""
    if path.stat().st_size > MAX_OUTPUT_BYTES:
        raise ToolFailed(f"{name} is larger than {MAX_OUTPUT_BYTES // 1024**2} MiB")
    return path.read_text("utf-8", "replace")


def _files(folder: Path, *, exact: bool = False) -> Iterator[tuple[str, str]]:
    """What a pipeline wrote: never through a link, which may lead anywhere on the worker."""
    left = MAX_OUTPUT_BYTES
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_symlink():
            raise ToolFailed(f"{path.relative_to(folder)} in /kratix/output is a link")
        if not path.is_file():
            continue
        left -= path.stat().st_size
        if left < 0 or number > MAX_FILES:
            raise ToolFailed(f"a pipeline writes more than {MAX_OUTPUT_BYTES // 1024**2} MiB or {MAX_FILES} files")
        name = path.relative_to(folder).as_posix()
        try:
            yield name, path.read_bytes().decode("utf-8", "strict" if exact else "replace")
        except UnicodeDecodeError:
            raise ToolFailed(
                f"{name} is not UTF-8 text; only text is pushed to a destination", where=f"/kratix/output/{name}"
            ) from None
