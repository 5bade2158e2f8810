"""From a request and its revision to what an operation runs: pure, and the same every time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bondstone.errors import BondError, InvalidInput, Refused
from bondstone.expressions import Expr, Variables, evaluate, parts, render
from bondstone.model.promise import Promise, Step
from bondstone.model.secret import SecretRef
from bondstone.model.service import OperationKind, ResolveCall, Resolved, RevisionRef, ServiceId, StepSpec
from bondstone.names import check_name
from bondstone.promise.inputs import complete_inputs, require_references
from bondstone.promise.variables import variables_for

Condition = str | bool
"""Of `when`: an expression, or what it always is."""


def resolve(promise: Promise, ref: RevisionRef, call: ResolveCall, reveal: Callable[[SecretRef], Any]) -> Resolved:
    """Check a request against its revision and fix what the operation will do.

    Whether the revision may be used (yanked, deprecated) is for who calls to know.

    Args:
        promise: The revision's manifest: the requested one to provision, the service's own to decommission.
        ref: Its reference.
        call: The request, and what the service stands on.
        reveal: Gives the value of a secret reference, so that the schema can check it.

    Raises:
        InputsInvalid: naming each field; a secret passed as a plain value is refused without repeating it.
        ExpressionInvalid: when `when` or `pool` fail for these inputs.
        Refused: when the request does not fit the service.
    """
    match call.request.kind:
        case OperationKind.PROVISION:
            return _provision(promise, ref, call, reveal)
        case OperationKind.DECOMMISSION:
            return _decommission(promise, ref, call)


def _provision(
    promise: Promise, ref: RevisionRef, call: ResolveCall, reveal: Callable[[SecretRef], Any]
) -> Resolved:
    require_references(promise, call.request.inputs)
    inputs = complete_inputs(promise, call.request.inputs, reveal)
    return Resolved(
        revision=ref,
        inputs=inputs,
        steps=steps_for(promise, call.service, inputs),
        has_health=bool(promise.spec.health),
    )


def _decommission(promise: Promise, ref: RevisionRef, call: ResolveCall) -> Resolved:
    """The service's own revision and inputs, as they are: what was valid once must be possible to take down."""
    if call.current is None:
        raise Refused(f"{call.service} has nothing to decommission", where=str(call.service))
    if call.current != ref:
        raise Refused(f"{call.service} stands on {call.current}, not on {ref}", where=str(call.service))
    return Resolved(
        revision=ref,
        inputs=call.current_inputs,
        steps=steps_for(promise, call.service, call.current_inputs),
        has_health=bool(promise.spec.health),
    )


def steps_for(promise: Promise, service: ServiceId, inputs: Mapping[str, Any]) -> tuple[StepSpec, ...]:
    """The steps in an order in which each comes after those it needs, `when` and `pool` evaluated.

    They come out the same whenever they are asked for with the same inputs, so that what provisioned a service
    also takes it down: labels, which change, are not there, the operation is always the one that makes things,
    and secrets stay references (publishing refuses conditions on them).
    """
    variables = variables_for(
        promise, service=service, labels={}, kind=OperationKind.PROVISION, inputs=inputs, outputs={}
    )
    return tuple(_spec(step, variables) for step in in_order(promise.spec.steps))


def condition(when: Condition) -> Condition:
    """The expression of a condition, which may be written bare or as one `${…}`."""
    if isinstance(when, bool):
        return when
    try:
        pieces = parts(when.strip())
    except InvalidInput:
        return when
    return pieces[0].text if len(pieces) == 1 and isinstance(pieces[0], Expr) else when


def holds(when: Condition, variables: Variables, *, where: str) -> bool:
    """Whether a condition is true; anything but true or false is refused."""
    expression = condition(when)
    value = expression if isinstance(expression, bool) else evaluate(expression, variables)
    if not isinstance(value, bool):
        raise InvalidInput(f"the condition gives {type(value).__name__}, not true or false", where=where)
    return value


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Steps after those they need, otherwise as written; the caller has checked that there is no circle."""
    left = list(steps)
    known = {step.id for step in left}
    done: set[str] = set()
    ordered: list[Step] = []
    while left:
        ready = next(
            (step for step in left if all(need in done or need not in known for need in step.needs)), left[0]
        )
        left.remove(ready)
        done.add(ready.id)
        ordered.append(ready)
    return ordered


def _spec(step: Step, variables: Variables) -> StepSpec:
    where = f"step {step.id}"
    try:
        skip = not holds(step.when, variables, where=f"{where}, when")
        pool = render(step.pool, variables)
        if not isinstance(pool, str):
            raise InvalidInput(f"the pool is {type(pool).__name__}, not text")
        check_name("pool", pool)
    except BondError as error:
        raise type(error)(error.message, where=f"{where}: {error.where}".rstrip(": "), hint=error.hint) from None
    return StepSpec(
        id=step.id,
        executor=step.executor,
        needs=step.needs,
        pool=pool,
        skip=skip,
        timeout_seconds=step.timeout_seconds,
        summary=step.description,
    )
