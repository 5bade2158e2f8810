"""The verb that changes the world: exactly one plan, resumable at any point.

The inventory is written before the first object is touched and after the last. An attempt that died in between is
carried on by the next one with the same plan: applying again what is applied changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.outputs import object_named, read_outputs
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.clusters.status import ROLLED_OUT, rollout
from bondstone.activities.kubernetes.changes import difference, difference_digest
from bondstone.activities.kubernetes.crossplane import expected_conditions, has_current
from bondstone.activities.kubernetes.documents import (
    Held,
    Inventory,
    Item,
    KubernetesPlan,
    LastApply,
    Named,
    read_inventory,
    read_plan,
)
from bondstone.activities.kubernetes.order import tiers
from bondstone.activities.kubernetes.planning import definitions_in, expectations_digest, gather, is_ours
from bondstone.activities.kubernetes.session import CONFLICT, Api, ClusterSession, unknown_kind
from bondstone.activities.kubernetes.waiting import Awaited, judge, until_gone, until_ready
from bondstone.activities.tooling.claims import claimed
from bondstone.base.canonical import digest
from bondstone.base.errors import BondError, Fenced, InvalidInput, PlanStale, StoreUnavailable
from bondstone.executors.protocol import Outcome
from bondstone.model.step import Progress

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim

_SERVED_POLL_SECONDS: Final = 0.2


async def apply(session: ClusterSession, artefact: bytes, position: int) -> Outcome:
    """Apply the plan in the artefact, made at that position of the state log."""
    plan = read_plan(artefact)
    session.note_secrets(item.manifest for item in plan.items)
    log = session.context.state
    async with claimed(session, log) as claim:
        inventory = read_inventory(claim.snapshot.payload)
        run = LastApply(plan=digest(artefact), base=position)
        resumed = inventory.run is not None and inventory.run.changed(done=False) == run
        if claim.snapshot.position != position and not resumed:
            await claim.release()
            raise PlanStale(
                f"the step's inventory has moved since the plan was made (from entry {position} of its log to "
                f"{claim.snapshot.position})",
                where=session.where,
                hint="plan again",
            )
        work = _Work(session, claim, plan, inventory, run)
        return await work.destroy() if plan.destroy else await work.apply()


class _Work:
    """One plan on its way into the cluster."""

    def __init__(
        self,
        session: ClusterSession,
        claim: StateClaim,
        plan: KubernetesPlan,
        inventory: Inventory,
        run: LastApply,
    ) -> None:
        self._session = session
        self._claim = claim
        self._plan = plan
        self._before = inventory
        self._run = run
        self._uids = {item.key: item.uid for item in inventory.objects}
        self._gone: set[tuple[str, str, str, str]] = set()
        self._done = 0

    async def apply(self) -> Outcome:
        session, plan = self._session, self._plan
        async with session.opened(plan.cluster, plan.namespace) as api:
            await gather(*(self._verify(api, item) for item in plan.items))
            await self._claim.append(self._inventory(done=False).pack())
            try:
                for tier in tiers(plan.items):
                    await gather(*(self._put(api, item) for item in tier))
                    if tier[0].kind == "CustomResourceDefinition":
                        await self._serve(api, tier)
                await until_ready(session, api, await self._waits(api), self._check, self._deadline())
                await self._remove(api)
                known = [item.ref for item in plan.items]
                outputs = await read_outputs(
                    session.section.outputs, known, plan.namespace, api.get, where=session.where
                )
            except BaseException as error:
                await self._keep(error)
                raise
            await self._claim.release(self._inventory(done=True).pack())
        return Outcome(outputs)

    async def destroy(self) -> Outcome:
        session, plan = self._session, self._plan
        if plan.removed:
            async with session.opened(plan.cluster, plan.namespace) as api:
                await self._claim.append(self._inventory(done=False).pack())
                try:
                    await self._remove(api)
                except BaseException as error:
                    await self._keep(error)
                    raise
        await self._claim.release(Inventory(run=self._run.changed(done=True)).pack())
        return Outcome({})

    async def _verify(self, api: Api, item: Item) -> None:
        """Refuse to go on when an object is not as the plan found it, nor as the plan makes it."""
        live = await api.get(item.ref)
        if item.action == "create":
            if live is not None and not is_ours(self._session, live, None):
                raise self._stale(item.ref, "somebody else has made it meanwhile")
            return
        if live is None:
            if item.action == "replace":
                return  # an attempt before this one had taken the old one away
            raise self._stale(item.ref, "it is no longer there")
        same = live["metadata"]["uid"] == item.uid
        if item.action == "replace":
            if not same and not is_ours(self._session, live, None):
                raise self._stale(item.ref, "somebody else has replaced it meanwhile")
            return
        if not same:
            raise self._stale(item.ref, "it is another one than when the plan was made")
        if item.action == "update" and live["metadata"].get("resourceVersion") != item.resource_version:
            would = await self._apply(api, item, dry_run=True)
            before, after = difference(live, would)
            if (before or after) and difference_digest(before, after) != item.difference:
                raise self._stale(item.ref, "fields that the plan would change have changed")

    async def _put(self, api: Api, item: Item) -> None:
        self._check()
        if item.action == "none":
            self._uids[item.key] = item.uid
            self._step(item, "unchanged")
            return
        if item.action == "replace":
            live = await api.get(item.ref)
            if live is not None and live["metadata"]["uid"] == item.uid:
                await api.delete(item.ref, item.uid)
                await until_gone(self._session, api, [item], self._check, self._deadline())
        applied = await self._apply(api, item)
        self._uids[item.key] = str(applied["metadata"]["uid"])
        self._step(item, {"create": "created", "update": "updated", "replace": "replaced"}[item.action])

    async def _apply(self, api: Api, item: Item, *, dry_run: bool = False) -> dict[str, Any]:
        try:
            return await api.apply(item.ref, item.manifest, force=item.force, dry_run=dry_run)
        except ApiRefusal as error:
            if error.status == CONFLICT:  # the plan's own dry run had none
                raise self._stale(item.ref, "somebody else has set its fields meanwhile") from None
            raise

    async def _serve(self, api: Api, definitions: Sequence[Item]) -> None:
        """Wait until the kinds are served that were just defined: the API server publishes them a little later."""
        deadline = self._deadline()
        waits = [Awaited(item.ref, [rollout]) for item in definitions]
        await until_ready(self._session, api, waits, self._check, deadline)
        kinds = {kind for item in definitions for kind, _ in definitions_in(item.manifest)}
        used = [item for item in self._plan.items if (item.api_version, item.kind) in kinds]
        for item in used:
            while not await api.is_served(item.ref):
                self._check()
                if asyncio.get_running_loop().time() >= deadline:
                    raise unknown_kind(item.ref, self._session.where)
                await self._session.stop.unless(asyncio.sleep(_SERVED_POLL_SECONDS))

    async def _remove(self, api: Api) -> None:
        """Delete what is to go, tier by tier, each once the one before is gone."""
        deadline = self._deadline()
        for tier in tiers(self._plan.removed, reverse=True):
            self._check()
            await gather(*(api.delete(item.ref, item.uid) for item in tier))
            await until_gone(self._session, api, tier, self._check, deadline)
            for item in tier:
                self._gone.add(item.key)
                self._step(item, "deleted")

    async def _waits(self, api: Api) -> list[Awaited]:
        section, known = self._session.section, [item.ref for item in self._plan.items]
        awaited: dict[Ref, Awaited] = {}
        for ref in known if section.rollout else ():
            if ref.kind not in ROLLED_OUT:
                continue
            awaited.setdefault(ref, Awaited(ref)).judges.append(rollout)
        for item in self._plan.items if section.ready else ():
            if names := expected_conditions(await api.resource(item.ref), item.manifest):
                awaited.setdefault(item.ref, Awaited(item.ref)).judges.append(partial(has_current, names=names))
        for wait in section.wait:
            try:
                ref = object_named(wait.source, known, self._plan.namespace)
                awaited.setdefault(ref, Awaited(ref)).judges.append(judge(wait))
            except ValueError as error:
                raise InvalidInput(str(error), where=f"{self._session.where}, wait") from None
        return list(awaited.values())

    def _inventory(self, *, done: bool) -> Inventory:
        """The inventory as far as the work has come: what is to be made is in it before it is."""
        items = [
            Held(
                **item.model_dump(include={"api_version", "kind", "namespace", "name", "manifest"}),
                uid=self._uids.get(item.key, ""),
            )
            for item in self._plan.items
        ]
        declared = {item.key for item in items}
        old = self._plan.kept if done and not self._plan.destroy else self._before.objects
        rest = [item for item in old if item.key not in declared and item.key not in self._gone]
        return Inventory(
            cluster=self._plan.cluster,
            namespace=self._plan.namespace,
            objects=(*items, *rest),
            run=self._run.changed(done=done),
            outputs=expectations_digest(self._session) if done else "",
        )

    async def _keep(self, error: BaseException) -> None:
        """Keep how far the work has come before an error is raised again, if the state is still this attempt's."""
        if isinstance(error, Fenced):
            return
        try:
            await self._claim.release(self._inventory(done=False).pack())
        except BondError as other:
            self._session.log(f"the inventory could not be written: {other.message}; the one before stands")

    def _check(self) -> None:
        """Raise when the attempt must end."""
        if self._claim.lost.is_set():
            raise StoreUnavailable(
                "the claim on the state was lost or could not be renewed in time, so the work was stopped",
                where=self._session.where,
                hint="see why the worker could not reach the store, or stood still; another attempt continues",
            )
        if self._session.stop.requested:
            raise asyncio.CancelledError

    def _step(self, item: Named, word: str) -> None:
        self._done += 1
        self._session.log(f"{item.ref.address} {word}")
        total = len(self._plan.items) + len(self._plan.removed)
        self._session.pulse.report(Progress(done=self._done, total=total, address=item.ref.address))

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._session.timeout_seconds

    def _stale(self, ref: Ref, why: str) -> PlanStale:
        return PlanStale(f"{ref.address}: {why}", where=self._session.where, hint="plan again")
