"""What would fail only once Helm applies a plan, found while it is planned: before anybody approves it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import project
from bondstone.activities.clusters.status import condition_of
from bondstone.activities.helm.artefact import Location
from bondstone.activities.helm.release import Release
from bondstone.activities.helm.session import HelmSession
from bondstone.base.errors import Problem, ToolFailed

HOOK: Final = "helm.sh/hook"
DELETE_POLICY: Final = "helm.sh/hook-delete-policy"
BEFORE: Final = "before-hook-creation"
SUCCEEDED: Final = "hook-succeeded"
TESTS: Final = frozenset({"test", "test-success", "test-failure"})
"""When `helm test` runs a hook, and nothing else."""
MAX_RELEASE_BYTES: Final = 1024 * 1024
"""What the API server takes as the data of one Secret, and so what Helm can keep of one revision."""


def check_size(session: HelmSession, rendered: Release, archive: bytes, values: Mapping[str, Any]) -> None:
    """Refuse a release that Helm could install, but not keep.

    Args:
        session: The attempt at work.
        rendered: The release to come.
        archive: Its chart; counted where Helm printed no release, because the cluster lacks the chart's kinds.
        values: As the section gives them.

    Raises:
        ToolFailed: when it is too large for a Secret.
    """
    content = rendered.content or {
        "manifest": rendered.manifest, "hooks": rendered.hooks, "config": dict(values),
        "chart": {name: base64.b64encode(data).decode() for name, data in _own_files(archive)},
    }  # fmt: skip
    packed = gzip.compress(json.dumps(content).encode(), compresslevel=9, mtime=0)
    size = len(base64.b64encode(packed))
    if size > MAX_RELEASE_BYTES:
        raise ToolFailed(
            f"the release is too large for Helm to keep: {size / MAX_RELEASE_BYTES:.1f} MiB packed, and a Secret"
            " holds 1 MiB",
            where=session.where,
            hint="take files that are not needed out of the chart (.helmignore), or split it in two",
        )


async def check_hooks(
    session: HelmSession,
    cluster: Cluster,
    where: Location,
    hooks: Sequence[dict[str, Any]],
    known: Iterable[Release],
    *,
    first: bool,
) -> None:
    """Refuse a plan whose hooks Helm could not make, because an earlier run has left them.

    Args:
        session: The attempt at work.
        cluster: The release is in.
        where: It is.
        hooks: Their manifests.
        known: Revisions of the release.
        first: Whether it is an installation.

    Raises:
        ToolFailed: naming each that is in the way, and whose it is.
    """
    run = {"pre-install", "post-install"} if first else {"pre-upgrade", "post-upgrade"}
    once = [item for item in hooks if events_of(item) & run and BEFORE not in policies_of(item)]
    refs = await session.placed(cluster, once, where.namespace)
    live = await asyncio.to_thread(cluster.each, cluster.get, refs)
    texts = [text for release in known for text in release.hooks]
    before = {ref.key for ref in await session.objects(cluster, "\n---\n".join(texts), where.namespace)}
    problems: list[Problem] = []
    commands: list[str] = []
    for ref, manifest, standing in zip(refs, once, live, strict=True):
        if standing is None:
            continue
        is_hook = ref.key in before or _is_the_hook(standing, manifest)
        problems.append(Problem(message=f"{ref.address}: {_whose(standing, is_hook=is_hook)}"))
        if is_hook:
            commands.append(f"kubectl delete {ref.kind.lower()} {ref.name} --namespace {ref.namespace}")
    if problems:
        remedy = f"see its log, then `{'; '.join(commands)}`; or add {BEFORE} to `{DELETE_POLICY}` in the chart"
        raise ToolFailed(
            f"Helm would fail: hooks of the chart exist already, and their `{DELETE_POLICY}` lacks {BEFORE}",
            where=session.where,
            problems=problems,
            hint=remedy if commands else "rename one of the two",
        )


def events_of(manifest: Mapping[str, Any]) -> set[str]:
    """When Helm runs a hook: `pre-install`, `post-delete` and so on."""
    return _words(manifest, HOOK)


def policies_of(manifest: Mapping[str, Any]) -> set[str]:
    """When Helm deletes a hook."""
    return _words(manifest, DELETE_POLICY) or {BEFORE}


def stays(manifest: Mapping[str, Any], *, stands: bool) -> bool:
    """Whether a hook is left when the release is uninstalled: Helm never counts hooks as part of a release.

    Args:
        manifest: Of the hook.
        stands: Whether it is in the cluster now.
    """
    if events_of(manifest) & {"pre-delete", "post-delete"}:
        return SUCCEEDED not in policies_of(manifest)
    return stands


def _words(manifest: Mapping[str, Any], annotation: str) -> set[str]:
    text = str(((manifest.get("metadata") or {}).get("annotations") or {}).get(annotation) or "")
    return {word.strip().lower() for word in text.split(",") if word.strip()}


def _is_the_hook(live: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether an object was made of a hook's manifest: of a first installation that failed no revision is left."""
    metadata = manifest.get("metadata") or {}
    marks = {"metadata": {key: metadata[key] for key in ("annotations", "labels") if metadata.get(key)}}
    return bool(project(dict(live), marks) == marks)


def _whose(live: Mapping[str, Any], *, is_hook: bool) -> str:
    if not is_hook:
        return "an object of that name exists, and it is not a hook of this release"
    failed = condition_of(live, "Failed")
    if failed.get("status") == "True":
        reason = f": {failed['message']}" if failed.get("message") else ""
        return f"a hook of this release that failed in an earlier attempt{reason}"
    if (live.get("status") or {}).get("active"):
        return "a hook of this release that still runs"
    return "a hook of this release that an earlier run left"


def _own_files(archive: bytes) -> Iterable[tuple[str, bytes]]:
    """The files of a chart that Helm keeps with a release: all but those of the charts inside."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if member.isfile() and PurePosixPath(member.name).parts[1:2] != ("charts",):
                held = files.extractfile(member)
                yield member.name, held.read() if held is not None else b""
