"""Manifests of schedules, freezes, policies, access and promises, as `bond apply` reads them."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from bondstone.base.errors import Problem
from bondstone.campaign.document import inline_strategy, read_strategy
from bondstone.campaign.recurrence import check
from bondstone.campaign.windows import CronError, zone_names
from bondstone.client.manifests.entries import (
    PROMISE_FILE,
    AccessEntry,
    FreezeEntry,
    PolicySetEntry,
    PromiseEntry,
    PromiseReferenceEntry,
    Reading,
    ScheduleManifestEntry,
    beside,
    is_first,
)
from bondstone.documents.yaml_places import MAX_BYTES, PlacedDocument, did_you_mean, model_problems, read_file
from bondstone.identity.document import read_access
from bondstone.model.campaign.manifest import Strategy
from bondstone.model.campaign.schedule import LONGEST_NAME
from bondstone.model.platform_manifests import (
    FreezeManifest,
    PolicySetManifest,
    PromiseReference,
    ScheduleManifest,
)

MODELS: Final[Mapping[str, type[ScheduleManifest | FreezeManifest | PolicySetManifest | PromiseReference]]] = {
    "Schedule": ScheduleManifest,
    "Freeze": FreezeManifest,
    "PolicySet": PolicySetManifest,
    "PromiseReference": PromiseReference,
}
"""Kind to model."""


def read_platform_manifest(document: PlacedDocument, kind: str, reading: Reading, now: datetime) -> None:
    """Read a manifest of one of `MODELS`, and add it to what was read.

    Args:
        document: The manifest.
        kind: Its kind.
        reading: What was read so far.
        now: From when on windows must open.
    """
    try:
        manifest = MODELS[kind].model_validate(document.data)
    except ValidationError as error:
        reading.problems += model_problems(document, error, MODELS[kind])
        if kind == "Schedule" and isinstance(document.data.get("spec"), dict):
            # The mistakes of its strategy too, though its own make it no schedule.
            known = set(reading.problems)
            reading.problems += [
                each for each in _strategy(document, {}, reading, now).problems if each not in known
            ]
        return
    match manifest:
        case ScheduleManifest():
            _schedule(document, manifest, reading, now)
        case FreezeManifest():
            _freeze(document, manifest, reading)
        case PolicySetManifest():
            _policies(document, manifest, reading)
        case PromiseReference():
            _reference(document, manifest, reading)


def _policies(document: PlacedDocument, manifest: PolicySetManifest, reading: Reading) -> None:
    spec = manifest.spec
    if bool(spec.directory) is bool(spec.modules):
        words = "a policy set has either `directory` or `modules`"
        reading.problems.append(document.problem(("spec",), words, key=True))
        return
    folder = beside(spec.directory, document, reading, ("spec", "directory")) if spec.directory else None
    if spec.directory and folder is None:
        return
    if folder is not None and not folder.is_dir():
        words = f"{spec.directory} is not a folder beside this file"
        reading.problems.append(document.problem(("spec", "directory"), words))
    elif is_first("the policy set", document, reading, ("kind",)):
        reading.policies.append(PolicySetEntry(document, manifest, folder))


def _freeze(document: PlacedDocument, manifest: FreezeManifest, reading: Reading) -> None:
    spec = manifest.spec
    if spec.until is not None and spec.begins is not None and spec.until <= spec.begins:
        words = "the freeze would end before it begins"
        reading.problems.append(document.problem(("spec", "until"), words))
    if not manifest.metadata.reason.strip():
        reading.problems.append(document.problem(("metadata",), "a freeze needs a reason", key=True))
    if is_first(f"freeze {manifest.metadata.name}", document, reading):
        reading.freezes.append(FreezeEntry(document, manifest))


def _schedule(document: PlacedDocument, manifest: ScheduleManifest, reading: Reading, now: datetime) -> None:
    metadata = manifest.metadata
    about = {"name": metadata.name, "owner": metadata.owner, "reason": metadata.reason, "change": metadata.change}
    spec = manifest.spec
    reading.problems += _timing_problems(document, spec.cron, spec.time_zone)
    if len(metadata.name) > LONGEST_NAME:
        words = f"{metadata.name!r} is too long for a schedule: its campaigns have the time in their names"
        hint = f"use at most {LONGEST_NAME} characters"
        reading.problems.append(document.problem(("metadata", "name"), words, hint=hint))
    outcome = _strategy(document, about, reading, now)
    reading.problems += outcome.problems
    strategy = outcome.manifest
    if strategy is None:
        return
    if strategy.spec.operation is None:
        words = "a schedule needs a strategy that says what to do"
        at = (*outcome.at, "spec") if spec.strategy_file else ("spec", "strategy")
        reading.problems.append(outcome.document.problem(at, words, hint="add operation: patch"))
    elif not (metadata.reason or strategy.metadata.reason).strip():
        words = "the reason is missing"
        reading.problems.append(document.problem(("metadata",), words, key=True, hint="add metadata.reason"))
    if is_first(f"schedule {metadata.name}", document, reading):
        entry = ScheduleManifestEntry(document, manifest, strategy, outcome.data, outcome.document.file)
        reading.schedules.append(entry)


@dataclass(frozen=True, slots=True)
class _ReadStrategy:
    document: PlacedDocument
    manifest: Strategy | None = None
    data: bytes = b""
    problems: tuple[Problem, ...] = ()
    at: tuple[str, ...] = ()


def _strategy(
    document: PlacedDocument, about: Mapping[str, str], reading: Reading, now: datetime
) -> _ReadStrategy:
    """The strategy of a schedule: in its manifest, or in the file that it names."""
    spec = document.data["spec"]
    name, inline = spec.get("strategy_file"), spec.get("strategy")
    if bool(name) is (inline is not None):
        words = "a schedule has either `strategy` or `strategy_file`"
        return _ReadStrategy(document, problems=(document.problem(("spec",), words, key=True),))
    if not name:
        if not isinstance(inline, dict):
            return _ReadStrategy(document)
        outcome = inline_strategy(document, ("spec", "strategy"), {"name": "inline", **about}, now=now)
        data = json.dumps(outcome.document.data).encode()
        return _ReadStrategy(document, outcome.manifest, data, outcome.problems)
    known = len(reading.problems)
    path = beside(str(name), document, reading, ("spec", "strategy_file"))
    if path is None:
        outside = tuple(reading.problems[known:])
        del reading.problems[known:]
        return _ReadStrategy(document, problems=outside)
    data, flaw = _content(path)
    if flaw:
        problem = document.problem(("spec", "strategy_file"), f"{name} {flaw}")
        return _ReadStrategy(document, problems=(problem,))
    reading.used_strategies.add(path.resolve())
    outcome = read_strategy(data, str(path), now=now)
    return _ReadStrategy(outcome.document, outcome.manifest, data, outcome.problems)


def _content(path: Path) -> tuple[bytes, str]:
    """What a file holds, or why it is not read: it may be none, or one without an end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", "cannot be read: it is no file"
        if status.st_size > MAX_BYTES:
            return b"", f"is larger than {MAX_BYTES // 1024} KiB"
        return path.read_bytes(), ""
    except OSError as error:
        return b"", f"cannot be read: {error.strerror}"
    except ValueError:  # a NUL in its name
        return b"", "cannot be read: that is not a valid file name"


def _reference(document: PlacedDocument, manifest: PromiseReference, reading: Reading) -> None:
    wanted = f"{manifest.metadata.name}@{manifest.metadata.version}"
    if not is_first(f"promise {wanted}", document, reading):
        return
    if not manifest.spec.directory:
        reading.references.append(PromiseReferenceEntry(document, manifest))
        return
    folder = beside(manifest.spec.directory, document, reading, ("spec", "directory"))
    if folder is None:
        return
    if not (folder / PROMISE_FILE).is_file():
        words = f"{manifest.spec.directory} holds no {PROMISE_FILE}"
        reading.problems.append(document.problem(("spec", "directory"), words))
        return
    holds = read_file(folder / PROMISE_FILE, str(folder / PROMISE_FILE)).data
    metadata = holds.get("metadata") if isinstance(holds, dict) else None
    known = metadata if isinstance(metadata, dict) else {}
    name, version = known.get("name"), known.get("version")
    if f"{name}@{version}" != wanted:
        words = f"{manifest.spec.directory} is {name}@{version}, and not {wanted}"
        reading.problems.append(document.problem(("metadata", "version"), words))
    elif all(folder.resolve() != each.directory.resolve() for each in reading.promises):
        reading.promises.append(PromiseEntry(folder, str(folder / PROMISE_FILE)))


def read_access_manifest(document: PlacedDocument, piece: bytes, reading: Reading) -> None:
    """Read an access document, and add it to what was read.

    Args:
        document: The manifest.
        piece: Its text, behind empty lines.
        reading: What was read so far.
    """
    outcome = read_access(piece, document.file, needs_admin=False)
    reading.problems += outcome.problems
    if outcome.document is not None and is_first("the access document", document, reading, ("kind",)):
        reading.access.append(AccessEntry(document, outcome.document, piece.decode().lstrip("\n")))


def _timing_problems(document: PlacedDocument, cron: str, time_zone: str) -> Iterator[Problem]:
    try:
        check(cron)
    except CronError as error:
        yield document.inside(("spec", "cron"), error.offset, error.message, hint=error.hint)
    if time_zone not in zone_names():
        near = did_you_mean(time_zone, zone_names())
        hint = near if near.startswith("did") else "write an IANA zone, as in Europe/London"
        yield document.problem(("spec", "time_zone"), f"{time_zone!r} is not a time zone", hint=hint)
