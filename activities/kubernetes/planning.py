"""The verbs that change nothing: plan, plan to destroy, detect drift."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bondstone.activities.clusters.manifests import Ref, project, stored
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.kubernetes.changes import change, difference, difference_digest, holds, owned, owner_of
from bondstone.activities.kubernetes.crossplane import expected_conditions, has_current
from bondstone.activities.kubernetes.documents import Held, Inventory, Item, KubernetesPlan, Named
from bondstone.activities.kubernetes.manifests import declared, duplicates
from bondstone.activities.kubernetes.order import ordered, tiers
from bondstone.activities.kubernetes.session import (
    CONFLICT,
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    Api,
    ClusterSession,
    unknown_kind,
)
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import BondError, Problem, Refused, ToolFailed
from bondstone.executors.protocol import Drifted, Planned
from bondstone.model.plan import Change

TOOL: Final = "kubernetes server-side apply"


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found out of one declared object."""

    item: Item
    change: Change | None


async def plan(session: ClusterSession) -> Planned:
    """Ask the API server what applying the section would change."""
    position, inventory = await session.inventory()
    section = session.section
    if inventory.objects and inventory.cluster != section.cluster:
        raise Refused(
            f"the step's objects are in cluster {inventory.cluster!r} and cannot move to {section.cluster!r}",
            where=session.where,
            hint="keep the cluster as it was, or request a new service and decommission this one",
        )
    async with session.opened(section.cluster, session.namespace) as api:
        manifests = await placed(session, api)
        session.note_secrets(manifests)
        await _check_ready(session, api, manifests)
        looked = await gather(*(_look(session, api, inventory, manifests, manifest) for manifest in manifests))
        declared_keys = {change.item.key for change in looked}
        gone = [held for held in inventory.objects if held.key not in declared_keys]
        kept = () if section.prune else tuple(gone)
        removed, changes = await _removals(session, api, gone if section.prune else ())
    planned = KubernetesPlan(
        cluster=section.cluster,
        namespace=session.namespace,
        items=tuple(one.item for one in looked),
        removed=removed,
        kept=kept,
    )
    settled = _is_settled(session, inventory, declared_keys | {held.key for held in kept})
    return Planned(
        artefact=planned.pack(),
        document=_document(session, manifests),
        changes=[*(one.change for one in looked if one.change is not None), *changes],
        empty=planned.empty and settled,
        position=position,
        tool=TOOL,
    )


async def plan_destroy(session: ClusterSession) -> Planned:
    """Look for what is left of what the step has applied."""
    position, inventory = await session.inventory()
    removed: tuple[Named, ...] = ()
    changes: list[Change] = []
    if inventory.objects:
        async with session.opened(inventory.cluster, inventory.namespace) as api:
            removed, changes = await _removals(session, api, inventory.objects)
    planned = KubernetesPlan(
        destroy=True, cluster=inventory.cluster, namespace=inventory.namespace, removed=removed
    )
    return Planned(
        artefact=planned.pack(),
        document=_document(session, ()),
        changes=changes,
        empty=not inventory.objects,
        position=position,
        tool=TOOL,
    )


async def detect_drift(session: ClusterSession) -> Drifted:
    """Ask the API server what applying again would change: `before` as applied, `after` as it is."""
    _, inventory = await session.inventory()
    if not inventory.objects:
        return Drifted(())
    async with session.opened(inventory.cluster, inventory.namespace) as api:
        drifted = await gather(*(_drift(session, api, held) for held in inventory.objects))
        unready = await gather(*(_unready(session, api, held.ref) for held in inventory.objects))
    return Drifted([one for one in drifted if one is not None], failed_checks=[why for why in unready if why])


async def placed(session: ClusterSession, api: Api) -> list[dict[str, Any]]:
    """The objects that the section declares, in the order of application, each with its namespace and its step.

    Raises:
        Refused: when one is where neither the section nor the pool's settings allow it.
        ToolFailed: when the cluster does not know its kind.
    """
    manifests = declared(session.section, session.context.bundle, session.context.variables)
    defined = {key: scope for item in manifests for key, scope in definitions_in(item)}
    stored_manifests: list[dict[str, Any]] = []
    for manifest in ordered(manifests):
        ref = Ref.of(manifest)
        resource = await api.resource(ref)
        if resource is None and (ref.api_version, ref.kind) not in defined:
            raise unknown_kind(ref, api.cluster.where)
        namespaced = resource.namespaced if resource else defined[ref.api_version, ref.kind]
        namespace = (ref.namespace or session.namespace) if namespaced else ""
        _check_place(session, api, ref, namespace)
        stored_manifests.append(stored(owned(manifest, session.owner, namespace)))
    if problems := duplicates([Ref.of(item) for item in stored_manifests]):
        raise ToolFailed("objects are declared twice", where=session.where, problems=problems)
    return stored_manifests


async def gather(*work: Any) -> list[Any]:
    """Do several things at once; when some fail, the first error after all have ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [one for one in results if isinstance(one, BaseException)]
    if not errors:
        return list(results)
    permanent = [one for one in errors if isinstance(one, BondError) and not one.transient]
    raise (permanent or errors)[0]


def conflict_error(session: ClusterSession, ref: Ref, error: ApiRefusal) -> BondError:
    """The error for fields that others set."""
    problems = [
        Problem(message=session.redact(f"{cause.get('field') or '?'}: {cause.get('message') or 'conflict'}"))
        for cause in error.causes
    ]
    return ToolFailed(
        f"{ref.address}: another field manager owns fields that this step would overwrite",
        where=session.where,
        hint="leave these fields out of the manifest, or say force_conflicts: true",
        problems=problems or [Problem(message=error.message)],
    )


def expectations_digest(session: ClusterSession) -> str:
    """Changes when what the section says of outputs and waits does: there is something to do then."""
    ready = {"ready"} if session.section.ready else set()
    wanted = session.section.model_dump(mode="json", include={"outputs", "wait", "rollout"} | ready)
    return digest(canonical(wanted))


def is_ours(session: ClusterSession, live: Mapping[str, Any], held: Named | None) -> bool:
    """Whether a live object belongs to the step: it says so, or the inventory knows its uid."""
    uid = str((live.get("metadata") or {}).get("uid") or "")
    return owner_of(live) == session.owner or (held is not None and held.uid != "" and held.uid == uid)


async def _look(
    session: ClusterSession,
    api: Api,
    inventory: Inventory,
    manifests: Sequence[Mapping[str, Any]],
    manifest: dict[str, Any],
) -> Looked:
    """What applying one manifest would do."""
    ref = Ref.of(manifest)
    held = inventory.by_key.get(ref.key)
    live = await api.get(ref)
    identity = {
        "api_version": ref.api_version, "kind": ref.kind, "namespace": ref.namespace, "name": ref.name,
        "manifest": manifest, "force": session.section.force_conflicts,
    }  # fmt: skip
    if live is None:
        if await api.resource(ref) is not None and not await _comes_with(api, ref, manifests):
            try:
                await api.apply(ref, manifest, force=True, dry_run=True)
            except ApiRefusal as error:
                if not await _stands_on_another(api, ref, manifests, error):
                    raise _refused(session, ref, error) from None
        item = Item(**identity, action="create")
        return Looked(item, change(ref, "create", None, manifest, session.redact))
    _check_owner(session, ref, live, held)
    metadata = live["metadata"]
    identity |= {"uid": metadata["uid"], "resource_version": metadata.get("resourceVersion", "")}
    try:
        would, force = await _would_be(session, api, ref, manifest, held)
    except ApiRefusal as error:
        if error.status != INVALID or not (
            "immutable" in error.message or await _is_sound_anew(api, ref, manifest)
        ):
            raise _refused(session, ref, error) from None
        was = project(live, manifest)
        item = Item(**identity, action="replace", difference=difference_digest(was, manifest))
        return Looked(item, change(ref, "replace", was, manifest, session.redact))
    before, after = difference(live, would)
    identity["force"] = force
    if not before and not after:
        return Looked(Item(**identity, action="none"), None)
    item = Item(**identity, action="update", difference=difference_digest(before, after))
    return Looked(item, change(ref, "update", before, after, session.redact))


async def _would_be(
    session: ClusterSession, api: Api, ref: Ref, manifest: Mapping[str, Any], held: Held | None
) -> tuple[dict[str, Any], bool]:
    """The object as it would be, and whether fields must be taken from others for it."""
    force = session.section.force_conflicts
    try:
        return await api.apply(ref, manifest, force=force, dry_run=True), force
    except ApiRefusal as error:
        if error.status != CONFLICT:
            raise
        # what somebody changed that the step had set is the step's to put back
        ours = (
            held is not None
            and error.causes
            and all(holds(held.manifest, cause.get("field", "")) for cause in error.causes)
        )
        if not ours:
            raise conflict_error(session, ref, error) from None
    return await api.apply(ref, manifest, force=True, dry_run=True), True


async def _is_sound_anew(api: Api, ref: Ref, manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest that the live object cannot take would do for a new one: asked under another name."""
    name = f"{ref.name[:40].rstrip('-.')}-{secrets.token_hex(4)}"
    other = {**manifest, "metadata": {**manifest["metadata"], "name": name}}
    try:
        await api.apply(Ref(ref.api_version, ref.kind, ref.namespace, name), other, force=True, dry_run=True)
    except ApiRefusal:
        return False
    return True


async def _comes_with(api: Api, ref: Ref, manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the object's namespace is declared beside it and not there yet: nothing can be asked then."""
    for item in manifests:
        if item.get("kind") == "Namespace" and item["metadata"]["name"] == ref.namespace:
            return await api.get(Ref.of(item)) is None
    return False


async def _stands_on_another(
    api: Api, ref: Ref, manifests: Sequence[Mapping[str, Any]], error: ApiRefusal
) -> bool:
    """Whether a refusal is about what is declared beside it and not there yet, as the Role of a binding."""
    if error.status not in {NOT_FOUND, FORBIDDEN} or 'namespaces "' in error.message:
        return False
    for other in map(Ref.of, manifests):
        if other.key == ref.key or (error.status == FORBIDDEN and other.name == ref.name):
            continue  # what is forbidden is called by its name
        named = re.search(rf"(?<![\w.-]){re.escape(other.name)}(?![\w.-])", error.message)
        if named and await api.get(other) is None:
            return True
    return False


async def _removals(
    session: ClusterSession, api: Api, held: Sequence[Held]
) -> tuple[tuple[Named, ...], list[Change]]:
    """What of some objects of the inventory stands and is the step's, in the order of removal."""
    lives = await gather(*(api.get(item.ref) for item in held))
    removed: list[Named] = []
    changes: list[Change] = []
    by_ref = {
        item.ref: live
        for item, live in zip(held, lives, strict=True)
        if live is not None and (live["metadata"]["uid"] == item.uid if item.uid else is_ours(session, live, item))
    }
    for tier in tiers([item for item in held if item.ref in by_ref], reverse=True):
        for item in reversed(tier):
            live = by_ref[item.ref]
            removed.append(Named(**item.model_dump(exclude={"uid", "manifest"}), uid=live["metadata"]["uid"]))
            before = project(live, item.manifest)
            changes.append(change(item.ref, "delete", before, None, session.redact))
    return tuple(removed), changes


async def _drift(session: ClusterSession, api: Api, held: Held) -> Change | None:
    live = await api.get(held.ref)
    if live is None or (held.uid and live["metadata"]["uid"] != held.uid and not is_ours(session, live, held)):
        return change(held.ref, "delete", held.manifest, None, session.redact)
    try:
        would = await api.apply(held.ref, held.manifest, force=True, dry_run=True)
    except ApiRefusal as error:
        if error.status != INVALID:
            raise
        # it cannot be put back by applying: the fields are compared as they were set
        would = held.manifest
        live = project(live, held.manifest)
    after, before = difference(live, would)
    return change(held.ref, "update", before, after, session.redact) if before or after else None


async def _check_ready(session: ClusterSession, api: Api, manifests: Sequence[Mapping[str, Any]]) -> None:
    """Refuse `ready` where nothing is there that it would wait for; kinds to come are given the benefit."""
    if not session.section.ready:
        return
    for manifest in manifests:
        resource = await api.resource(Ref.of(manifest))
        if resource is None or expected_conditions(resource, manifest):
            return
    raise ToolFailed(
        "the step says ready: crossplane, and none of its objects is a claim, a composite, a managed resource, a "
        "definition or a package of Crossplane",
        where=session.where,
        hint="take `ready` out of the step, or declare the object that it is to wait for",
    )


async def _unready(session: ClusterSession, api: Api, ref: Ref) -> str:
    """With `ready: crossplane`: what an object of the step itself says of not being ready, in words."""
    if not session.section.ready or (live := await api.get(ref)) is None:
        return ""
    verdict = has_current(live, expected_conditions(await api.resource(ref), live))
    return "" if verdict.done else session.redact(f"{ref.address}: {verdict.why}")


def _is_settled(session: ClusterSession, inventory: Inventory, keys: set[tuple[str, str, str, str]]) -> bool:
    """Whether the inventory is what it would be after applying, and the last apply came to its end."""
    return (
        inventory.run is not None
        and inventory.run.done
        and inventory.outputs == expectations_digest(session)
        and {held.key for held in inventory.objects if held.uid} == keys
    )


def definitions_in(manifest: Mapping[str, Any]) -> list[tuple[tuple[str, str], bool]]:
    """The kinds that a CustomResourceDefinition brings, each with whether it is namespaced."""
    if manifest.get("kind") != "CustomResourceDefinition":
        return []
    spec = manifest.get("spec") or {}
    kind, scope = str((spec.get("names") or {}).get("kind")), spec.get("scope") != "Cluster"
    versions = [item.get("name") for item in spec.get("versions") or () if isinstance(item, Mapping)]
    return [((f"{spec.get('group')}/{version}", kind), scope) for version in versions]


def _check_place(session: ClusterSession, api: Api, ref: Ref, namespace: str) -> None:
    if namespace == session.namespace:
        return
    if not session.section.cluster_scoped:
        place = f"is in namespace {namespace!r}" if namespace else "is in no namespace"
        raise Refused(
            f"{ref.address} {place}, and the section allows only {session.namespace!r}",
            where=session.where,
            hint="take the namespace out of the manifest, or say cluster_scoped: true",
        )
    api.cluster.connection.check_object(Ref(ref.api_version, ref.kind, namespace, ref.name))


def _check_owner(session: ClusterSession, ref: Ref, live: Mapping[str, Any], held: Held | None) -> None:
    if is_ours(session, live, held):
        return
    other = owner_of(live)
    if other or not session.section.adopt:
        raise Refused(
            f"{ref.address} exists already, and " + (f"belongs to {other}" if other else "is not this step's"),
            where=session.where,
            hint="give the object another name" + ("" if other else ", or say adopt: true to take it over"),
        )


def _refused(session: ClusterSession, ref: Ref, error: ApiRefusal) -> BondError:
    """The API server's refusal of one object, said of that object."""
    if error.status == CONFLICT:
        return conflict_error(session, ref, error)
    hint = error.hint
    if error.status == NOT_FOUND:
        hint = "make its namespace first, or declare that in this step and say cluster_scoped: true"
    if error.status == INVALID and 'Invalid value: "null"' in error.message:
        hint = "leave the field out where it has no value: server-side apply takes no null for it"
    refusal = ApiRefusal(
        f"{ref.address}: {error.message}", where=session.where, hint=hint, problems=error.problems
    )
    refusal.status, refusal.causes = error.status, error.causes
    return refusal


def _document(session: ClusterSession, manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What becomes `input.plan` of policies: each manifest as it is applied, secrets not yet masked."""
    return {
        "format_version": "1.0",
        "manifests": list(manifests),
        "target": {"cluster": session.section.cluster, "namespace": session.namespace},
        "errored": False,
    }
