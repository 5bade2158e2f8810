"""Terraform states in the object store. `Bondstone.state`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base.errors import NotFound
from bondstone.client.direct.service_reading import read_state
from bondstone.client.direct.states import push, refuse_own, tell
from bondstone.client.documents.state import HolderDocument, Pushed, StateEntryDocument, StateFile
from bondstone.client.state import State
from bondstone.temporal.service_ids import service_id

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller


class DirectState(State):
    """States in the object store.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def pull(self, service: str, *, step: str = "") -> StateFile:
        step = await self._step(service, step)
        target, store = service_id(service), await self._caller.connection.store()
        snapshot = await store.state(target, step).read()
        if snapshot.payload is not None:
            return StateFile(service=service, step=step, content=snapshot.payload)
        last = (await store.archive.last_states(target)).get(step)
        if last is None:
            await self._refuse_own(service, step)
            raise NotFound(f"step {step} of {service} has no state", hint="it may never have been applied")
        content = await store.archive.read(target, last.name)
        return StateFile(service=service, step=step, content=content, archived_as=last.name, archived_at=last.at)

    @override
    async def push(
        self,
        service: str,
        state: bytes,
        *,
        step: str = "",
        force: bool = False,
        force_lineage: bool = False,
        reason: str = "",
        on_wait: Callable[[HolderDocument], None] | None = None,
    ) -> Pushed:
        step = await self._step(service, step)
        await self._refuse_own(service, step)
        target = service_id(service)
        pushed = await push(
            await self._caller.connection.store(),
            target,
            step,
            state,
            by=self._caller.by,
            force=force,
            force_lineage=force_lineage,
            reason=reason,
            on_wait=(lambda holder: on_wait(HolderDocument.of(holder))) if on_wait else None,
        )
        if pushed.changed:
            await tell(await self._caller.connection.temporal(), pushed, target, by=self._caller.by, reason=reason)
        return pushed

    @override
    async def log(self, service: str, *, step: str = "") -> list[StateEntryDocument]:
        step = await self._step(service, step)
        store = await self._caller.connection.store()
        return [StateEntryDocument.of(entry) for entry in await store.state(service_id(service), step).entries()]

    async def _step(self, service: str, step: str) -> str:
        """The step that is meant, as far as the service, or its archive, knows its steps.

        Raises:
            NotFound: naming the steps there are.
        """
        store = await self._caller.connection.store()
        archived = sorted(await store.archive.last_states(service_id(service)))
        try:
            state = await read_state(self._caller.connection, service)
        except NotFound:  # gone for longer than Temporal remembers
            if not archived:
                raise
            steps = []
        else:
            steps = [spec.id for spec in state.current.steps] if state.current else []
            if state.current and step in {spec.id for spec in state.current.day_two.hooks}:
                return step
        if not steps or step in archived:
            steps = [*steps, *(name for name in archived if name not in steps)]
        if not step and len(steps) == 1:
            return steps[0]
        if step not in steps:
            raise NotFound(
                f"{service} has no step {step!r}" if step else "say which step",
                where=service,
                hint="its steps are " + (", ".join(steps) or "not known yet"),
            )
        return step

    async def _refuse_own(self, service: str, step: str) -> None:
        """Refuse a step whose state the platform does not have because the promise says so."""
        current = (await read_state(self._caller.connection, service)).current
        if current is not None:
            refuse_own(await (await self._caller.connection.revisions()).promise(current.revision), step)
