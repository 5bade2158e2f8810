"""Manifests in files and folders: every document of every file, and every mistake with its file and line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from bondstone.base.errors import ManifestInvalid, NotFound, Problem
from bondstone.campaign.document import read_campaign
from bondstone.client.manifests.entries import (
    PROMISE_FILE,
    STANDARD_INPUT,
    CampaignEntry,
    Manifests,
    PromiseEntry,
    Reading,
    ServiceEntry,
    is_first,
)
from bondstone.client.manifests.platform_files import MODELS, read_access_manifest, read_platform_manifest
from bondstone.client.manifests.requests import read_request
from bondstone.documents.yaml_places import MAX_BYTES, PlacedDocument, did_you_mean, model_problems, read, refuse
from bondstone.model.manifest import ServiceManifest

MAX_FILES: Final = 5000
"""Most files that are read at once."""
MAX_MANIFESTS: Final = 5000
"""Most documents that are read at once."""
MAX_PIPED_BYTES: Final = 8 << 20
"""Most that is read of standard input: it brings many manifests in one stream."""
PIPE: Final = Path("-")
"""The path that stands for standard input."""
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})

_SEPARATOR: Final = re.compile(rb"^---(?=[ \t\r]|$)", re.MULTILINE)
_STRATEGY_HINT: Final = "name it in the `strategy_file` of a Schedule, or use it with `bond schedule create -f`"
_KINDS: Final = ("Service", "Campaign", "Promise", "Access", *MODELS)


def read_manifests(
    paths: Sequence[Path], *, now: datetime | None = None, standard_input: BinaryIO | None = None
) -> Manifests:
    """Read every manifest in files and folders.

    Args:
        paths: Files, and folders that are read with all that is in them, each file once. A folder with a
            promise.yaml is that promise, and its other files are no manifests; nor is the data of policies. `-` is
            standard input.
        now: From when on windows of campaigns must open; default: now.
        standard_input: What `-` stands for.

    Raises:
        NotFound: a path does not exist.
        ManifestInvalid: with every mistake of every file by line and column.
    """
    reading = Reading()
    moment = now or datetime.now(UTC)
    files: dict[Path, tuple[Path, Path]] = {}
    if PIPE in paths:
        _read_pipe(standard_input, reading, moment)
    for root, path in islice(_files([path for path in paths if path != PIPE], reading), MAX_FILES + 1):
        files.setdefault(Path(os.path.normpath(path.absolute())), (root, path))
    for number, (root, path) in enumerate(files.values()):
        reading.root = root
        if number == MAX_FILES:
            reading.problems.append(Problem(message=f"there are more than {MAX_FILES} files", file=str(path)))
            break
        if path.name == PROMISE_FILE:
            reading.promises.append(PromiseEntry(path.parent, str(path)))
        else:
            _read(path, reading, moment)
    reading.problems += _without_purpose(reading)
    manifests = Manifests(**{kind.name: tuple(getattr(reading, kind.name)) for kind in fields(Manifests)})
    if len(manifests) > MAX_MANIFESTS:
        reading.problems.append(Problem(message=f"there are more than {MAX_MANIFESTS} manifests"))
    if reading.problems:
        raise refuse(reading.problems, "the set of manifests", ManifestInvalid)
    return manifests


def _without_purpose(reading: Reading) -> Iterator[Problem]:
    """Strategies that no schedule names, and what is neither a manifest nor the data of policies."""
    for file, document in reading.strategies.items():
        if file not in reading.used_strategies:
            words = "a Strategy alone does nothing, and no Schedule here names it"
            yield document.problem(("kind",), words, hint=_STRATEGY_HINT)
    policies = [entry.directory.resolve() for entry in reading.policies if entry.directory is not None]
    for document in reading.others:
        if not any(folder in Path(document.file).resolve().parents for folder in policies):
            words = "a manifest is a mapping with apiVersion, kind, metadata and spec"
            yield document.problem((), words)


def _files(paths: Iterable[Path], reading: Reading) -> Iterator[tuple[Path, Path]]:
    """The files, each behind the folder that what it refers to must lie in."""
    for path in paths:
        if path.is_dir():
            for file in _folder(path, path, reading):
                yield path, file
        elif path.exists():
            yield path.parent, path
        else:
            raise NotFound(f"{path} does not exist", hint="name a file or a folder with -f")


def _folder(folder: Path, root: Path, reading: Reading) -> Iterator[Path]:
    if (folder / PROMISE_FILE).is_file():
        yield folder / PROMISE_FILE
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        flaw = _flaw_of_link(path, root) if path.is_symlink() else ""
        if flaw:
            reading.problems.append(Problem(message=flaw, file=str(path)))
        elif path.is_dir():
            yield from _folder(path, root, reading)
        elif path.suffix in SUFFIXES:
            yield path


def _flaw_of_link(link: Path, root: Path) -> str:
    """Why a symbolic link in a folder is not followed; empty where it may be."""
    try:
        target = link.resolve()
    except (OSError, RuntimeError):
        return "is a symbolic link in a circle"
    if not target.is_relative_to(root.resolve()):
        return f"is a symbolic link that leads out of {root}, the folder that is applied"
    if target in link.parent.resolve().parents or target == link.parent.resolve():
        return "is a symbolic link to a folder that it lies in"
    return ""


def _read(path: Path, reading: Reading, now: datetime) -> None:
    file = str(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        reading.problems.append(Problem(message=f"cannot be read: {error.strerror}", file=file))
        return
    if data is None:
        reading.problems.append(Problem(message=f"the file is larger than {MAX_BYTES // 1024} KiB", file=file))
        return
    _documents(data, file, reading, now)


def _read_pipe(stream: BinaryIO | None, reading: Reading, now: datetime) -> None:
    """Read standard input, which lies in no folder and may have no end."""
    try:
        data = stream.read(MAX_PIPED_BYTES + 1) if stream is not None else None
    except (OSError, ValueError):  # closed while it was open
        data = None
    if data is None:
        reading.problems.append(Problem(message="cannot be read: it is closed", file=STANDARD_INPUT))
    elif len(data) > MAX_PIPED_BYTES:
        words = f"it is longer than {MAX_PIPED_BYTES >> 20} MiB"
        reading.problems.append(Problem(message=words, file=STANDARD_INPUT, hint="apply a folder: -f DIR"))
    else:
        reading.root = None
        _documents(data, STANDARD_INPUT, reading, now)


def _documents(data: bytes, file: str, reading: Reading, now: datetime) -> None:
    for piece in _pieces(data):
        document = read(piece, file)
        if document.problems:
            reading.problems += document.problems
        else:
            _entry(document, piece, reading, now)


def _pieces(data: bytes) -> Iterator[bytes]:
    """Each document of a stream alone, behind as many empty lines as keep its lines where they are.

    A mistake in one document so hides none in the others.
    """
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(data)), len(data)]
    for start, end in pairwise(starts):
        piece = data[start:end]
        content = [line for line in piece.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
        if content and content != [b"---"]:
            yield b"\n" * data.count(b"\n", 0, start) + piece


def _entry(document: PlacedDocument, piece: bytes, reading: Reading, now: datetime) -> None:
    kind = document.data.get("kind") if isinstance(document.data, dict) else None
    if kind is not None and not isinstance(kind, str):
        reading.problems.append(document.problem(("kind",), "kind must be text"))
    elif kind == "Service":
        _service(document, reading)
    elif kind == "Campaign":
        outcome = read_campaign(piece, document.file, now=now)
        reading.problems += outcome.problems
        if outcome.manifest is not None:
            name = outcome.manifest.metadata.name
            if is_first(f"campaign {name}", document, reading):
                reading.campaigns.append(CampaignEntry(document, name, piece))
    elif kind == "Access":
        read_access_manifest(document, piece, reading)
    elif kind == "Strategy":
        reading.strategies[Path(document.file).resolve()] = document
    elif kind in MODELS:
        read_platform_manifest(document, str(kind), reading, now)
    else:
        _other(document, kind, reading)


def _other(document: PlacedDocument, kind: str | None, reading: Reading) -> None:
    """What is of no kind of ours: perhaps a request of Kratix."""
    if kind is None:
        reading.others.append(document)
    elif not read_request(document, kind, reading):
        hint = did_you_mean(kind, _KINDS)
        reading.problems.append(document.problem(("kind",), f"a {kind} is not applied from here", hint=hint))


def _service(document: PlacedDocument, reading: Reading) -> None:
    try:
        manifest = ServiceManifest.model_validate(document.data)
    except ValidationError as error:
        reading.problems += model_problems(document, error, ServiceManifest)
        return
    if is_first(f"service {manifest.id}", document, reading):
        reading.services.append(ServiceEntry(document, manifest))
