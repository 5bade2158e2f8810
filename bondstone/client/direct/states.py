"""Terraform states that people bring: put in the place of a service's own, or there for a new service to adopt."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import InvalidInput, ObjectCorrupt, ObjectMissing, Refused
from bondstone.base.process_identity import Holder
from bondstone.client.documents.state import Pushed
from bondstone.executors.state_file import check_successor, read_state_file
from bondstone.model.ledger import LedgerRecord
from bondstone.model.promise import Promise
from bondstone.model.service import ServiceId
from bondstone.store import Store, object_keys

EXECUTOR: Final = "terraform"

_log = structlog.get_logger()


async def push(
    store: Store,
    service: ServiceId,
    step: str,
    raw: bytes,
    *,
    by: str,
    force: bool = False,
    force_lineage: bool = False,
    reason: str = "",
    on_wait: Callable[[Holder], None] | None = None,
) -> Pushed:
    """Put a state in the place of the one that a step has; waits for whoever holds it.

    One that is lost or cannot be read is replaced only with `force` and a reason.

    Raises:
        InvalidInput: it is not a Terraform state; or a reason is missing.
        ObjectMissing: the one that is there is lost; `ObjectCorrupt`: it cannot be read.
        Refused: it does not continue the one that is there, see `bondstone.executors.state_file.check_successor`.
        Fenced: another attempt took the state in between.
    """
    where = f"{service} step {step}"
    new = read_state_file(raw, where=where)
    lost = await _is_lost(store, service, step, force=force)
    if lost and not reason:
        raise InvalidInput(
            "to replace a state that cannot be read needs a reason", where=where, hint="say it with --reason"
        )
    holder = Holder.me(f"push-{uuid.uuid4().hex[:8]}", f"bond state push by {by}")
    async with await store.state(service, step).claim(holder, on_wait=on_wait, replacing=True) as claim:
        payload = claim.snapshot.payload
        changed = payload != raw
        try:
            if changed:
                current = read_state_file(payload, where=where) if payload is not None else None
                check_successor(new, current, force=force, force_lineage=force_lineage, where=where)
        except BaseException:
            await claim.release()
            raise
        position = await claim.release(raw if changed else None)
    _log.info("state pushed", state=where, by=by, serial=new.serial, position=position, changed=changed)
    return Pushed(
        service=str(service),
        step=step,
        changed=changed,
        position=position,
        lineage=new.lineage,
        serial=new.serial,
        objects=len(new.addresses),
        replaced_unreadable=lost,
    )


async def tell(temporal: Client, pushed: Pushed, service: ServiceId, *, by: str, reason: str) -> None:
    """Have the service write into the ledger that somebody pushed a state."""
    record = LedgerRecord(
        kind="state",
        service=service,
        sequence=f"state-{pushed.step}-{pushed.position}",
        at=datetime.now(UTC),
        by=by,
        reason=_lost_too(pushed, reason) or f"pushed the state of step {pushed.step}, serial {pushed.serial}",
    )
    handle = temporal.get_workflow_handle(names.service_workflow_id(service.team, service.name))
    try:
        await handle.signal(names.SIGNAL_RECORD, record)
    except RPCError as error:  # the state is there all the same, and says itself who brought it
        _log.warning("the ledger was not told of a pushed state", service=str(service), error=error.message)


async def _is_lost(store: Store, service: ServiceId, step: str, *, force: bool) -> bool:
    """Whether the state that should be there is not, or cannot be read; raises that unless it may be replaced."""
    try:
        await store.state(service, step).read()
    except (ObjectMissing, ObjectCorrupt):
        if not force:
            raise
        return True
    return False


def _lost_too(pushed: Pushed, reason: str) -> str:
    return f"{reason} (in place of a state that could not be read)" if pushed.replaced_unreadable else reason


def refuse_own(promise: Promise, step: str) -> None:
    """Refuse what is about a state that the platform does not have.

    Raises:
        Refused: the step's executor leaves its state to the tool.
    """
    from bondstone.executors.registry import load_executors  # noqa: PLC0415 - these verbs only

    spec = next((each for each in promise.spec.steps if each.id == step), None)
    executor = None if spec is None else load_executors().get(spec.executor)
    if spec and executor and isinstance(spec.section, dict) and executor.keeps_own_state(spec.section):
        raise Refused(
            f"the state of step {step} is kept by the module's own backend, not by the platform",
            where=f"{promise.name}@{promise.version}",
            hint="in its module: `terraform init` with its backend_config, then `terraform state pull` or `push`",
        )


def by_step(promise: Promise, states: Mapping[str, bytes]) -> dict[str, bytes]:
    """States by the step they belong to; the one without a name is the only Terraform step's.

    Raises:
        InvalidInput: a step is not one of the promise's Terraform steps, or a file is no state.
    """
    steps = [step.id for step in promise.spec.steps if step.executor == EXECUTOR]
    by_name: dict[str, bytes] = {}
    for name, raw in states.items():
        step = name or (steps[0] if len(steps) == 1 else "")
        if step not in steps:
            raise InvalidInput(
                f"{promise.name} has no Terraform step {name!r}" if name else "say which step a state belongs to",
                where=f"{promise.name}@{promise.version}",
                hint=f"write STEP=FILE; the steps are {', '.join(steps)}" if steps else "it has none at all",
            )
        if step in by_name:
            raise InvalidInput(f"step {step} is to adopt two states", where=promise.name)
        refuse_own(promise, step)
        by_name[step] = raw
        read_state_file(raw, where=f"state of step {step}")
    if not by_name:
        raise InvalidInput("there is no state to adopt", hint="give one for each step that has one")
    return by_name


async def stage(store: Store, service: ServiceId, states: Mapping[str, bytes]) -> dict[str, str]:
    """Keep states, sealed, where only the first operation of a new service finds them; their keys by step."""
    prefix = f"{object_keys.adoption(service)}/{uuid.uuid4().hex}"
    keys = {step: f"{prefix}/{step}" for step in states}
    for step, raw in states.items():
        await store.sealed.put(keys[step], raw)
    return keys


async def unstage(store: Store, keys: Iterable[str]) -> None:
    """Remove states that nobody will adopt."""
    await store.objects.delete(*keys)
