"""The verbs while a promise is only tested: charts are rendered, the step's record stands for the cluster."""

from __future__ import annotations

from typing import Any, Final

from bondstone.activities.clusters.manifests import Ref, secret_texts, stored
from bondstone.activities.clusters.outputs import outputs_digest, read_outputs
from bondstone.activities.helm.artefact import Artefact, Header, ReleaseRecord, pack, unpack
from bondstone.activities.helm.changes import Reality, planned_changes, removed_changes
from bondstone.activities.helm.planning import check_place, recorded
from bondstone.activities.helm.rendering import document, is_hook, render_alone
from bondstone.activities.helm.session import HelmSession, Objects
from bondstone.activities.tooling.claims import claimed
from bondstone.executors.protocol import Outcome, Planned

UNKNOWN: Final = "(known after install)"
"""What a trial has in place of a field that only a cluster gives."""


async def plan(session: HelmSession) -> Planned:
    """Plan against what an earlier step of the case applied."""
    position, record = await recorded(session)
    where = session.location
    check_place(session, record, where)
    archive = await session.archive()
    manifest = await render_alone(session, where, archive)
    rendered = await session.objects(None, manifest, where.namespace)
    new, old = _standing(rendered), await _old(session, record)
    hooks = [item for item in rendered.values() if is_hook(item)]
    changes = planned_changes(old, new, Reality(live=old), session.redact)
    unchanged = record is not None and record.outputs == outputs_digest(session.section.outputs)
    header = Header(
        action="upgrade",
        location=where,
        revision=0,
        manifest=manifest,
        secrets=tuple(sorted(session.context.secrets)),
    )
    return Planned(
        artefact=pack(Artefact(header)),
        document=document(where, new, hooks, None),
        changes=changes,
        empty=not changes and unchanged,
        position=position,
        tool=(await session.tool()).label,
    )


async def plan_destroy(session: HelmSession) -> Planned:
    """Plan to take away what the case applied."""
    position, record = await recorded(session)
    where = record.location if record is not None else session.location
    old = await _old(session, record)
    header = Header(action="uninstall", location=where, revision=0)
    return Planned(
        artefact=pack(Artefact(header)),
        document=document(where, {}, (), None),
        changes=removed_changes(old, old, session.redact),
        empty=record is None,
        position=position,
        tool=(await session.tool()).label,
    )


async def apply(session: HelmSession, data: bytes, position: int) -> Outcome:
    """Keep what was rendered as what stands; outputs are those that the manifests have."""
    del position
    header, context = unpack(data).header, session.context
    async with claimed(session, context.state) as claim:
        if header.action == "uninstall":
            await claim.forget()
            return Outcome({})
        known = outputs_digest(session.section.outputs)
        record = ReleaseRecord(location=header.location, revision=1, outputs=known, manifest=header.manifest)
        await claim.release(record.model_dump_json().encode())
    objects = await session.objects(None, header.manifest, header.location.namespace)
    session.redact.add(secret_texts(list(objects.values())))

    async def get(ref: Ref) -> dict[str, Any] | None:
        return stored(objects[ref]) if ref in objects else None

    return Outcome(
        await read_outputs(
            session.section.outputs,
            [*objects],
            header.location.namespace,
            get,
            where=session.where,
            missing=UNKNOWN,
        )
    )


async def _old(session: HelmSession, record: ReleaseRecord | None) -> Objects:
    if record is None:
        return {}
    return _standing(await session.objects(None, record.manifest, record.location.namespace))


def _standing(objects: Objects) -> Objects:
    return {ref: item for ref, item in objects.items() if not is_hook(item)}
