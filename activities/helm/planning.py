"""The verbs that change nothing: plan, plan to uninstall, detect drift."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from activities.clusters import connect
from activities.clusters.api import Cluster
from activities.clusters.manifests import Ref
from activities.helm.artefact import Artefact, Header, Location, Record, Standing, pack, read_record
from activities.helm.changes import drifted_changes, is_kept, planned_changes, removed_changes
from activities.helm.outputs import outputs_digest
from activities.helm.release import DEPLOYED, Release, read_release
from activities.helm.rendering import document, hooks_of, render, tool_label
from activities.helm.session import Session
from activities.tooling.claims import claimed
from bondstone.errors import ToolFailed
from bondstone.executor import Drifted, Planned
from bondstone.model.plan import Change


async def plan(session: Session) -> Planned:
    """Plan what the section asks for."""
    position, record = await recorded(session)
    where = session.location
    check_place(session, record, where)
    async with opened(session, where, create=session.section.create_namespace) as cluster:
        archive = await session.archive()
        current = await _settled(session, cluster, where)
        if current is not None and current.status == "uninstalling":
            raise ToolFailed(
                f"the {where} is being uninstalled",
                where=session.where,
                hint="decommission, or retry what began it",
            )
        rendered = await render(session, cluster.connection, where, archive)
        new = await session.objects(cluster, rendered.manifest, where.namespace)
        old = await session.objects(cluster, current.manifest, where.namespace) if current else {}
        hooks = hooks_of(session, rendered)
        changes = planned_changes(old, new, await session.reality(cluster, new, old), session.redact)
    same_hooks = current is not None and sorted(current.hooks) == sorted(rendered.hooks)
    empty = not changes and same_hooks and _is_as_recorded(session, record, current)
    header = Header(
        action="nothing" if empty else "upgrade",
        location=where,
        revision=current.revision if current else 0,
        values=session.section.values,
        manifest=rendered.manifest,
        secrets=tuple(sorted(session.context.secrets)),
    )
    return Planned(
        artefact=pack(Artefact(header, b"" if empty else archive)),
        document=document(session, where, new, hooks, current),
        changes=changes,
        empty=empty,
        position=position,
        tool=await tool_label(session.helm),
    )


async def plan_destroy(session: Session) -> Planned:
    """Plan to uninstall the release, and to see gone what an earlier uninstall could not."""
    position, record = await recorded(session)
    if record is None:  # it is written before anything is made
        return Planned(
            artefact=pack(Artefact(Header(action="nothing", location=session.location, revision=0))),
            document=document(session, session.location, {}, (), None),
            changes=(),
            empty=True,
            position=position,
            tool="helm",
        )
    where = record.location
    async with opened(session, where) as cluster:
        current = await session.newest(cluster, where, recover=False)
        old = await session.objects(cluster, current.manifest, where.namespace) if current else {}
        left = [Ref(item.api_version, item.kind, item.namespace, item.name) for item in record.leaving]
        every = {**{ref: {"kind": ref.kind} for ref in left}, **old}
        reality = await session.reality(cluster, {}, every)
        shown = {ref: manifest or reality.live[ref] for ref, manifest in every.items() if ref in reality.live}
        changes = removed_changes(shown, reality.live, session.redact)
    leaving = tuple(
        Standing(api_version=ref.api_version, kind=ref.kind, namespace=ref.namespace, name=ref.name)
        for ref, manifest in every.items()
        if ref in reality.live and not is_kept(manifest)
    )
    header = Header(
        action="uninstall",
        location=where,
        revision=current.revision if current else 0,
        leaving=leaving,
        secrets=tuple(sorted(session.context.secrets)),
    )
    return Planned(
        artefact=pack(Artefact(header)),
        document=document(session, where, {}, (), current),
        changes=changes,
        empty=False,
        position=position,
        tool=await tool_label(session.helm),
    )


async def detect_drift(session: Session) -> Drifted:
    """Compare what the cluster holds with what was applied."""
    _, record = await recorded(session)
    if record is None:
        return Drifted(())
    where = record.location
    async with opened(session, where) as cluster:
        current = await session.newest(cluster, where, recover=False)
        applied = _of_revision(cluster, where, record.revision) or current
        changes = _moved(where, record, current)
        if applied is not None:
            objects = await session.objects(cluster, applied.manifest, where.namespace)
            changes += drifted_changes(objects, await session.reality(cluster, objects), session.redact)
    return Drifted(changes)


async def recorded(session: Session) -> tuple[int, Record | None]:
    """What the step's state log says of where the release is, and its position."""
    snapshot = await session.context.store.state(session.context.service, session.context.step).read()
    return snapshot.position, read_record(snapshot.payload)


def check_place(session: Session, record: Record | None, where: Location) -> None:
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
async def opened(session: Session, where: Location, *, create: bool = False) -> AsyncIterator[Cluster]:
    """A client of the cluster that a release is in, if its namespace is allowed."""
    connection = connect(session.context.settings, where.cluster)
    connection.check_namespace(where.namespace, create=create)
    cluster = await Cluster.open(connection)
    try:
        yield cluster
    finally:
        cluster.close()


async def _settled(session: Session, cluster: Cluster, where: Location) -> Release | None:
    """The newest revision; a pending one is looked at again with the claim, which tells who may be at work."""
    current = await session.newest(cluster, where, recover=False)
    if current is None or not current.pending:
        return current
    log = session.context.store.state(session.context.service, session.context.step)
    async with claimed(session, log) as claim:
        current = await session.newest(cluster, where, recover=True)
        await claim.release()
    return current


def _is_as_recorded(session: Session, record: Record | None, current: Release | None) -> bool:
    return (
        record is not None
        and current is not None
        and current.status == DEPLOYED
        and record.revision == current.revision
        and record.outputs == outputs_digest(session.section)
    )


def _of_revision(cluster: Cluster, where: Location, revision: int) -> Release | None:
    name = f"sh.helm.release.v1.{where.release}.v{revision}"
    secret = cluster.get(Ref("v1", "Secret", where.namespace, name)) if revision else None
    return read_release(secret) if secret is not None else None


def _moved(where: Location, record: Record, current: Release | None) -> list[Change]:
    """The release itself as an object: somebody else upgraded it, rolled it back or took it away."""
    address = f"helm/Release/{where.namespace}/{where.release}"
    before = {"revision": record.revision, "status": DEPLOYED}
    if current is None:
        return [Change(address=address, action="delete", type="Release", before=before)]
    after = {"revision": current.revision, "status": current.status}
    if after == before:
        return []
    return [Change(address=address, action="update", type="Release", before=before, after=after)]
