"""Control activities about what outlives a service, and about what a service begins its life with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from temporalio import activity

from bondstone.activities.attested import Checks
from bondstone.activities.failures import speaks_failures
from bondstone.base import names
from bondstone.base.errors import AlreadyExists, ObjectMissing, Refused
from bondstone.base.process_identity import Holder
from bondstone.executors.protocol import Executor
from bondstone.model.service import ServiceId
from bondstone.model.step import AdoptCall, PutAway, PutAwayCall
from bondstone.store import Store, object_keys

if TYPE_CHECKING:
    from bondstone.store.state.claim import Claim

_SHOWN: Final = 5
"""How many objects of a state a line names."""


class ArchiveActivities:
    """What the control worker does with states, secrets and plans at a service's end, and with a brought state.

    Args:
        store: Where they are.
        executors: Installed executors by kind: each can name the objects in its own states.
        checks: Of permits; by default none are demanded.
    """

    def __init__(self, store: Store, executors: Mapping[str, Executor], checks: Checks | None = None) -> None:
        self._store = store
        self._executors = executors
        self._checks = checks or Checks(store)

    @activity.defn(name=names.STATE_ADOPT)
    @speaks_failures
    async def adopt(self, call: AdoptCall) -> int:
        """Make the states that somebody brought the states of a new service's steps; how many there are.

        Raises:
            AlreadyExists: when a step has another state.
            Refused: when a key is not one of this service's.
        """
        await self._checks.adoption(call)
        for step, key in call.states.items():
            if not key.startswith(f"{object_keys.adoption(call.service)}/"):
                raise Refused("the state to adopt was not uploaded for this service", where=key[:200])
            brought = await self._brought(key)
            async with await self._claim(call.service, step, call.operation) as claim:
                payload = claim.snapshot.payload
                # Tried again after it was done, or a retry of the operation: then it is there already.
                await claim.release(brought if payload is None else None)
            if payload is None and brought is None:
                raise ObjectMissing("the state to adopt is not in the store any more", where=key)
            if payload is not None and brought is not None and payload != brought:
                raise AlreadyExists(
                    f"step {step} of {call.service} has a state already",
                    hint="`bond state push` puts another one in its place",
                )
            await self._store.objects.delete(key)
        return len(call.states)

    @activity.defn(name=names.SERVICE_PUT_AWAY)
    @speaks_failures
    async def put_away(self, call: PutAwayCall) -> PutAway:
        """Leave nothing where the next service of the same name would find it; what is kept, in words.

        Everything is read and copied before anything is removed: where something cannot be read, all stays.
        """
        service = call.service
        await self._checks.putting_away(call)
        async with AsyncExitStack() as stack:
            claims = [
                (step, await stack.enter_async_context(await self._claim(service, step, call.operation)))
                for step in await self._store.stateful_steps(service)
            ]
            for step, claim in claims:
                last = claim.snapshot.payload
                if last is not None and (call.state == "archive" or self._objects(last)):
                    await self._store.sealed.put(f"{_archive(call)}/state/{step}", last)
            if call.secrets == "archive":
                await self._archive_secrets(call)
            for _, claim in claims:
                await claim.forget()
        await self._store.objects.delete_prefix(object_keys.adoption(service))
        if call.secrets != "archive":
            await self._erase_plans(service)
        await self._store.secrets.erase(service)
        await self._store.vouched.forget(service)
        return PutAway(retained=tuple(await self._retained(call)))

    async def _brought(self, key: str) -> bytes | None:
        try:
            return await self._store.sealed.get(key)
        except ObjectMissing:
            return None

    async def _claim(self, service: ServiceId, step: str, operation: int) -> Claim:
        attempt = f"{activity.info().activity_id}-{activity.info().attempt}"
        holder = Holder.me(attempt, f"{service}/op/{operation}" if operation else f"abandon {service}")
        return await self._store.state(service, step).claim(holder)

    async def _archive_secrets(self, call: PutAwayCall) -> None:
        prefix = object_keys.secrets(call.service)
        for info in await self._store.objects.list(prefix):
            value = await self._store.sealed.get(info.key)
            await self._store.sealed.put(f"{_archive(call)}/secrets{info.key.removeprefix(prefix)}", value)

    def _objects(self, state: bytes) -> tuple[str, ...]:
        """The addresses of the objects in a state, asked of the executors in turn."""
        for executor in self._executors.values():
            addresses = executor.held(state)
            if addresses is not None:
                return addresses
        return ("objects that no executor installed on the control worker can name",)

    async def _erase_plans(self, service: ServiceId) -> None:
        """Saved plans and their documents hold secrets in plain; the change sets, masked, stay."""
        plans = await self._store.objects.list(object_keys.plans(service))
        await self._store.objects.delete(
            *(info.key for info in plans if info.key.endswith(("/artefact", "/document")))
        )

    async def _retained(self, call: PutAwayCall) -> list[str]:
        kept = [info.key for info in await self._store.objects.list(_archive(call))]
        states = [key for key in kept if key.startswith(f"{_archive(call)}/state/")]
        lines = []
        for key in states:
            objects = self._objects(await self._store.sealed.get(key))
            step = key.rpartition("/")[2]
            more = f" and {len(objects) - _SHOWN} more" if len(objects) > _SHOWN else ""
            stands = f", with what still stands: {', '.join(objects[:_SHOWN])}{more}" if objects else ""
            lines.append(f"the last state of step {step}{stands} ({key})")
        if secrets := len(kept) - len(states):
            lines.append(f"{secrets} secrets ({_archive(call)}/secrets), and the plans")
        return lines


def _archive(call: PutAwayCall) -> str:
    return f"{object_keys.archive(call.service)}/{call.sequence}"
