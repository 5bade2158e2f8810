"""Tests of a promise: the same plans and outputs from the manifests alone, with no cluster."""

from __future__ import annotations

from typing import Any, Final

from bondstone.activities.clusters.manifests import Ref, stored
from bondstone.activities.clusters.outputs import read_outputs
from bondstone.activities.kubernetes.changes import change, difference, owned
from bondstone.activities.kubernetes.documents import (
    Held,
    Inventory,
    Item,
    KubernetesPlan,
    LastApply,
    Named,
    read_plan,
)
from bondstone.activities.kubernetes.manifests import declared
from bondstone.activities.kubernetes.order import CLUSTER_SCOPED, ordered
from bondstone.activities.kubernetes.session import ClusterSession
from bondstone.executors.protocol import Outcome, Planned
from bondstone.model.plan import Change

UNKNOWN: Final = "(known after apply)"
"""What a trial has in place of a field that only a cluster gives."""

_TOOL: Final = "kubernetes (manifests only)"


async def plan(session: ClusterSession) -> Planned:
    """Compare with what the trial applied before."""
    position, inventory = await session.inventory()
    section = session.section
    manifests = [
        stored(owned(item, session.owner, _namespace(session, Ref.of(item))))
        for item in ordered(declared(section, session.context.bundle, session.context.variables))
    ]
    session.note_secrets(manifests)
    items: list[Item] = []
    changes: list[Change] = []
    for manifest in manifests:
        item, item_changes = _compare(session, inventory, manifest)
        items.append(item)
        changes += item_changes
    keys = {item.key for item in items}
    gone = [held for held in inventory.objects if held.key not in keys]
    removed = tuple(Named(**held.model_dump(exclude={"manifest"})) for held in gone) if section.prune else ()
    if section.prune:
        changes += [change(held.ref, "delete", held.manifest, None, session.redact) for held in gone]
    made = KubernetesPlan(
        cluster=section.cluster,
        namespace=session.namespace,
        items=tuple(items),
        removed=removed,
        kept=() if section.prune else tuple(gone),
    )
    return Planned(
        artefact=made.pack(),
        document={
            "format_version": "1.0",
            "manifests": manifests,
            "target": {"cluster": section.cluster, "namespace": session.namespace},
            "errored": False,
        },
        changes=changes,
        empty=made.empty and inventory.run is not None,
        position=position,
        tool=_TOOL,
    )


async def apply(session: ClusterSession, artefact: bytes, position: int) -> Outcome:
    """Keep what would have been applied, and give what the manifests themselves say of the outputs."""
    made = read_plan(artefact)
    log = session.context.state
    held = [
        Held(**item.model_dump(exclude={"action", "resource_version", "difference", "force"}))
        for item in made.items
    ]
    inventory = Inventory(
        cluster=made.cluster,
        namespace=made.namespace,
        objects=(*held, *made.kept),
        run=LastApply(plan="trial", base=position, done=True),
    )
    from bondstone.base.process_identity import Holder  # noqa: PLC0415 - loads the whole store

    async with await log.claim(Holder.me(session.context.attempt, "trial")) as claim:
        await claim.release(inventory.pack())
    if made.destroy:
        return Outcome({})
    objects = {item.ref: item.manifest for item in held}

    async def get(ref: Ref) -> dict[str, Any] | None:
        return objects.get(ref)

    outputs = session.section.outputs
    return Outcome(
        await read_outputs(outputs, [*objects], made.namespace, get, where=session.where, missing=UNKNOWN)
    )


async def plan_destroy(session: ClusterSession) -> Planned:
    """Everything that the trial applied is to go."""
    position, inventory = await session.inventory()
    removed = tuple(Named(**held.model_dump(exclude={"manifest"})) for held in inventory.objects)
    made = KubernetesPlan(destroy=True, cluster=inventory.cluster, namespace=inventory.namespace, removed=removed)
    return Planned(
        artefact=made.pack(),
        document={"format_version": "1.0", "manifests": [], "errored": False},
        changes=[change(held.ref, "delete", held.manifest, None, session.redact) for held in inventory.objects],
        empty=not inventory.objects,
        position=position,
        tool=_TOOL,
    )


def _namespace(session: ClusterSession, ref: Ref) -> str:
    return "" if ref.kind in CLUSTER_SCOPED else ref.namespace or session.namespace


def _compare(session: ClusterSession, inventory: Inventory, manifest: dict[str, Any]) -> tuple[Item, list[Change]]:
    ref = Ref.of(manifest)
    item = Item(
        api_version=ref.api_version, kind=ref.kind, namespace=ref.namespace, name=ref.name,
        action="create", manifest=manifest,
    )  # fmt: skip
    held = inventory.by_key.get(item.key)
    if held is None:
        return item, [change(ref, "create", None, manifest, session.redact)]
    before, after = difference(held.manifest, manifest)
    if not before and not after:
        return item.changed(action="none"), []
    return item.changed(action="update"), [change(ref, "update", before, after, session.redact)]
