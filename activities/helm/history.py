"""The revisions of a release in its cluster: the newest, what Helm starts from, and what failed in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import Ref, read_manifests, secret_texts
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.helm.release import (
    DEPLOYED,
    FAILED,
    OWNER_LABEL,
    Release,
    is_interrupted,
    marked,
    owner_of,
    read_release,
)
from bondstone.base.errors import Refused, ToolUnavailable

if TYPE_CHECKING:
    from bondstone.activities.helm.artefact import Location
    from bondstone.activities.helm.session import HelmSession

_CONFLICT: Final = 409
_SUPERSEDED: Final = "superseded"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class History:
    """What revisions of a release may have left in its cluster."""

    current: Release | None = None
    """The newest."""
    base: Release | None = None
    """What Helm's next upgrade starts from: the newest deployed one, or the newest if none ever was."""
    failed: tuple[Release, ...] = ()
    """Those that failed and that `base` knows nothing of, the newest first: Helm leaves what they alone set."""


async def newest(session: HelmSession, cluster: Cluster, where: Location, *, recover: bool) -> Release | None:
    """The newest revision of the release; one that an attempt of ours left pending is marked as failed.

    Args:
        session: The attempt at work.
        cluster: The release is in.
        where: It is.
        recover: Whether the caller holds the claim, without which a pending one is left as it is.

    Raises:
        Refused: when the release is somebody else's.
        ToolUnavailable: when somebody else is at work on it.
    """
    release = await asyncio.to_thread(_newest, session, cluster, where, recover=recover)
    if release is not None:
        _note(session, [release])
    return release


async def history(session: HelmSession, cluster: Cluster, where: Location, current: Release | None) -> History:
    """The revisions that matter beside the newest.

    Args:
        session: The attempt at work.
        cluster: The release is in.
        where: It is.
        current: Its newest revision.
    """
    if current is None:
        return History()
    base, failed = split([header_of(item) for item in await asyncio.to_thread(_listed, cluster, where)])

    def read(revision: int) -> Release | None:
        return current if revision == current.revision else of_revision(cluster, where, revision)

    wanted = [base, *failed]
    read_releases = await asyncio.to_thread(cluster.each, read, [item.revision for item in wanted])
    releases = [item for item in read_releases if item is not None]
    _note(session, releases)
    return History(
        current,
        next((item for item in releases if item.revision == base.revision), current),
        tuple(item for item in releases if item.revision != base.revision),
    )


def split(revisions: Sequence[Release]) -> tuple[Release, list[Release]]:
    """What Helm's next upgrade starts from, and the failed ones that this knows nothing of, the newest first.

    A failed rollback marks the failed revision before it as superseded, so what is newer than the deployed one
    counts as failed under any status. Failed ones right before the deployed one were rolled back or taken up
    again; where Helm was interrupted it may still have been at work on them meanwhile. (Source: `pkg/action` of
    Helm 3, `prepareUpgrade`, `performRollback` and `handleContext`.)

    Args:
        revisions: All of a release, the oldest first; only number and status count.
    """
    falling = [*reversed(revisions)]
    at = next((index for index, item in enumerate(falling) if item.status == DEPLOYED), None)
    if at is not None:
        newer, older = falling[:at], falling[at + 1 :]
        end = next((index for index, item in enumerate(older) if item.status != FAILED), len(older))
        return falling[at], [*newer, *older[:end]]
    older = falling[1:]
    end = next((index + 1 for index, item in enumerate(older) if item.status == _SUPERSEDED), len(older))
    return falling[0], older[:end]


def mark_superseded(session: HelmSession, cluster: Cluster, where: Location, releases: History) -> None:
    """Call failed what a failed rollback calls superseded: `--atomic` would go back to it."""
    for release in releases.failed:
        if releases.base is None or release.status != _SUPERSEDED or release.revision < releases.base.revision:
            continue
        secret = _secret(cluster, where, release.revision)
        if secret is not None:
            _mark_failed(session, cluster, secret, release, "failed; its rollback failed, too")


def of_revision(cluster: Cluster, where: Location, revision: int) -> Release | None:
    """One revision; None when Helm has forgotten it."""
    secret = _secret(cluster, where, revision) if revision else None
    return read_release(secret) if secret is not None else None


def header_of(listed: dict[str, Any]) -> Release:
    """What the labels of a revision's Secret say of it."""
    labels = listed["metadata"]["labels"]
    return Release("", "", int(labels.get("version", 0)), str(labels.get("status", "")), labels=labels)


def _newest(session: HelmSession, cluster: Cluster, where: Location, *, recover: bool) -> Release | None:
    revisions = _listed(cluster, where)
    if not revisions:
        return None
    secret = cluster.get(Ref("v1", "Secret", where.namespace, revisions[-1]["metadata"]["name"]))
    if secret is None:
        raise ToolUnavailable("the release changed while it was read", where=str(where))
    current = read_release(secret)
    owner = current.labels.get(OWNER_LABEL)
    if owner != owner_of(session.context.service, session.context.step):
        raise Refused(
            f"the {where} is not this step's: {'another service owns it' if owner else 'it was made by hand'}",
            where=session.where,
            hint="give the step another `release` or `namespace`",
        )
    if not current.pending or not recover:
        return current
    previous = header_of(revisions[-2]) if len(revisions) > 1 else None
    if not is_interrupted(current, previous, datetime.now(UTC)):
        raise ToolUnavailable(
            f"somebody else seems to be at work on the {where}: it is {current.status}",
            where=session.where,
            hint="wait for them; if nobody is, `helm rollback` it to its last good revision",
        )
    _mark_failed(
        session, cluster, secret, current, f"interrupted while {current.status}; taken up again by Bondstone"
    )
    _log.warning("helm.recovered", release=current.where, revision=current.revision, was=current.status)
    return of_revision(cluster, where, current.revision) or current


def _listed(cluster: Cluster, where: Location) -> list[dict[str, Any]]:
    """The Secrets of all revisions, without what they hold, the oldest first."""
    labels = f"owner=helm,name={where.release}"
    listed = cluster.list("v1", "Secret", where.namespace, labels=labels, metadata_only=True)
    return sorted(listed, key=lambda item: int(item["metadata"]["labels"].get("version", 0)))


def _secret(cluster: Cluster, where: Location, revision: int) -> dict[str, Any] | None:
    return cluster.get(Ref("v1", "Secret", where.namespace, f"sh.helm.release.v1.{where.release}.v{revision}"))


def _mark_failed(
    session: HelmSession, cluster: Cluster, secret: dict[str, Any], release: Release, why: str
) -> None:
    session.log(f"revision {release.revision} of {release.where} {why}")
    resource = cluster.resource("v1", "Secret")
    if resource is None:
        raise AssertionError
    try:
        cluster.request(
            "PUT", resource.path(release.namespace, secret["metadata"]["name"]), body=marked(secret, FAILED, why)
        )
    except ApiRefusal as error:
        if error.status == _CONFLICT:
            raise ToolUnavailable("the release changed while it was recovered", where=release.where) from error
        raise


def _note(session: HelmSession, releases: Sequence[Release]) -> None:
    for release in releases:
        session.redact.add(secret_texts(read_manifests(release.manifest, where=release.where)))
