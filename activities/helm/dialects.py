"""What Helm 3 and Helm 4 are told in different words, so that both do the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import yaml

from bondstone.activities.clusters.manifests import ManifestLoader, read_manifests
from bondstone.activities.helm.version import HelmVersion
from bondstone.activities.tooling.scratch import write_private
from bondstone.documents.json_in_yaml import json_in_yaml

FOUR: Final = 4
HOMES: Final = "helm"
"""Folder of a run that holds Helm's cache, configuration and data."""
DOCUMENT: Final = re.compile(r"^---\s*$", re.MULTILINE)
"""What parts the documents of a manifest."""
_PLUGIN: Final = "approved-plan"


def merged(tool: HelmVersion) -> tuple[str, ...]:
    """The arguments that have each object merged as Helm 3 does it.

    A plan tries each object as that merge would send it, and people approve the result. Helm 4 would take
    server-side apply for new releases, which may conflict with the managers of other fields when it is applied.
    """
    return ("--server-side=false",) if tool.major >= FOUR else ()


def asks_the_server(tool: HelmVersion) -> tuple[str, ...]:
    """The arguments of `helm template` that let `lookup` read the cluster before the chart's kinds are there.

    Helm 4 then builds each object too, and fails on a kind that is not served yet. It renders without the cluster.
    """
    return () if tool.major >= FOUR else ("--dry-run=server",)


def waiting(tool: HelmVersion, *, wait: bool = True, jobs: bool = False, atomic: bool = False) -> list[str]:
    """The arguments that have a Helm wait for objects, and undo an attempt that fails.

    Args:
        tool: Its version.
        wait: For objects to be ready, or gone.
        jobs: Also for jobs to end.
        atomic: A first install that fails is uninstalled, an upgrade rolled back; this always waits.
    """
    if tool.major >= FOUR:
        # `legacy` is how Helm 3 waits: by polling what it may read, without the right to watch it.
        waits, undo = ["--wait=legacy"] if wait or atomic else [], "--rollback-on-failure"
    else:
        waits, undo = ["--wait"] if wait else [], "--atomic"
    return [
        *waits,
        *(["--wait-for-jobs"] if wait and jobs else []),
        *([undo, "--cleanup-on-fail"] if atomic else []),
    ]


def pinned(run: Path, tool: HelmVersion, manifest: str, hooks: Sequence[str]) -> list[str]:
    """The arguments that have a Helm apply the manifests of a plan, and not what the chart renders now.

    Random values and dates of a chart then are those that were approved. Both are handed the manifests by a
    post-renderer that prints a file: Helm 3 takes any program, and leaves hooks out; Helm 4 takes plugins only,
    and hands them the hooks too.

    Args:
        run: Directory of the attempt; files are written there.
        tool: Version of the Helm.
        manifest: The manifests of the plan, without hooks.
        hooks: Those of its hooks.
    """
    if tool.major >= FOUR:
        manifest = "\n---\n".join(each for text in (manifest, *hooks) for each in _taken_apart(text))
    if not manifest.strip():
        return []
    file = str(write_private(run / "manifest.yaml", manifest.encode()))
    cat = shutil.which("cat") or "/bin/cat"
    if tool.major < FOUR:
        return ["--post-renderer", cat, "--post-renderer-args", file]
    plugin = {
        "apiVersion": "v1",
        "name": _PLUGIN,
        "version": "1.0.0",
        "type": "postrenderer/v1",
        "runtime": "subprocess",
        "runtimeConfig": {"platformCommand": [{"command": cat, "args": [file]}]},
    }
    folder = run / HOMES / "data" / "plugins" / _PLUGIN
    folder.mkdir(parents=True)
    write_private(folder / "plugin.yaml", json_in_yaml(plugin).encode())
    return ["--post-renderer", _PLUGIN]


def _taken_apart(manifest: str) -> Iterator[str]:
    """The documents of a manifest; lists become their objects, in JSON.

    Helm 4 takes lists apart behind the post-renderer, and then an item may name an anchor that stands in another
    one (helm/helm#32203). It also makes an empty text of a value that is left empty in braces (`{annotations: }`);
    JSON says `null`. The text of any other document stays as its author wrote it.
    """
    for text in DOCUMENT.split(manifest):
        if not text.strip():
            continue
        objects = read_manifests(text)
        if len(objects) > 1 or leaves_empty_in_braces(text):
            yield from map(json_in_yaml, objects)
        else:
            yield text.strip("\n")


def leaves_empty_in_braces(text: str) -> bool:
    """Whether a YAML document has an empty value inside `{…}` or `[…]`, where Helm 4 reads an empty text."""
    if "{" not in text:
        return False
    braces = 0
    for event in yaml.parse(text, Loader=ManifestLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            braces += bool(event.flow_style) or braces > 0
        elif isinstance(event, yaml.CollectionEndEvent):
            braces -= braces > 0
        elif braces and isinstance(event, yaml.ScalarEvent) and event.value == "" and event.implicit[0]:
            return True
    return False
