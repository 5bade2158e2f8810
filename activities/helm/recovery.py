"""Before an upgrade: what Helm would leave in the cluster though the plan says otherwise is put right.

What revisions that failed have left is taken back: an object that only they held is deleted, one in which they
alone set fields is put back to the manifest before, without these fields. Custom resources are put back as they
were last applied: Helm merges them without a look at what the cluster holds, and would let drift stay. Helm
then continues from there.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import Ref, project
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.helm.artefact import Location
from bondstone.activities.helm.history import History, mark_superseded
from bondstone.activities.helm.leftovers import Remains, remains
from bondstone.activities.helm.release import as_sent, is_of
from bondstone.activities.helm.session import HelmSession, Objects
from bondstone.base.errors import ToolFailed, ToolUnavailable

_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_UNPROCESSABLE: Final = 422


async def left_by(
    session: HelmSession, cluster: Cluster, releases: History, where: Location, new: Objects
) -> list[Remains]:
    """The objects that revisions which failed have held; whether they stand is for the caller to see.

    Args:
        session: The attempt at work.
        cluster: The release is in.
        releases: Its revisions.
        where: It is.
        new: The objects that are to come.
    """
    if not releases.failed:
        return []
    failed = [await session.objects(cluster, release.manifest, where.namespace) for release in releases.failed]
    base = await session.objects(cluster, releases.base.manifest if releases.base else "", where.namespace)
    return remains(base, new, failed)


async def take_back(
    session: HelmSession, cluster: Cluster, releases: History, where: Location, new: Objects
) -> None:
    """Take back what failed revisions left, so that what is planned is what comes out.

    Args:
        session: The attempt at work, with the claim.
        cluster: The release is in.
        releases: Its revisions.
        where: It is.
        new: The objects that are to come.

    Raises:
        ToolFailed: when the cluster refuses to have an object put back.
        ToolUnavailable: when somebody changed one meanwhile.
    """
    await asyncio.to_thread(mark_superseded, session, cluster, where, releases)
    for item in await left_by(session, cluster, releases, where, new):
        session.check_stop()
        await asyncio.to_thread(_take_back, session, cluster, where, item)
    base = await session.objects(cluster, releases.base.manifest if releases.base else "", where.namespace)
    for ref, manifest in base.items():
        if "." in ref.key[0]:  # groups of built-in kinds may have a dot, those of custom ones have one
            session.check_stop()
            await asyncio.to_thread(_undo_drift, session, cluster, where, ref, manifest)


def delete(cluster: Cluster, ref: Ref, live: dict[str, Any]) -> None:
    """Ask for the deletion of exactly this object; one that is gone is no error."""
    resource = cluster.resource(ref.api_version, ref.kind)
    if resource is None:
        return
    body = {"preconditions": {"uid": live["metadata"]["uid"]}, "propagationPolicy": "Background"}
    try:
        cluster.request("DELETE", resource.path(ref.namespace, ref.name), body=body)
    except ApiRefusal as error:
        if error.status not in {_NOT_FOUND, _CONFLICT}:  # 409: another object has the name by now
            raise


def _take_back(session: HelmSession, cluster: Cluster, where: Location, item: Remains) -> None:
    live = cluster.get(item.ref)
    if live is None or not is_of(live, where.release, where.namespace):
        return
    session.note_secrets([live])
    if item.lost:
        session.log(f"deleting {item.ref.address}: only a revision that failed had it")
        delete(cluster, item.ref, live)
    elif item.cleaned(live) != live:
        session.log(f"putting back {item.ref.address}: a revision that failed had changed it")
        _put_back(session, cluster, where, item, live)


def _undo_drift(
    session: HelmSession, cluster: Cluster, where: Location, ref: Ref, manifest: dict[str, Any]
) -> None:
    live = cluster.get(ref)
    if live is None or not is_of(live, where.release, where.namespace):
        return
    try:
        manifest = as_sent(manifest, where.release, where.namespace)
        whole = cluster.would_be(ref, manifest, old=manifest, live=live)
        if whole is not None and project(whole, manifest) != project(live, manifest):
            session.log(f"putting back {ref.address}: somebody had changed it")
            cluster.restore_custom(ref, manifest, live)
    except ApiRefusal as error:
        if error.status != _UNPROCESSABLE:  # its kind has changed: the manifest to come is what counts
            raise


def _put_back(
    session: HelmSession, cluster: Cluster, where: Location, item: Remains, live: dict[str, Any]
) -> None:
    resource = cluster.resource(item.ref.api_version, item.ref.kind)
    if resource is None:
        raise AssertionError
    try:
        # As it was, where it was: its pods are those of a revision that worked until Helm brings the next.
        whole = live
        if item.base is not None:
            base = as_sent(item.base, where.release, where.namespace)
            whole = cluster.would_be(item.ref, base, old=base, live=live) or live
        clean = item.cleaned(whole)
        metadata = {key: value for key, value in clean["metadata"].items() if key != "managedFields"}
        cluster.request(
            "PUT",
            resource.path(item.ref.namespace, item.ref.name),
            query={"fieldManager": cluster.manager},
            body={**clean, "metadata": metadata},
        )
    except ApiRefusal as error:
        if error.status == _CONFLICT:
            raise ToolUnavailable(
                f"{item.ref.address} changed while it was put back", where=session.where
            ) from error
        if error.status == _UNPROCESSABLE:
            raise ToolFailed(
                f"the cluster refuses to undo what a failed revision did to {item.ref.address}: "
                f"{session.redact(error.message)}",
                where=session.where,
                hint="correct the object, or delete it: Helm creates it again",
            ) from error
        raise
