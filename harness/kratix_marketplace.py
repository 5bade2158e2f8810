"""Kratix promises, run as services as far as their images can be built here.

    python -m harness.kratix_marketplace FOLDER [FOLDER …] [--only NAME]

A FOLDER is a checkout that holds promises, such as Kratix's marketplace. No image is pulled: see `kratix_images`.
What a promise installs for all requests comes first, then its example request; each is planned, applied to a real
control plane, compared with it, and taken down. Before the request, the admission webhooks that the platform part
installed are removed: nodes are played, so that nothing answers them. The control plane knows the APIs of all
promises, as under Kratix; pipelines that have rights there under Kratix (`rbac`) reach it by a kubeconfig in their
image.
Needs podman, runc, Go, busybox-static, kubectl, and the programs that images add.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.kratix.scaffold import draft, platform_draft
from bondstone.base.errors import BondError, InvalidInput
from bondstone.client import manifests
from bondstone.client.direct.client import DirectClient
from bondstone.executors.scaffold import Draft, write_promise
from bondstone.model.service import OperationRecord, OperationStatus
from harness import local_platform
from harness.kratix_images import Images
from harness.pinned import ToolMissing
from harness.servers import containers, kubernetes
from harness.waiting import until_async

SECONDS: Final = 600
REQUESTS: Final[Mapping[str, str]] = {"app-stack": "postgresql"}
"""Promises with a pipeline that waits for what it requests of another: Kratix is played, see `_fulfilled`."""
LESS: Final[Mapping[str, tuple[str, ...]]] = {"app-stack": ("database",), "workshop-app-promise": ("dbDriver",)}
"""Of a promise's example request, the fields without which it is tried too: with them it requests a database."""
WORKER: Final = "worker"
"""A second cluster, as under Kratix: of what is installed for a request that another promise's pipeline wrote."""


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


@dataclass(frozen=True)
class Promise:
    """A promise of a folder.

    Args:
        name: Of its place in the checkout, else its own.
        file: Where it is.
        folder: The checkout.
        document: What the file holds.
    """

    name: str
    file: Path
    folder: Path
    document: Any


def main() -> int:
    """Try them, and print a row for each part; 1 when one that ran did not end well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--only", action="append", metavar="NAME", help="a promise; default: all of them")
    options = parser.parse_args()
    promises = [promise for folder in options.folders for promise in _promises(folder)]
    directory = Path(tempfile.mkdtemp(prefix="bond-marketplace-"))
    try:
        rows = asyncio.run(_try_all(promises, options.only, directory))
    except ToolMissing as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    ran = [row for row in rows if row.part]
    print(f"{len({row.name for row in ran if row.whole})} of {len({row.name for row in ran})} promises ran whole")
    return 0 if all(row.whole for row in ran) else 1


def _promises(folder: Path) -> list[Promise]:
    promises = []
    for file in sorted(folder.rglob("*promise.yaml")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        document = None if hidden else yaml.safe_load(file.read_text())
        if document and document.get("kind") == "Promise":
            name = "-".join(file.parent.relative_to(folder).parts) or document["metadata"]["name"]
            promises.append(Promise(name, file, folder, document))
    return promises


async def _try_all(promises: Sequence[Promise], only: Sequence[str] | None, directory: Path) -> list[Row]:
    rows = []
    with (
        kubernetes.running(_made(directory / "plane")) as plane,
        containers.engine(_made(directory / "engine")) as engine,
        ExitStack() as stack,
    ):
        images = Images(engine, directory / "images", plane.kubeconfig)
        _apply_apis(promises, plane.kubeconfig)
        clusters = {"default": {"kubeconfig": str(plane.kubeconfig)}}
        if any(promise.name in REQUESTS and (not only or promise.name in only) for promise in promises):
            worker = stack.enter_context(kubernetes.running(_made(directory / WORKER)))
            clusters[WORKER] = {"kubeconfig": str(worker.kubeconfig)}
        settings = {"BOND_CLUSTERS": json.dumps(clusters), "BOND_CONTAINER_ENGINE": engine}
        settings["BOND_CONTAINER_NETWORK"] = "host"
        with local_platform.running(directory / "data", settings) as platform:
            async with platform.client() as bond:
                for promise in promises:
                    if only and promise.name not in only:
                        continue
                    other = _requested(promise, promises)
                    async for row in _try(bond, images, promise, _made(directory / promise.name), other):
                        rows.append(row)
                        part = row.part or "-"
                        print(f"{row.name:24} {part:9} {row.objects:4}  {row.outcome}", flush=True)
    return rows


def _apply_apis(promises: Sequence[Promise], kubeconfig: Path) -> None:
    """Let the control plane know the kinds of all requests: some pipelines write requests of other promises."""
    apis = [promise.document["spec"]["api"] for promise in promises if promise.document["spec"].get("api")]
    for api in apis:
        api.pop("status", None)
        for version in api["spec"]["versions"]:  # as Kratix does, which writes there how far a request is
            version.setdefault("subresources", {})["status"] = {}
            shown = version["schema"]["openAPIV3Schema"].setdefault("properties", {})
            shown["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    command = ["kubectl", f"--kubeconfig={kubeconfig}", "apply", "--validate=false", "--filename=-"]
    # One of them is no definition that an API server takes; nothing here writes its kind.
    subprocess.run(command, input=yaml.safe_dump_all(apis), text=True, check=False, capture_output=True)


def _remove_webhooks(kubeconfig: Path) -> None:
    """Take away the admission webhooks, whose pods only seem to run."""
    kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
    command = ["kubectl", f"--kubeconfig={kubeconfig}", "delete", kinds, "--all"]
    subprocess.run(command, check=True, capture_output=True)


def _requested(promise: Promise, promises: Sequence[Promise]) -> Promise | None:
    """The promise of which one of a promise's pipelines waits for a request."""
    kind = REQUESTS.get(promise.name)
    return next((each for each in promises if _kind(each) == kind), None) if kind else None


def _kind(promise: Promise) -> str:
    return str(((promise.document["spec"].get("api") or {}).get("spec") or {}).get("names", {}).get("kind", ""))


@asynccontextmanager
async def _fulfilled(
    bond: DirectClient, images: Images, promise: Promise | None, directory: Path
) -> AsyncIterator[None]:
    """Play Kratix for the one request that a pipeline writes of another promise.

    The object is given to `bond apply` as it stands in the control plane. When its service is ready, the object
    gets the status that Kratix writes, with `WorksSucceeded`.
    """
    if promise is None:
        yield
        return
    built = images.of(promise.document, promise.file.parent, promise.folder)
    rights = _has_rights(promise.document)
    standing: list[str] = []
    for part, drafted in (("platform", platform_draft), ("request", draft)):
        target = directory / f"{promise.name}-{part}"
        made = drafted(promise.file)
        made = replace(made, section={**made.section, "cluster": WORKER})
        _write(target, target.name, made, built, reaches_cluster=rights)
        await local_platform.publish(bond, target)
        if part == "platform":
            standing.append(f"market/{target.name}")
            operation = await bond.services.request(target.name, standing[-1], {})
            record = await _ends(operation)
            if record.status is not OperationStatus.SUCCEEDED:
                raise InvalidInput(f"{standing[-1]} failed: {record.error and record.error.message}")
    task = asyncio.create_task(_fulfil(bond, promise, images.kubeconfig, directory / "written.json"))
    try:
        yield
        standing.append(await task)
    finally:
        task.cancel()
    for service in reversed(standing):
        await _ends(await bond.services.decommission(service))


async def _fulfil(bond: DirectClient, promise: Promise, kubeconfig: Path, file: Path) -> str:
    """Make a service of the request that a pipeline writes, and say in the request that it is done; its name."""
    resource = str(promise.document["spec"]["api"]["metadata"]["name"])
    kubectl = ["kubectl", f"--kubeconfig={kubeconfig}"]

    async def written() -> Any:
        listed = await asyncio.to_thread(_output, [*kubectl, "get", resource, "--all-namespaces", "--output=json"])
        return next(iter(json.loads(listed)["items"]), None)

    item = await until_async(written, "a pipeline requests it", seconds=SECONDS)
    about = {key: item["metadata"][key] for key in ("name", "namespace", "labels") if key in item["metadata"]}
    request = {key: item[key] for key in ("apiVersion", "kind", "spec")}
    await asyncio.to_thread(file.write_text, json.dumps({**request, "metadata": about}))
    comparison = await manifests.compare(bond, manifests.read_manifests([file]))
    [row] = (await manifests.apply(bond, comparison, reason="a pipeline requests it")).manifests
    record = await _ends(bond.operation(row.operations[0]))
    if record.status is not OperationStatus.SUCCEEDED:
        raise InvalidInput(f"{row.name} failed: {record.error and record.error.message}")
    outputs = await bond.services.outputs(row.name)
    condition = {"type": "WorksSucceeded", "status": "True", "reason": "Played", "message": ""}
    status = {**outputs.get("status", {}), "conditions": [condition]}
    place = [resource, item["metadata"]["name"], f"--namespace={item['metadata']['namespace']}"]
    patch = f"--patch={json.dumps({'status': status})}"
    await asyncio.to_thread(_output, [*kubectl, "patch", *place, "--subresource=status", "--type=merge", patch])
    return row.name


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def _try(
    bond: DirectClient, images: Images, promise: Promise, directory: Path, other: Promise | None
) -> AsyncIterator[Row]:
    """A row for each part of a promise, or one that says why it is not tried."""
    name, file = promise.name, promise.file
    try:
        built = images.of(promise.document, file.parent, promise.folder)
    except InvalidInput as error:
        yield Row(name, "", f"not tried: {error.message}")
        return
    request = _request(file)
    parts = [("platform", platform_draft, {}), ("request", draft, request)]
    if draft(file).section.get("workflow") == "promise":  # nothing else is requested of it
        parts.pop()
    elif name in LESS:
        parts.append(("smaller", draft, {key: value for key, value in request.items() if key not in LESS[name]}))
    standing = []
    for part, drafted, inputs in parts:
        target = directory / part
        try:
            _write(target, f"{name}-{part}", drafted(file), built, reaches_cluster=_has_rights(promise.document))
        except InvalidInput:
            continue  # it has no such part
        async with _fulfilled(bond, images, other if part == "request" else None, directory):
            row, service = await _run(bond, target, inputs)
        yield row
        if service:
            standing.append(service)
        if part == "platform":
            _remove_webhooks(images.kubeconfig)
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
        operation = await bond.services.request(f"{name}-{part}", service, dict(inputs))
    except BondError as error:
        return Row(name, part, f"refused: {error.message[:200]}"), ""
    try:
        record = await _ends(operation)
    except TimeoutError:
        await operation.cancel(reason="it waits for something that does not come")
        await _ends(operation)
        return Row(name, part, f"still waited after {SECONDS} s"), service
    if record.status is not OperationStatus.SUCCEEDED:
        return Row(name, part, f"failed: {_last_line(record.error.message if record.error else '')}"), service
    objects = sum(step.changes.create for step in record.steps)
    drift = (await _ends(await bond.services.reconcile(service))).drift
    outcome = "applied, no drift" if not drift else f"applied, and {drift} objects differ at once"
    return Row(name, part, outcome, objects, whole=not drift), service


async def _ends(operation: Any) -> OperationRecord:
    async with asyncio.timeout(SECONDS):
        record: OperationRecord = await operation.wait(through_approvals=True)
    return record


def _last_line(text: str) -> str:
    """The first words and the last line of a message."""
    first, *others = text.strip().splitlines() or [""]
    return f"{first[:80]} … {others[-1][:160]}" if others else first[:240]


def _has_rights(value: Any) -> bool:
    """Whether a pipeline has rights in Kratix's cluster."""
    if isinstance(value, dict):
        return bool((value.get("rbac") or {}).get("permissions")) or any(map(_has_rights, value.values()))
    return isinstance(value, list) and any(map(_has_rights, value))


def _write(target: Path, name: str, made: Draft, images: Mapping[str, str], *, reaches_cluster: bool) -> None:
    """Write a promise as `bond promise init` does, with the images that were built here."""
    network = {"network": "pool"} if reaches_cluster else {}
    before = tuple((step, {**section, **network}) for step, section in made.before)
    write_promise(target, name, replace(made, section={**made.section, **network}, before=before))
    text = (target / "promise.yaml").read_text()
    for image, built in images.items():
        text = text.replace(image, built)
    (target / "promise.yaml").write_text(text)


def _request(file: Path) -> dict[str, Any]:
    """The inputs of the example request."""
    for name in ("resource-request.yaml", "example-resource.yaml"):
        if (example := file.parent / name).exists():
            document = next(item for item in yaml.safe_load_all(example.read_text()) if item)
            return dict(document.get("spec") or {})
    return {}


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


if __name__ == "__main__":
    sys.exit(main())
