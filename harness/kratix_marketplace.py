"""Kratix promises of a folder, run as services as far as their images can be built here.

    python -m harness.kratix_marketplace FOLDER [NAME …]

FOLDER is a checkout of Kratix's marketplace. A promise is tried where each of its images has a Dockerfile on
`alpine` that adds no more than a shell and `yq`: the base is made here, of the system's static busybox and of yq's
module; no image is pulled. What a promise installs for all requests comes first, then its example request; each is
planned, applied to a real control plane, compared with it, and taken down. Needs podman, runc, Go, busybox-static.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.kratix.scaffold import draft, platform_draft
from bondstone.base.errors import BondError, InvalidInput
from bondstone.client.direct.client import DirectClient
from bondstone.executors.scaffold import Draft, write_promise
from bondstone.model.service import OperationRecord, OperationStatus
from harness import local_platform
from harness.pinned import ToolMissing
from harness.servers import containers, kubernetes

YQ: Final = "github.com/mikefarah/yq/v4@v4.54.3"
SECONDS: Final = 600
_BASE: Final = "localhost/base:v1"
_LIMITS: Final = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
_BUILD: Final = ("build", "--quiet", "--network=host", "--isolation=chroot", *_LIMITS)
"""Where the engine itself runs in a container, it can build no other way."""
_ADDED: Final = re.compile(r"apk add (?:--no-cache )?([a-z0-9 -]+)")
_CAN_ADD: Final = frozenset({"yq", "bash"})
_BASE_DOCKERFILE: Final = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "B=/bin/busybox; $B mkdir -p /usr/bin /usr/sbin /sbin /tmp && $B --install -s"]
COPY yq apk /usr/bin/
ENV PATH=/usr/local/bin:/usr/bin:/bin
"""


@dataclass(frozen=True)
class Row:
    """What became of a promise, or of a part of it.

    Args:
        name: Of the promise.
        part: `platform`, what it installs for all requests, or `request`.
        outcome: In words.
        objects: How many objects it put into the cluster.
        whole: Whether everything was as it should be.
    """

    name: str
    part: str
    outcome: str
    objects: int = 0
    whole: bool = False


def main() -> int:
    """Try them, and print a row for each part; 1 when one that ran did not end well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    options = parser.parse_args()
    files = [
        file
        for file in sorted(options.folder.glob("[!.]*/promise.yaml"))
        if not options.names or file.parent.name in options.names
    ]
    directory = Path(tempfile.mkdtemp(prefix="bond-marketplace-"))
    try:
        rows = asyncio.run(_try_all(files, directory))
    except ToolMissing as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    ran = [row for row in rows if row.part]
    print(f"{len({row.name for row in ran if row.whole})} of {len({row.name for row in ran})} promises ran whole")
    return 0 if all(row.whole for row in ran) else 1


async def _try_all(files: Sequence[Path], directory: Path) -> list[Row]:
    rows = []
    with (
        kubernetes.running(_made(directory / "plane")) as plane,
        containers.engine(_made(directory / "engine")) as engine,
    ):
        _build_base(engine, _made(directory / "base"))
        clusters = {"default": {"kubeconfig": str(plane.kubeconfig)}}
        settings = {"BOND_CLUSTERS": json.dumps(clusters), "BOND_CONTAINER_ENGINE": engine}
        with local_platform.running(directory / "data", settings) as platform:
            async with platform.client() as bond:
                for file in files:
                    async for row in _try(bond, engine, file, _made(directory / file.parent.name)):
                        rows.append(row)
                        part = row.part or "-"
                        print(f"{row.name:24} {part:9} {row.objects:4}  {row.outcome}", flush=True)
    return rows


async def _try(bond: DirectClient, engine: str, file: Path, directory: Path) -> AsyncIterator[Row]:
    """A row for each part of a promise, or one that says why it is not tried."""
    name = file.parent.name
    try:
        images = _build_images(engine, file)
    except InvalidInput as error:
        yield Row(name, "", error.message)
        return
    parts = [("platform", platform_draft, {}), ("request", draft, _request(file))]
    if draft(file).section.get("workflow") == "promise":  # nothing else is asked of it
        parts.pop()
    standing = []
    for part, drafted, inputs in parts:
        target = directory / part
        try:
            _write(target, f"{name}-{part}", drafted(file), images)
        except InvalidInput:
            continue  # it has no such part
        row, service = await _run(bond, target, inputs)
        yield row
        if service:
            standing.append(service)
    for service in reversed(standing):
        record = await _ends(await bond.services.decommission(service))
        if record.status is not OperationStatus.SUCCEEDED:
            yield Row(name, "taken down", f"failed: {record.error and record.error.message}")


async def _run(bond: DirectClient, folder: Path, inputs: Mapping[str, Any]) -> tuple[Row, str]:
    """Publish a part and ask for it once; its row, and the service that stands."""
    name, part = folder.parent.name, folder.name
    service = f"market/{name}-{part}"
    try:
        await local_platform.publish(bond, folder)
        record = await _ends(await bond.services.request(f"{name}-{part}", service, dict(inputs)))
    except BondError as error:
        return Row(name, part, f"refused: {error.message[:200]}"), ""
    if record.status is not OperationStatus.SUCCEEDED:
        return Row(name, part, f"failed: {record.error.message[:300] if record.error else ''}"), service
    objects = sum(step.changes.create for step in record.steps)
    drift = (await _ends(await bond.services.reconcile(service))).drift
    outcome = "applied, no drift" if not drift else f"applied, and {drift} objects differ at once"
    return Row(name, part, outcome, objects, whole=not drift), service


async def _ends(operation: Any) -> OperationRecord:
    async with asyncio.timeout(SECONDS):
        record: OperationRecord = await operation.wait(through_approvals=True)
    return record


def _write(target: Path, name: str, made: Draft, images: Mapping[str, str]) -> None:
    """Write a promise as `bond promise init` does, with the images that were built here."""
    write_promise(target, name, made)
    text = (target / "promise.yaml").read_text()
    for image, built in images.items():
        text = text.replace(image, built)
    (target / "promise.yaml").write_text(text)


def _request(file: Path) -> dict[str, Any]:
    """The inputs of the example request."""
    example = file.parent / "resource-request.yaml"
    if not example.exists():
        return {}
    document = next(item for item in yaml.safe_load_all(example.read_text()) if item)
    return dict(document.get("spec") or {})


def _build_images(engine: str, file: Path) -> dict[str, str]:
    """Build each image that a promise names; its name here, by digest.

    Raises:
        InvalidInput: one cannot be built here.
    """
    built = {}
    folders = sorted(path.parent for path in file.parent.rglob("Dockerfile"))
    for image in _images(yaml.safe_load(file.read_text())):
        name = image.rpartition("/")[2].partition(":")[0]
        fitting = [folder for folder in folders if folder.name in name]
        if len(fitting) != 1:
            raise InvalidInput(f"not tried: no Dockerfile of {image} is there")
        text = (fitting[0] / "Dockerfile").read_text()
        [*bases] = re.findall(r"^FROM\s+\"?([^\s\"]+)", text, re.MULTILINE)
        added = {word for words in _ADDED.findall(text) for word in words.split()}
        if any(base.partition(":")[0] != "alpine" for base in bases) or added - _CAN_ADD:
            others = {base for base in bases if base.partition(":")[0] != "alpine"} | (added - _CAN_ADD)
            raise InvalidInput(f"not tried: {name} needs {', '.join(sorted(others))}")
        context = Path(tempfile.mkdtemp(prefix="bond-image-"))
        try:
            shutil.copytree(fitting[0], context, dirs_exist_ok=True)
            changed = re.sub(r"^FROM\s+\"?alpine[^\s\"]*\"?", f"FROM {_BASE}", text, flags=re.MULTILINE)
            (context / "Dockerfile").write_text(changed)
            tag = f"localhost/{name}:v1"
            _engine(engine, *_BUILD, f"--tag={tag}", str(context))
        finally:
            shutil.rmtree(context)
        digest = _engine(engine, "image", "inspect", tag, "--format={{.Digest}}").strip()
        built[image] = f"localhost/{name}@{digest}"
    return built


def _images(value: Any) -> Iterator[str]:
    """Every image of a promise's pipelines."""
    if isinstance(value, dict):
        if isinstance(value.get("image"), str) and "name" in value:
            yield value["image"]
        for inner in value.values():
            yield from _images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _images(inner)


def _build_base(engine: str, directory: Path) -> None:
    busybox = shutil.which("busybox")
    go = shutil.which("go")
    if busybox is None or go is None:
        raise ToolMissing("there is no Go, or no busybox: `apt-get install busybox-static` brings the latter")
    shutil.copy(busybox, directory / "busybox")
    environment = {"GOBIN": str(directory), "CGO_ENABLED": "0", "GOFLAGS": ""}
    subprocess.run([go, "install", YQ], check=True, env={**os.environ, **environment})
    (directory / "apk").write_text("#!/bin/sh\n# What is added is there already.\n")
    (directory / "apk").chmod(0o755)
    (directory / "Dockerfile").write_text(_BASE_DOCKERFILE)
    _engine(engine, *_BUILD, f"--tag={_BASE}", str(directory))


def _engine(engine: str, *arguments: str) -> str:
    done = subprocess.run([*shlex.split(engine), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InvalidInput(f"{arguments[0]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


if __name__ == "__main__":
    sys.exit(main())
