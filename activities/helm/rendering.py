"""Rendering a chart, and what policies are shown of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import read_manifests
from bondstone.activities.helm.artefact import Location
from bondstone.activities.helm.chart import may_bring_kinds
from bondstone.activities.helm.dialects import DOCUMENT, asks_the_server, merged
from bondstone.activities.helm.preflight import events_of
from bondstone.activities.helm.release import Release, from_content
from bondstone.activities.helm.session import HelmSession, Objects
from bondstone.base.errors import ToolFailed

TRIAL_KUBE_VERSION: Final = "1.37.0"
"""The Kubernetes that tests of a promise render charts for: there is no cluster to ask."""


async def definitions(session: HelmSession, laid_out: list[str], archive: bytes) -> list[dict[str, Any]]:
    """The definitions of kinds in a chart's `crds/`, which Helm installs with the first revision."""
    if not may_bring_kinds(archive):
        return []
    out = await session.read("show crds", ["show", "crds", laid_out[0]])
    return read_manifests(out.decode("utf-8", "replace"), where=session.where)


async def render(session: HelmSession, cluster: Cluster, where: Location, laid_out: list[str]) -> Release:
    """The release as it would be, rendered against the cluster (`lookup`, its version and kinds)."""
    arguments = [
        *("upgrade", where.release, *laid_out, "--install"),
        *("--dry-run=server", "--output", "json", "--reset-values", "--namespace", where.namespace),
        *merged(await session.tool()),
        "--disable-openapi-validation",  # the API server itself is asked, which is quicker and knows more
    ]
    out = await session.read("upgrade --dry-run", arguments, cluster.connection)
    try:
        return from_content(await asyncio.to_thread(json.loads, out))
    except (ValueError, KeyError, TypeError):
        raise ToolFailed(
            "helm printed no release", where=session.where, hint="is it Helm 3.13 or newer?"
        ) from None


async def render_before_its_kinds(
    session: HelmSession, cluster: Cluster, where: Location, laid_out: list[str], kinds: Sequence[dict[str, Any]]
) -> Release:
    """The first revision of a chart whose kinds the cluster does not know yet: a dry run of Helm would fail."""
    version_info = await asyncio.to_thread(cluster.request, "GET", "/version")
    groups = await asyncio.to_thread(cluster.request, "GET", "/apis")
    versions = [version["groupVersion"] for group in groups["groups"] for version in group["versions"]]
    for item in kinds:
        spec = item.get("spec") or {}
        versions += [f"{spec.get('group')}/{version.get('name')}" for version in spec.get("versions") or ()]
    arguments = [
        *("template", where.release, *laid_out, "--namespace", where.namespace),
        *asks_the_server(await session.tool()),
        *("--kube-version", version_info["gitVersion"]),
        *(word for version in dict.fromkeys(["v1", *versions]) for word in ("--api-versions", version)),
    ]
    out = await session.read("template", arguments, cluster.connection)
    texts = [text for text in DOCUMENT.split(out.decode("utf-8", "replace")) if text.strip()]
    hooks = [text for text in texts if any(is_hook(item) for item in read_manifests(text, where=session.where))]
    rest = [text for text in texts if text not in hooks]
    return Release(where.release, where.namespace, 1, "", manifest="\n---\n".join(["", *rest]), hooks=tuple(hooks))


async def render_alone(session: HelmSession, where: Location, archive: bytes) -> str:
    """The manifests of a chart, hooks included, rendered with no cluster."""
    laid_out = session.lay_out(archive, session.section.values)
    arguments = ["template", where.release, *laid_out, "--namespace", where.namespace]
    # Without a cluster Helm takes the version of the library it was built with, and a Helm that was built from
    # source says 1.20: charts with a `kubeVersion` then do not render.
    out = await session.read("template", [*arguments, "--kube-version", TRIAL_KUBE_VERSION])
    return out.decode("utf-8", "replace")


def document(
    where: Location, objects: Objects, hooks: Sequence[dict[str, Any]], current: Release | None
) -> dict[str, Any]:
    """What becomes `input.plan` of policies: each manifest as `helm template` gives it, secrets not yet masked."""
    return {
        "format_version": "1.0",
        "manifests": [*objects.values(), *hooks],
        "release": {
            "name": where.release,
            "namespace": where.namespace,
            "cluster": where.cluster,
            "revision": current.revision if current else 0,
        },
        "errored": False,
    }


def hooks_of(session: HelmSession, release: Release) -> list[dict[str, Any]]:
    """The manifests of a release's hooks."""
    manifests = [item for text in release.hooks for item in read_manifests(text, where=session.where)]
    session.note_secrets(manifests)
    return manifests


def is_hook(item: dict[str, Any]) -> bool:
    """Whether Helm runs an object as a hook, apart from the release."""
    return bool(events_of(item))
