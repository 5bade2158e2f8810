"""From a request and its revision to what an operation runs: pure, and the same every time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bondstone.base.errors import BondError, InvalidInput, Refused
from bondstone.base.names import SERVICE_EXECUTOR, check_name, parse_service
from bondstone.cel.templates import Expr, Variables, evaluate, parts, references_in, render
from bondstone.model.promise import DecommissionSpec, PatchSpec, Probe, Promise, Step, UpgradeSpec, seconds
from bondstone.model.secret import SecretRef, as_ref
from bondstone.model.service import DayTwo, OperationKind, ResolveCall, Resolved, RevisionRef, ServiceId, StepSpec
from bondstone.promise.inputs import complete_inputs, require_references
from bondstone.promise.variables import variables_for
from bondstone.promise.versions import in_range

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
            inputs: Mapping[str, Any] = call.request.inputs
        case OperationKind.UPDATE | OperationKind.PATCH:
            inputs = changed(call.current_inputs, call.request.inputs)
        case OperationKind.UPGRADE:
            inputs = changed(upgraded(promise, ref, call), call.request.inputs)
        case kind:
            raise Refused(f"nothing has to be resolved to {kind} a service", where=str(call.service))
    require_references(promise, inputs)
    return resolved(promise, ref, call.service, complete_inputs(promise, inputs, reveal))


def resolved(promise: Promise, ref: RevisionRef, service: ServiceId, inputs: Mapping[str, Any]) -> Resolved:
    """What an operation runs, for inputs that are complete."""
    hooks = hook_ids(promise)
    steps = steps_for(promise, service, inputs)
    return Resolved(
        revision=ref,
        inputs=dict(inputs),
        steps=tuple(spec for spec in steps if spec.id not in hooks),
        health_seconds=_longest(promise.spec.health),
        day_two=_day_two(promise, [spec for spec in steps if spec.id in hooks]),
    )


def changed(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs with some of them changed: objects are merged, null goes back to the default (RFC 7396)."""
    merged = dict(current)
    for name, value in changes.items():
        existing = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and as_ref(value) is None:
            merged[name] = changed(
                existing if isinstance(existing, dict) and as_ref(existing) is None else {}, value
            )
        else:
            merged[name] = value
    return merged


def upgraded(promise: Promise, ref: RevisionRef, call: ResolveCall) -> dict[str, Any]:
    """The inputs of a service as a newer revision wants them: what it still knows, and what it transforms.

    Secrets stay references on the way.

    Raises:
        Refused: the revision cannot be reached from where the service stands.
        ExpressionInvalid: a transformation fails for these inputs.
    """
    spec = promise.spec.upgrade or UpgradeSpec()
    here = call.current
    if here is not None and spec.source is not None and not in_range(here.version, spec.source):
        raise Refused(
            f"{ref} is reached from {spec.source} only, and the service is at {here.version}",
            where=str(call.service),
            hint="upgrade to a version in between first",
        )
    known = promise.spec.inputs.get("properties", {})
    kept = {name: value for name, value in call.current_inputs.items() if name in known}
    variables = {f"inputs.{name}": value for name, value in _paths(call.current_inputs)}
    return kept | {name: render(template, variables) for name, template in spec.inputs.items()}


def hook_ids(promise: Promise) -> frozenset[str]:
    """The steps that only run when an operation names them: before, after, or as the last thing."""
    spec = promise.spec
    named: list[str] = []
    for part in (spec.patch, spec.upgrade):
        if part is not None:
            named += [*part.before, *part.after]
    if spec.decommission is not None:
        named += spec.decommission.final
    return frozenset(named)


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
        skip = not holds(step.when, variables, where="when")
        pool = render(step.pool, variables)
        if not isinstance(pool, str):
            raise InvalidInput(f"the pool is {type(pool).__name__}, not text")
        check_name("pool", pool)
    except BondError as error:
        raise type(error)(error.message, where=f"{where}: {error.where}".rstrip(": "), hint=error.hint) from None
    references = references_in(step.section)
    return StepSpec(
        id=step.id,
        executor=step.executor,
        needs=step.needs,
        pool=pool,
        skip=skip,
        uses=tuple(
            sorted({path.split(".")[1] for path in references if path.startswith(("steps.", "requires."))})
        ),
        part=_part(step, variables),
        timeout_seconds=step.timeout_seconds,
        summary=step.description,
    )


def _part(step: Step, variables: Variables) -> str:
    """`TEAM/NAME` of the part that a step stands for; empty for other steps."""
    if step.executor != SERVICE_EXECUTOR:
        return ""
    name = render(step.section["service"], variables)
    if not isinstance(name, str):
        raise InvalidInput(f"the name of a part is {type(name).__name__}, not text", where=f"requires.{step.id}")
    return str(ServiceId(**dict(zip(("team", "name"), parse_service(name), strict=True))))


def _day_two(promise: Promise, hooks: Sequence[StepSpec]) -> DayTwo:
    spec = promise.spec
    patch, upgrade = spec.patch or PatchSpec(), spec.upgrade or UpgradeSpec()
    last = spec.decommission or DecommissionSpec()
    return DayTwo(
        hooks=tuple(hooks),
        patch_before=patch.before,
        patch_after=patch.after,
        patch_health_seconds=_longest(patch.health),
        patch_on_failure=patch.on_failure,
        upgrade_before=upgrade.before,
        upgrade_after=upgrade.after,
        upgrade_health_seconds=_longest(upgrade.health),
        upgrade_on_failure=upgrade.on_failure,
        upgrade_approval=upgrade.approval,
        retain_seconds=seconds(last.retain) if last.retain else 0,
        final=last.final,
        state_after=last.state,
        secrets_after=last.secrets,
        reconcile_seconds=seconds(spec.reconcile.every) if spec.reconcile else 0,
        reconcile_repair=spec.reconcile.repair if spec.reconcile else False,
    )


def _longest(probes: Iterable[Probe]) -> int:
    """Seconds that probes take at most, one after the other."""
    return sum(seconds(probe.within) for probe in probes)


def _paths(inputs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by dotted path, inner ones too."""
    for name, value in inputs.items():
        yield prefix + name, value
        if isinstance(value, dict) and as_ref(value) is None:
            yield from _paths(value, f"{prefix}{name}.")
