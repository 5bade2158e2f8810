"""The control activities that accept attested requests and sign permits.

Each checks everything itself: whoever schedules it may be anybody who reaches Temporal. What they sign or write
into the store is what executors and the ledger believe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from bondstone.activities.attested import Checks
from bondstone.activities.campaign.requests import check_campaign_request
from bondstone.activities.failures import speaks_failures
from bondstone.activities.policy import decision_key
from bondstone.activities.promise import PromiseActivities
from bondstone.base import names
from bondstone.base.errors import AttestationInvalid, PermitInvalid, SettingsInvalid
from bondstone.model.approval import asks, needs, votes_for
from bondstone.model.attestation import (
    Attestation,
    Permit,
    acceptance_id,
    basis_digest,
    check_times,
    json_digest,
)
from bondstone.model.permit_calls import (
    AcceptCall,
    AcceptedRequest,
    ApplyPermitCall,
    LabelsAcceptCall,
    OperationPermitCall,
)
from bondstone.model.plan import PlanRef
from bondstone.model.plan_coverage import uncovered
from bondstone.model.service import (
    Need,
    OperationInput,
    OperationKind,
    Request,
    Resolution,
    Resolved,
    ServiceId,
)
from bondstone.model.step import ApplyCall
from bondstone.promise.resolve import resolved as resolve_again
from bondstone.store import Store, object_keys
from bondstone.store.signing import Signer

EVERY_STEP = "*"
OWN = "bondstone"
"""Who asks for what a service begins by itself."""


class PermitActivities:
    """What the control worker signs.

    Args:
        store: Everything that is kept.
        checks: What it checks before.
        signer: Of permits; None where none are issued.
        promise: Resolves requests.
    """

    def __init__(
        self,
        store: Store,
        checks: Checks,
        signer: Signer | None,
        promise: PromiseActivities,
    ) -> None:
        self._store = store
        self._checks = checks
        self._signer = signer
        self._promise = promise

    # Accepting -----------------------------------------------------------------------------------------------

    @activity.defn(name=names.REQUEST_ACCEPT)
    @speaks_failures
    async def accept(self, call: AcceptCall) -> Resolution:
        """Check who asks, take the request once, resolve it, and vouch for what it comes to.

        Raises:
            AttestationInvalid: the request is not what its attestation says, is too late, or came before.
        """
        service, request = call.call.service, call.call.request
        attestation = request.attestation
        if attestation is None:
            raise AttestationInvalid("the request carries no attestation", where=str(service))
        from_campaign = await self._check_request(service, request)
        await self._take(service, call, attestation, lasting=from_campaign)
        await self._insist_on_base(call)
        resolution = (
            Resolution(resolved=call.standing) if call.standing else await self._promise.resolve(call.call)
        )
        resolved = resolution.resolved
        vouched = self._store.vouched
        await vouched.add(service, "basis", basis_digest(resolved.revision.digest, resolved.inputs))
        await self._add_labels(service, call.labels, call.labels | request.labels)
        return resolution

    @activity.defn(name=names.LABELS_ACCEPT)
    @speaks_failures
    async def labels(self, call: LabelsAcceptCall) -> dict[str, str]:
        """Check who changes the labels, and vouch for what they are then."""
        change, target = call.change, str(call.service)
        await self._checks.attestation(change, verb="service.label", target=target, by=change.requested_by)
        kept = {key: value for key, value in call.labels.items() if key not in change.remove} | change.set
        await self._add_labels(call.service, call.labels, kept)
        return kept

    async def _check_request(self, service: ServiceId, request: Request) -> bool:
        """Refuse a request that its attestation does not prove; whether it is a campaign's."""
        if request.campaign:
            await check_campaign_request(self._store, service, request)
            return True
        await self._checks.attestation(
            request,
            verb=request.verb,
            target=str(service),
            by=request.requested_by,
        )
        return False

    async def _take(
        self, service: ServiceId, call: AcceptCall, attestation: Attestation, *, lasting: bool
    ) -> None:
        """Keep the request as accepted: in time, and for one service only."""
        request = call.call.request
        key = acceptance_id(attestation, request.request_id)
        mine = AcceptedRequest(service=service, request=request, retried=call.retried)
        kept = await self._store.vouched.accepted(key)
        if kept is None:
            if not lasting:
                check_times(attestation, datetime.now(UTC))
            if call.retried is not None:
                await self._insist_accepted(service, call.retried)
            kept = await self._store.vouched.accept(key, mine)
        if kept != mine:
            raise AttestationInvalid("the attestation was used for another request", where=str(service))

    async def _insist_accepted(self, service: ServiceId, retried: Request) -> None:
        """Refuse to run again what was never accepted."""
        attestation = retried.attestation
        kept = (
            await self._store.vouched.accepted(acceptance_id(attestation, retried.request_id))
            if attestation
            else None
        )
        if kept is None or kept.service != service or kept.effective != retried:
            raise AttestationInvalid(
                "the operation to retry was never accepted under an attestation",
                where=str(service),
                hint="request the change itself again",
            )

    async def _insist_on_base(self, call: AcceptCall) -> None:
        """Refuse to build on inputs that no accepted request came to."""
        service, where = call.call.service, str(call.call.service)
        base = call.call.current
        if base is not None and not await self._checks.has_basis(service, base, call.call.current_inputs):
            raise AttestationInvalid(
                "no accepted request led to the present revision and inputs of the service", where=where
            )
        stands = call.standing
        if stands is not None and not await self._checks.has_basis(service, stands.revision, stands.inputs):
            raise AttestationInvalid(
                "no accepted request led to the revision and inputs to roll back to", where=where
            )

    async def _add_labels(self, service: ServiceId, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        vouched = self._store.vouched
        if before and not await vouched.knows(service, "labels", json_digest(dict(before))):
            raise AttestationInvalid("no accepted change gave the service its present labels")
        await vouched.add(service, "labels", json_digest(dict(after)))

    # Permits -------------------------------------------------------------------------------------------------

    @activity.defn(name=names.PERMIT_OPERATION)
    @speaks_failures
    async def operation(self, call: OperationPermitCall) -> Permit:
        """Permit an operation to look at its steps, to plan them and to reveal their secrets.

        Raises:
            PermitInvalid: nobody's accepted request leads to this operation.
        """
        operation = call.operation
        record = operation.record
        service, where = record.service, record.id
        await self._insist_open(service, record.number)
        bases = [operation.resolved, *([operation.before] if operation.before else [])]
        for each in bases:
            if not await self._checks.has_basis(service, each.revision, each.inputs):
                raise PermitInvalid("no accepted request led to this revision and these inputs", where=where)
        labels = json_digest(operation.labels)
        if operation.labels and not await self._store.vouched.knows(service, "labels", labels):
            raise PermitInvalid("no accepted change gave the service these labels", where=where)
        known = [await self._again(service, each) for each in bases]
        operation = operation.changed(resolved=known[0], before=known[1] if len(known) > 1 else None)
        request = await self._request_of(operation)
        return self._sign(
            Permit(
                kind="operation",
                team=service.team,
                service=service.name,
                operation=record.number,
                request=request,
                by=record.requested_by,
                operation_kind=str(record.kind),
                bases=tuple(basis_digest(each.revision.digest, each.inputs) for each in known),
                labels=labels,
                changes=_changes(operation),
                destroys=_destroys(operation),
                asks=asks(operation),
                issued_at=datetime.now(UTC),
            )
        )

    @activity.defn(name=names.PERMIT_APPLY)
    @speaks_failures
    async def apply(self, call: ApplyPermitCall) -> Permit:
        """Permit one plan to be applied once: policies allow it, and those who must have approved it.

        Raises:
            PermitInvalid: something of that is not so; the message says what.
        """
        step = call.call
        permit = await self._checks.permit(step.permit, step.service, step.operation)
        where = f"{step.service}/op/{step.operation} step {step.step}"
        await self._insist_open(step.service, step.operation)
        plan = await self._insist_made(step, permit, where)
        decision = await self._store.vouched.decision(decision_key(step, plan))
        if decision is None or decision.outcome == "deny":
            reason = "deny this plan" if decision else "were not evaluated for this plan"
            raise PermitInvalid(f"the policies {reason}", where=where)
        needed = needs(OperationKind(permit.operation_kind), plan, decision, permit.asks)
        needed += await self._beyond_pins(step, permit, plan)
        if needed:
            await self._insist_approved(call, permit, plan, needed, where)
        return self._sign(
            permit.changed(
                kind="apply", step=step.step, plan=plan.digest, position=plan.position, issued_at=datetime.now(UTC)
            )
        )

    async def _insist_open(self, service: ServiceId, number: int) -> None:
        if await self._store.ledger.operation(service, number) is not None:
            raise PermitInvalid("the operation has ended", where=f"{service}/op/{number}")

    async def _again(self, service: ServiceId, claimed: Resolved) -> Resolved:
        """What a revision and inputs lead to, by the store and not by who claims it."""
        promise = await self._store.revisions.promise(claimed.revision)
        return resolve_again(promise, claimed.revision, service, claimed.inputs)

    async def _request_of(self, operation: OperationInput) -> str:
        """Id of the accepted request that the operation runs, bound to its number; empty for its own reconcile."""
        record, attestation = operation.record, operation.attestation
        if attestation is None:
            await self._insist_own(operation)
            return ""
        key = acceptance_id(attestation, record.request_id)
        accepted = await self._store.vouched.accepted(key)
        if accepted is None or accepted.service != record.service:
            raise PermitInvalid("no request of this operation was accepted", where=record.id)
        if accepted.request.requested_by != record.requested_by or _flags(operation) != _flags_of_request(
            accepted
        ):
            raise PermitInvalid("the operation is not the one that was requested", where=record.id)
        if not await self._store.vouched.bind(key, record.service, record.number):
            raise PermitInvalid("the request or the number belongs to another operation", where=record.id)
        return key

    async def _insist_own(self, operation: OperationInput) -> None:
        """Refuse an operation that nobody asked for, unless it is one that services begin by themselves.

        That is a drift check that the promise schedules, and an update because a part has changed: both of what
        the service stands on, and of nothing else.
        """
        record, stands = operation.record, operation.resolved
        day_two = stands.day_two
        looks = record.kind is OperationKind.RECONCILE and day_two.reconcile_seconds > 0
        is_scheduled = looks and operation.repair == day_two.reconcile_repair and not operation.with_parts
        follows = record.kind is OperationKind.UPDATE and bool(record.cause)
        same = await self._checks.stands_on(record.service, stands.revision, stands.inputs)
        if record.requested_by != OWN or not (is_scheduled or follows) or not same:
            raise PermitInvalid("the operation carries no attestation of who asked for it", where=record.id)

    async def _insist_made(self, step: ApplyCall, permit: Permit, where: str) -> PlanRef:
        """The plan as an executor made it for this very step, if it may be applied at all."""
        made = await self._store.vouched.plan(step.plan)
        expected = f"{object_keys.plans_of_step(step.service, step.operation, step.step)}/"
        if made is None or made.ref.digest != step.plan.digest or not made.ref.key.startswith(expected):
            raise PermitInvalid("no executor has made this plan for this operation", where=where)
        basis = basis_digest(step.revision.digest, step.inputs)
        if made.basis != basis or basis not in permit.bases or made.labels != permit.labels:
            raise PermitInvalid("the plan was made from other inputs", where=where)
        if not permit.changes:
            raise PermitInvalid("the operation changes nothing: it is a dry run or a drift check", where=where)
        if made.ref.destroy and not {EVERY_STEP, step.step} & set(permit.destroys):
            raise PermitInvalid("the operation does not take this step down", where=where)
        return made.ref

    async def _beyond_pins(self, step: ApplyCall, permit: Permit, plan: PlanRef) -> tuple[Need, ...]:
        """Whom a plan asks that goes beyond the preview that its request is pinned to."""
        accepted = await self._store.vouched.accepted(permit.request) if permit.request else None
        pins = accepted.effective.pins if accepted else None
        main = basis_digest(step.revision.digest, step.inputs) == permit.bases[0] or plan.destroy
        promise = await self._store.revisions.promise(step.revision)
        hooks = resolve_again(promise, step.revision, step.service, step.inputs).day_two.hooks
        if pins is None or plan.empty or not main or step.step in {hook.id for hook in hooks}:
            return ()
        pinned = pins.plans.get(step.step)
        if pinned is not None and pinned.destroy == plan.destroy and await self._covered(pinned, plan):
            return ()
        return (Need(reason=f"beyond the pinned preview {pins.preview[:12]}"),)

    async def _insist_approved(
        self, call: ApplyPermitCall, permit: Permit, plan: PlanRef, needed: Sequence[Need], where: str
    ) -> None:
        """Refuse a plan that those who must have not approved, each with an attestation of their own."""
        approval = call.approval
        if approval is None or approval.step != call.call.step:
            raise PermitInvalid("the plan waits for an approval", where=where)
        if approval.digest != plan.digest:
            covers = call.covers
            if covers is None or covers.digest != approval.digest or not await self._covered(covers, plan):
                raise PermitInvalid("the approval is for another plan", where=where)
        operation_id = f"{call.call.service}/op/{call.call.operation}"
        for vote in approval.votes:
            await self._checks.vote(vote, approval, operation_id)
        people = [vote.by for vote in approval.votes]
        if len(set(people)) < len(people) or not all(vote.approve for vote in approval.votes):
            raise PermitInvalid("the votes do not approve the plan", where=where)
        missing = [each for each in needed if votes_for(each, approval.votes, permit.by) < each.count]
        if missing:
            who = " or ".join(missing[0].roles) or f"anybody but {permit.by}"
            raise PermitInvalid(f"the plan waits for {missing[0].count} of {who}", where=where)

    async def _covered(self, approved: PlanRef, plan: PlanRef) -> bool:
        made = await self._store.vouched.plan(approved)
        if made is None and not await self._same_changes(approved):
            return False
        before = await self._store.plans.changes(approved)
        return not uncovered(before, await self._store.plans.changes(plan))

    async def _same_changes(self, approved: PlanRef) -> bool:
        """Plans of a preview were made before the operation: it is enough that they are in the store."""
        return await self._store.objects.exists(f"{approved.key}/changes")

    def _sign(self, permit: Permit) -> Permit:
        if self._signer is None:
            raise SettingsInvalid(
                "this control worker has no keys to sign permits with",
                hint="set BOND_PERMIT_KEYS, see `bond setup`",
            )
        return self._signer.sign(permit)


def _flags(operation: OperationInput) -> dict[str, Any]:
    return {
        "kind": operation.record.kind,
        "dry_run": operation.record.dry_run,
        "campaign": operation.record.campaign,
        "repair": operation.repair,
        "recheck": operation.recheck,
        "with_parts": operation.with_parts,
        "ask": operation.ask,
        "adopt": operation.adopt,
        "on_failure": operation.on_failure,
        "pins": operation.pins,
    }


def _flags_of_request(accepted: AcceptedRequest) -> dict[str, Any]:
    run = accepted.effective
    return {
        "kind": run.kind,
        "dry_run": accepted.request.dry_run,
        "campaign": accepted.request.campaign,
        "repair": run.repair,
        "recheck": run.recheck,
        "with_parts": run.with_parts,
        "ask": run.ask,
        "adopt": run.adopt,
        "on_failure": run.on_failure,
        "pins": run.pins,
    }


def _changes(operation: OperationInput) -> bool:
    look = operation.record.kind is OperationKind.RECONCILE and not operation.repair
    return not operation.record.dry_run and not look


def _destroys(operation: OperationInput) -> tuple[str, ...]:
    """Steps that may be taken down: all by a decommission, else those that one of the two sides does not have."""
    failed_provision = operation.record.kind is OperationKind.PROVISION and operation.on_failure == "destroy"
    if operation.record.kind is OperationKind.DECOMMISSION or failed_provision:
        return (EVERY_STEP,)
    before = operation.before
    if before is None:
        return ()
    old = {spec.id for spec in before.steps if not spec.skip}
    new = {spec.id for spec in operation.resolved.steps if not spec.skip}
    return tuple(sorted(old ^ new))
