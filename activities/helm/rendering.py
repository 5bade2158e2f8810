"""Rendering a chart, and what policies are shown of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from activities.clusters import Connection
from activities.clusters.manifests import masked, read_manifests
from activities.helm.artefact import Location
from activities.helm.release import Release, from_content
from activities.helm.session import Objects, Session
from bondstone.errors import ToolFailed

HOOK: Final = "helm.sh/hook"


async def render(session: Session, connection: Connection, where: Location, archive: bytes) -> Release:
    """The release as it would be, rendered against the cluster (`lookup`, its version and kinds)."""
    arguments = [
        *("upgrade", where.release, *session.lay_out(archive, session.section.values), "--install"),
        *("--dry-run=server", "--output", "json", "--reset-values", "--namespace", where.namespace),
        "--disable-openapi-validation",  # the API server itself is asked, which is quicker and knows more
    ]
    out = await session.read("upgrade --dry-run", arguments, connection)
    try:
        return from_content(await asyncio.to_thread(json.loads, out))
    except (ValueError, KeyError, TypeError):
        raise ToolFailed(
            "helm printed no release", where=session.where, hint="is it Helm 3.13 or newer?"
        ) from None


async def render_alone(session: Session, where: Location, archive: bytes) -> str:
    """The manifests of a chart, hooks included, rendered with no cluster."""
    laid_out = session.lay_out(archive, session.section.values)
    out = await session.read("template", ["template", where.release, *laid_out, "--namespace", where.namespace])
    return out.decode("utf-8", "replace")


def document(
    session: Session, where: Location, objects: Objects, hooks: Sequence[dict[str, Any]], current: Release | None
) -> dict[str, Any]:
    """What policies see as `input.plan`: each manifest as `helm template` gives it, what is secret masked."""
    return {
        "format_version": "1.0",
        "manifests": [masked(item, session.redact) for item in [*objects.values(), *hooks]],
        "release": {
            "name": where.release,
            "namespace": where.namespace,
            "cluster": where.cluster,
            "revision": current.revision if current else 0,
        },
        "errored": False,
    }


def hooks_of(session: Session, release: Release) -> list[dict[str, Any]]:
    """The manifests of a release's hooks."""
    found = [item for text in release.hooks for item in read_manifests(text, where=session.where)]
    session.note_secrets(found)
    return found


def is_hook(item: dict[str, Any]) -> bool:
    """Whether Helm runs an object as a hook, apart from the release."""
    return HOOK in ((item.get("metadata") or {}).get("annotations") or {})


async def tool_label(helm: str) -> str:
    """Tool and version, as in `helm 3.22.0`."""
    return await asyncio.to_thread(_label, helm)


@lru_cache(maxsize=4)
def _label(helm: str) -> str:
    asked = subprocess.run(  # noqa: S603 - a fixed command
        [helm, "version", "--template", "{{.Version}}"], capture_output=True, text=True, check=False, timeout=30
    )
    return f"helm {asked.stdout.strip().removeprefix('v') or 'of unknown version'}"
