"""What a service knows of the services that it is a part of, as functions on frozen state."""

from __future__ import annotations

from datetime import datetime

from bondstone.base.errors import AlreadyExists, Changed, NotFound, Refused
from bondstone.model.service import (
    BindCall,
    Dependant,
    OperationKind,
    OperationRecord,
    OperationStatus,
    PartChanged,
    PendingOperation,
    Phase,
    Request,
    ServiceState,
    state_digest,
)
from bondstone.model.sharing import GIVE_LABEL, SHARE_LABEL, is_given, shares_with

MAX_DEPENDANTS = 100
RETRY_PARENT = "look at it, then retry the parent: `bond service retry`"


def with_dependant(dependants: tuple[Dependant, ...], parent: Dependant | None) -> tuple[Dependant, ...]:
    """The dependants with a parent among them, each once."""
    if parent is None:
        return dependants
    return (*(each for each in dependants if each.service != parent.service), parent)


def without_dependant(dependants: tuple[Dependant, ...], parent: Dependant) -> tuple[Dependant, ...]:
    """The dependants without a parent."""
    return tuple(each for each in dependants if each.service != parent.service)


def check_bind(state: ServiceState, call: BindCall) -> None:
    """Refuse a parent when the service is not ready, or has too many, or is not given to one that would own it.

    Raises:
        Changed: its state is not the one that the call expects.
        NotFound: the service never was.
        Refused: it is being taken down, not healthy, or another's.
    """
    where = str(state.service)
    if state.current is None:
        raise NotFound(f"there is no service {where}", hint="`bond service list` shows the existing ones")
    if any(pending.record.kind is OperationKind.DECOMMISSION for pending in state.queue):
        raise Refused(f"{where} is being decommissioned", where=where)
    if call.expected_state and call.expected_state != state_digest(state):
        raise Changed("it has changed since its parent planned to take it over", where=where, hint=RETRY_PARENT)
    owner = next((each for each in state.dependants if each.owns), None)
    if call.parent.owns and owner is not None and owner.service == call.parent.service:
        return  # it is that parent's already, which now accepts other versions
    if not state.healthy or state.resting is not Phase.READY:
        raise Refused(
            f"{where} is {state.phase}, so nothing is bound to it",
            where=where,
            hint="`bond service show` says why",
        )
    if call.parent.owns:
        check_given(state, call.parent)
    elif not _shares(state, call.parent.service.team):
        raise Refused(
            f"{where} belongs to {state.service.team}, which does not share it with {call.parent.service.team}",
            where=where,
            hint=f"ask them for: bond service label {where} {SHARE_LABEL}={call.parent.service.team}",
        )
    if len(with_dependant(state.dependants, call.parent)) > MAX_DEPENDANTS:
        raise Refused(f"{where} is a part of {MAX_DEPENDANTS} services already", where=where)


def _shares(state: ServiceState, team: str) -> bool:
    """Whether services of a team may be bound to this one; those that are may stay."""
    if team == state.service.team or any(each.service.team == team for each in state.dependants):
        return True
    return shares_with(state.labels, team)


def check_given(state: ServiceState, parent: Dependant) -> None:
    """Refuse that a service which exists becomes a parent's own part, unless it was given to that parent.

    Args:
        state: How the service stands.
        parent: Who would own it.

    Raises:
        AlreadyExists: nobody gave it to this parent.
        Refused: it is another parent's, or not at rest.
    """
    where = str(state.service)
    owner = next((each for each in state.dependants if each.owns and each.service != parent.service), None)
    if owner is not None:
        raise Refused(
            f"{where} is a part of {owner.service} already, and has one owner",
            where=f"requires.{parent.alias}",
            hint=f"share it with `bind: {where}`, or give the part another name with `service`",
        )
    if not is_given(state.labels, str(parent.service)):
        raise AlreadyExists(
            f"{where} exists, and is not a part of {parent.service}",
            where=f"requires.{parent.alias}",
            hint=f"give it to its parent: bond service label {where} {GIVE_LABEL}={parent.service}; "
            f"or share it with `bind: {where}`; or give the part another name with `service`",
        )
    if state.queue:
        raise Refused(
            f"{where} cannot be taken over: operation {state.queue[0].record.id} has not ended",
            where=f"requires.{parent.alias}",
            hint=RETRY_PARENT,
        )


def check_may_go(state: ServiceState, request: Request) -> None:
    """Refuse to take down what others depend on.

    Raises:
        Refused: naming them.
    """
    if request.kind is not OperationKind.DECOMMISSION or request.dry_run:
        return
    asker = request.parent.service if request.parent is not None else None
    parents = [str(each.service) for each in state.dependants if each.service != asker]
    if parents:
        raise Refused(
            f"{state.service} is a part of {', '.join(parents)}",
            where=str(state.service),
            hint="decommission those first; a part that was made for one goes with it",
        )


def to_tell(
    before: ServiceState, after: ServiceState, ended: OperationRecord, asker: Dependant | None
) -> list[Dependant]:
    """The parents that must hear of an operation: the service gives something else now, and they did not ask."""
    if ended.dry_run or ended.kind is OperationKind.DECOMMISSION or not before.healthy:
        return []
    if ended.status not in {OperationStatus.SUCCEEDED, OperationStatus.ROLLED_BACK}:
        return []
    if before.outputs == after.outputs:
        return []
    return [each for each in after.dependants if asker is None or each.service != asker.service]


def with_own_update(state: ServiceState, call: PartChanged, now: datetime) -> ServiceState:
    """The state with an update of the service's own in its queue, because a part gives something else.

    Several changes that come while one such update waits are one update.
    """
    if state.resolved is None or not state.healthy:
        return state
    decommissions = any(pending.record.kind is OperationKind.DECOMMISSION for pending in state.queue)
    waiting = any(
        pending.record.cause and pending.record.status is OperationStatus.QUEUED for pending in state.queue[1:]
    )
    if decommissions or waiting:
        return state
    number = state.next_number
    record = OperationRecord(
        service=state.service,
        number=number,
        kind=OperationKind.UPDATE,
        revision=state.resolved.revision,
        before=state.resolved.revision,
        request_id=f"part-changed-{number}",
        requested_by="bondstone",
        requested_at=now,
        reason=f"its part {call.part} changed",
        cause=call.operation,
    )
    pending = PendingOperation(record=record, resolved=state.resolved, attested=state.attested)
    return state.changed(queue=(*state.queue, pending), next_number=number + 1)
