"""The verbs that change nothing: plan, plan to uninstall, detect drift."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from bondstone.activities.clusters import connect
from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.outputs import outputs_digest
from bondstone.activities.helm.artefact import (
    Artefact,
    Header,
    Location,
    ReleaseRecord,
    Standing,
    pack,
    read_record,
)
from bondstone.activities.helm.changes import (
    Reality,
    drifted_changes,
    kept_changes,
    left_changes,
    planned_changes,
    removed_changes,
)
from bondstone.activities.helm.history import history, newest, of_revision
from bondstone.activities.helm.preflight import TESTS, check_hooks, check_size, events_of, stays
from bondstone.activities.helm.recovery import left_by
from bondstone.activities.helm.release import DEPLOYED, MANAGER, Release, is_kept, is_of
from bondstone.activities.helm.rendering import (
    definitions,
    document,
    hooks_of,
    render,
    render_before_its_kinds,
)
from bondstone.activities.helm.session import HelmSession, Objects
from bondstone.activities.tooling.claims import claimed
from bondstone.base.canonical import canonical
from bondstone.base.errors import ToolFailed
from bondstone.executors.protocol import Drifted, Planned
from bondstone.model.plan import Change


async def plan(session: HelmSession) -> Planned:
    """Plan what the section asks for."""
    position, record = await recorded(session)
    where = session.location
    check_place(session, record, where)
    tool = await session.tool()
    async with opened(session, where, create=session.section.create_namespace) as cluster:
        archive = await session.archive()
        current = await _settled(session, cluster, where)
        if current is not None and current.status == "uninstalling":
            raise ToolFailed(
                f"the {where} is being uninstalled",
                where=session.where,
                hint="decommission, or retry what began it",
            )
        laid_out = session.lay_out(archive, session.section.values)
        kinds = await _new_kinds(session, cluster, laid_out, archive) if current is None else {}
        if kinds:
            rendered = await render_before_its_kinds(session, cluster, where, laid_out, [*kinds.values()])
        else:
            rendered = await render(session, cluster, where, laid_out)
        new = await session.objects(cluster, rendered.manifest, where.namespace)
        hooks = hooks_of(session, rendered)
        for ref in (*kinds, *new, *await session.placed(cluster, hooks, where.namespace)):
            cluster.connection.check_object(ref)
        past = await history(session, cluster, where, current)
        old = await session.objects(cluster, past.base.manifest, where.namespace) if past.base else {}
        left = await left_by(session, cluster, past, where, new)
        also = [*old, *(item.ref for item in left)]
        reality = await session.reality(cluster, where, new, also, old=old, strict=True)
        left = [item for item in left if is_of(reality.live.get(item.ref, {}), where.release, where.namespace)]
        changes = planned_changes({}, kinds, Reality(), session.redact)
        changes += planned_changes(old, new, reality, session.redact, left)
        same_hooks = current is not None and _alike(hooks, hooks_of(session, current))
        empty = not changes and same_hooks and _is_as_recorded(session, record, current)
        if not empty:
            known = [*past.failed, *([past.base] if past.base else [])]
            await check_hooks(session, cluster, where, hooks, known, first=current is None)
            check_size(session, rendered, archive, session.section.values)
    header = Header(
        action="nothing" if empty else "upgrade",
        location=where,
        revision=current.revision if current else 0,
        values=session.section.values,
        manifest=rendered.manifest,
        hooks=rendered.hooks,
        tried=reality.tried,
        secrets=tuple(sorted(session.context.secrets)),
    )
    return Planned(
        artefact=pack(Artefact(header, b"" if empty else archive)),
        document=document(where, {**kinds, **new}, hooks, current),
        changes=changes,
        empty=empty,
        position=position,
        tool=tool.label,
    )


async def plan_destroy(session: HelmSession) -> Planned:
    """Plan to uninstall the release, and to see gone what an earlier uninstall could not."""
    position, record = await recorded(session)
    if record is None:  # it is written before anything is made
        return Planned(
            artefact=pack(Artefact(Header(action="nothing", location=session.location, revision=0))),
            document=document(session.location, {}, (), None),
            changes=(),
            empty=True,
            position=position,
            tool="helm",
        )
    where, tool = record.location, await session.tool()
    async with opened(session, where) as cluster:
        current = await newest(session, cluster, where, recover=False)
        past = await history(session, cluster, where, current)
        # Helm's uninstall knows the newest revision only, and one that failed may not be all that stands.
        older: Objects = {}
        for release in (*reversed(past.failed), *([past.base] if past.base else [])):
            older |= await session.objects(cluster, release.manifest, where.namespace)
        every: Objects = {
            Ref(item.api_version, item.kind, item.namespace, item.name): {"kind": item.kind}
            for item in record.leaving
        }
        if current is not None:
            every |= await session.objects(cluster, current.manifest, where.namespace)
        reality = await session.reality(cluster, where, {}, [*older, *every])
        for ref, manifest in older.items():
            if is_of(reality.live.get(ref, {}), where.release, where.namespace):
                every.setdefault(ref, manifest)
        hooks = await _hooks_left(session, cluster, where, current)
        changes = removed_changes(every, reality.live, session.redact) + kept_changes(hooks, session.redact)
    removed = tuple(
        Standing(api_version=ref.api_version, kind=ref.kind, namespace=ref.namespace, name=ref.name)
        for ref, manifest in every.items()
        if ref in reality.live and not is_kept(manifest)
    )
    header = Header(
        action="uninstall",
        location=where,
        revision=current.revision if current else 0,
        leaving=removed,
        kept=tuple(change.address for change in changes if change.action == "forget"),
        secrets=tuple(sorted(session.context.secrets)),
    )
    return Planned(
        artefact=pack(Artefact(header)),
        document=document(where, {}, (), current),
        changes=changes,
        empty=False,
        position=position,
        tool=tool.label,
    )


async def detect_drift(session: HelmSession) -> Drifted:
    """Compare what the cluster holds with what was applied."""
    _, record = await recorded(session)
    if record is None:
        return Drifted(())
    where = record.location
    async with opened(session, where) as cluster:
        current = await newest(session, cluster, where, recover=False)
        applied = await asyncio.to_thread(of_revision, cluster, where, record.revision) or current
        changes = _moved(where, record, current)
        if applied is not None:
            objects = await session.objects(cluster, applied.manifest, where.namespace)
            changes += drifted_changes(objects, await session.reality(cluster, where, objects), session.redact)
        if current is not None and current.status == DEPLOYED:
            changes += await _left_behind(session, cluster, where, current)
    return Drifted(changes)


async def _left_behind(session: HelmSession, cluster: Cluster, where: Location, current: Release) -> list[Change]:
    """What revisions that were rolled back have left nevertheless."""
    past = await history(session, cluster, where, current)
    if not past.failed:
        return []
    held = await session.objects(cluster, current.manifest, where.namespace)
    left = await left_by(session, cluster, past, where, held)
    reality = await session.reality(cluster, where, {}, [item.ref for item in left])
    ours = {ref: item for ref, item in reality.live.items() if is_of(item, where.release, where.namespace)}
    return left_changes(left, ours, session.redact)


async def _hooks_left(session: HelmSession, cluster: Cluster, where: Location, current: Release | None) -> Objects:
    """The hooks that stay in the cluster when the release is uninstalled."""
    if current is None:
        return {}
    hooks = await session.objects(cluster, "\n---\n".join(current.hooks), where.namespace)
    live = await asyncio.to_thread(cluster.each, cluster.get, hooks)
    return {
        ref: manifest
        for (ref, manifest), standing in zip(hooks.items(), live, strict=True)
        if stays(manifest, stands=standing is not None)
    }


async def recorded(session: HelmSession) -> tuple[int, ReleaseRecord | None]:
    """What the step's state log says of where the release is, and its position."""
    snapshot = await session.context.state.read()
    return snapshot.position, read_record(snapshot.payload)


def check_place(session: HelmSession, record: ReleaseRecord | None, where: Location) -> None:
    """Refuse to leave a release behind.

    Raises:
        ToolFailed: when the section wants it elsewhere than it is.
    """
    if record is not None and record.location != where:
        raise ToolFailed(
            f"the step's {record.location} would have to move to {where}, which Helm cannot do",
            where=session.where,
            hint="keep cluster, namespace and release as they were, or request a new service in place of this one",
        )


@asynccontextmanager
async def opened(session: HelmSession, where: Location, *, create: bool = False) -> AsyncIterator[Cluster]:
    """A client of the cluster that a release is in, if its namespace is allowed."""
    connection = connect(session.context.settings, where.cluster)
    connection.check_namespace(where.namespace, create=create)
    cluster = await Cluster.open(connection, manager=MANAGER)
    try:
        yield cluster
    finally:
        cluster.close()


async def _settled(session: HelmSession, cluster: Cluster, where: Location) -> Release | None:
    """The newest revision; a pending one is looked at again with the claim, which tells who may be at work."""
    current = await newest(session, cluster, where, recover=False)
    if current is None or not current.pending:
        return current
    log = session.context.state
    async with claimed(session, log) as claim:
        current = await newest(session, cluster, where, recover=True)
        await claim.release()
    return current


async def _new_kinds(session: HelmSession, cluster: Cluster, laid_out: list[str], archive: bytes) -> Objects:
    """The definitions of kinds that Helm would install with the first revision: those that are not there."""
    kinds = await definitions(session, laid_out, archive)
    refs = [replace(ref, namespace="") for ref in map(Ref.of, kinds)]
    live = await asyncio.to_thread(cluster.each, cluster.get, refs)
    return {ref: item for ref, item, standing in zip(refs, kinds, live, strict=True) if standing is None}


def _alike(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> bool:
    """Whether two releases have the same hooks, in any order and however they are written.

    Those that `helm test` alone runs are left out: public charts give their pods random names, and an upgrade for
    nothing but that would never end.
    """
    first, second = (
        sorted(canonical(item) for item in hooks if events_of(item) - TESTS) for hooks in (one, other)
    )
    return first == second


def _is_as_recorded(session: HelmSession, record: ReleaseRecord | None, current: Release | None) -> bool:
    return (
        record is not None
        and current is not None
        and current.status == DEPLOYED
        and record.revision == current.revision
        and record.outputs == outputs_digest(session.section.outputs)
    )


def _moved(where: Location, record: ReleaseRecord, current: Release | None) -> list[Change]:
    """The release itself as an object: somebody else upgraded it, rolled it back or took it away."""
    address = f"helm/Release/{where.namespace}/{where.release}"
    before = {"revision": record.revision, "status": DEPLOYED}
    if current is None:
        return [Change(address=address, action="delete", type="Release", before=before)]
    after = {"revision": current.revision, "status": current.status}
    if after == before:
        return []
    return [Change(address=address, action="update", type="Release", before=before, after=after)]
