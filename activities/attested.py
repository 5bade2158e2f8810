"""What workers check before they believe a workflow: attestations, permits, and what was vouched for.

Whoever reaches Temporal can schedule any activity with any argument. So with `BOND_ATTESTATION=required` an
activity that reveals, changes or records anything believes only what is signed, or what a worker has put into the
store. With `local` nothing is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio import activity

from bondstone.base.errors import AttestationInvalid, PermitInvalid
from bondstone.base.settings import Settings
from bondstone.model.attestation import (
    Attestable,
    Attestation,
    Permit,
    basis_digest,
    check_attestation,
    check_signature,
    check_times,
    check_vote_roles,
    json_digest,
    use_of,
)
from bondstone.model.campaign.run import FreezeCall
from bondstone.model.plan import PlanRef
from bondstone.model.service import (
    Approval,
    OperationKind,
    OperationStatus,
    RevisionRef,
    ServiceId,
    StepOutputs,
    Vote,
    VoteCall,
)
from bondstone.model.step import AdoptCall, ApplyCall, OutputsCall, PolicyCall, PutAwayCall, StepCall
from bondstone.store import Store
from bondstone.store.vouched import VouchedPlan


class Checks:
    """The checks of one worker.

    Args:
        store: Where public keys are, and what was vouched for.
        demanded: Whether attestations and permits are demanded; else every check passes.
    """

    def __init__(self, store: Store, *, demanded: bool = False) -> None:
        self._store = store
        self.demanded = demanded

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Checks:
        """As the settings say."""
        return cls(store, demanded=settings.attestation == "required")

    # Attestations ------------------------------------------------------------------------------------------

    async def attestation(self, call: Attestable, *, verb: str, target: str, by: str) -> Attestation:
        """The attestation of a change, when it proves that; its times were checked when it was accepted.

        Raises:
            AttestationInvalid: it does not.
        """
        attestation = call.attestation
        keys = (
            await self._store.platform_keys.knowing(use_of(attestation), attestation.key_id) if attestation else {}
        )
        return check_attestation(call, keys, verb=verb, target=target, by=by, now=None)

    async def vote(self, vote: Vote, approval: Approval, operation_id: str) -> None:
        """Refuse a vote that nobody gave.

        Raises:
            AttestationInvalid: it does not prove that this person said this of this plan, in these roles.
        """
        call = VoteCall(
            step=approval.step,
            digest=approval.digest,
            by=vote.by,
            roles=vote.roles,
            comment=vote.comment,
            attestation=vote.attestation,
        )
        verb = "approval.approve" if vote.approve else "approval.reject"
        attestation = await self.attestation(call, verb=verb, target=operation_id, by=vote.by)
        check_vote_roles(attestation, vote.roles)

    # Permits -----------------------------------------------------------------------------------------------

    async def permit(self, permit: Permit | None, service: ServiceId, operation: int) -> Permit:
        """The permit of an operation.

        Raises:
            PermitInvalid: it is missing, forged, or of another operation.
        """
        if permit is None:
            raise PermitInvalid(
                "the operation has no permit of the control workers",
                where=f"{service}/op/{operation}",
                hint="with BOND_ATTESTATION=required services act on attested requests only: ask through the API",
            )
        check_signature(permit, await self._store.platform_keys.knowing("permit", permit.key_id))
        if (permit.team, permit.service, permit.operation) != (service.team, service.name, operation):
            raise PermitInvalid(
                f"the permit is for {permit.team}/{permit.service}/op/{permit.operation}",
                where=f"{service}/op/{operation}",
            )
        return permit

    async def step(self, call: StepCall) -> Permit | None:
        """Refuse to look at a step, to plan it or to reveal its secrets without the operation's permit.

        Raises:
            PermitInvalid: the call is not what the permit is for.
        """
        if not self.demanded:
            return None
        permit = await self.permit(call.permit, call.service, call.operation)
        await self.rendered_from(
            permit, call.service, call.revision, call.inputs, labels=call.labels, outputs=call.outputs
        )
        if (str(call.kind), call.requested_by) != (permit.operation_kind, permit.by):
            raise PermitInvalid(f"the permit is for a {permit.operation_kind} that {permit.by} asked for")
        return permit

    async def outputs(self, call: OutputsCall) -> None:
        """Refuse to evaluate outputs or probes of anything but what the operation was permitted to use.

        Raises:
            PermitInvalid: the call is not what the permit is for.
        """
        if self.demanded:
            permit = await self.permit(call.permit, call.service, call.operation)
            await self.rendered_from(
                permit, call.service, call.revision, call.inputs, labels=call.labels, outputs=call.outputs
            )

    async def standing(self, call: OutputsCall) -> None:
        """Refuse to probe anything but what accepted requests made the service.

        Raises:
            PermitInvalid: revision, inputs or outputs are not the service's.
        """
        if not self.demanded:
            return
        known = await self.has_basis(call.service, call.revision, call.inputs)
        for step, outputs in call.outputs.items():
            known = known and await self.has_outputs(call.service, step, outputs)
        if not known:
            raise PermitInvalid(
                "no accepted request led to the present revision and inputs of the service",
                where=str(call.service),
            )

    async def campaign(self, call: FreezeCall) -> None:
        """Refuse a campaign that nobody has started, or that says something else than what was attested.

        Raises:
            AttestationInvalid: saying what does not fit.
        """
        start, schedule = call.start, call.start.schedule
        if schedule and not call.name.startswith(f"{schedule}-"):
            raise AttestationInvalid(f"schedule {schedule} starts no campaign of this name", where=call.name)
        attestation = await self.attestation(
            start,
            verb="schedule.create" if schedule else "campaign.run",
            target=f"schedule/{schedule}" if schedule else f"campaign/{call.name}",
            by=start.requested_by,
        )
        if not schedule:
            check_times(attestation, call.at)

    async def adoption(self, call: AdoptCall) -> None:
        """Refuse to give a service states that nobody asked it to adopt.

        Raises:
            PermitInvalid: the states are not those of the accepted request.
        """
        if not self.demanded:
            return
        permit = await self.permit(call.permit, call.service, call.operation)
        accepted = await self._store.vouched.accepted(permit.request)
        if accepted is None or accepted.effective.adopt != call.states:
            raise PermitInvalid("nobody asked the service to adopt these states", where=str(call.service))

    async def putting_away(self, call: PutAwayCall) -> None:
        """Refuse to put states and secrets away that no decommission has done with, and nobody abandons.

        Raises:
            PermitInvalid, AttestationInvalid: neither is so.
        """
        if not self.demanded:
            return
        service = str(call.service)
        if call.abandon is not None:
            abandonment = call.abandon
            await self.attestation(
                abandonment, verb="service.abandon", target=service, by=abandonment.requested_by
            )
            return
        permit = await self.permit(call.permit, call.service, call.operation)
        if permit.operation_kind != "decommission" or not permit.changes:
            raise PermitInvalid("the operation does not take the service down", where=service)

    async def rendered_from(
        self,
        permit: Permit,
        service: ServiceId,
        revision: RevisionRef,
        inputs: Mapping[str, Any],
        *,
        labels: Mapping[str, str],
        outputs: Mapping[str, StepOutputs],
    ) -> None:
        """Refuse inputs, labels and outputs of steps that are not what the operation was permitted to use.

        Raises:
            PermitInvalid: naming what is not.
        """
        where = f"{service}/op/{permit.operation}"
        if basis_digest(revision.digest, inputs) not in permit.bases:
            raise PermitInvalid("revision or inputs are not those of the permit", where=where)
        if json_digest(dict(labels)) != permit.labels:
            raise PermitInvalid("the labels are not those of the permit", where=where)
        for step, values in outputs.items():
            if not await self.has_outputs(service, step, values):
                raise PermitInvalid(f"step {step} never had these outputs", where=where)

    async def policy(self, call: PolicyCall) -> PolicyCall:
        """The call with the plan as an executor made it; refused when it is not what the permit is for.

        Raises:
            PermitInvalid: plan or earlier inputs are not the operation's.
        """
        permit = await self.step(call)
        if permit is None:
            return call
        before = basis_digest(call.before.digest, call.before_inputs) if call.before else ""
        made = await self._store.vouched.plan(call.plan)
        if made is None or (before and before not in permit.bases):
            raise PermitInvalid("no executor has made this plan for this operation", where=str(call.service))
        return call.changed(plan=made.ref)

    async def apply(self, call: ApplyCall) -> None:
        """Refuse to apply anything but the permitted plan, and that more than once.

        The activity that uses a permit first may go on with it after a crash; no other may.

        Raises:
            PermitInvalid: there is no permit for this plan, or it was used.
        """
        if not self.demanded:
            return
        await self.step(call)
        permit = await self.permit(call.apply_permit, call.service, call.operation)
        if (permit.kind, permit.step, permit.plan, permit.position) != (
            "apply",
            call.step,
            call.plan.digest,
            call.plan.position,
        ):
            raise PermitInvalid("the permit is not for this plan", where=f"{call.service} step {call.step}")
        user = f"{activity.info().workflow_run_id}/{activity.info().activity_id}"
        if not await self._store.vouched.use(call.service, call.operation, call.step, call.plan, user):
            raise PermitInvalid("the permit was used already", where=f"{call.service} step {call.step}")

    # What was vouched for ------------------------------------------------------------------------------------

    async def keep_plan(self, call: StepCall, plan: PlanRef) -> PlanRef:
        """Vouch for a plan that this worker has made, where that is demanded."""
        if self.demanded and plan.key:
            labels = json_digest(call.labels)
            basis = basis_digest(call.revision.digest, call.inputs)
            await self._store.vouched.add_plan(VouchedPlan(ref=plan, basis=basis, labels=labels))
        return plan

    async def keep_outputs(self, call: StepCall, outputs: StepOutputs) -> None:
        """Vouch for outputs that this worker has seen, where that is demanded."""
        if self.demanded:
            await self._store.vouched.add_outputs(call.service, call.step, json_digest(outputs.values))

    async def has_outputs(self, service: ServiceId, step: str, outputs: StepOutputs) -> bool:
        """Whether a step had these outputs, by what is vouched for or by the ledger."""
        if await self._store.vouched.knows_outputs(service, step, json_digest(outputs.values)):
            return True
        return any(
            record.id == step and record.outputs == outputs
            for entry in await self._store.ledger.history(service)
            for record in entry.steps
        )

    async def stands_on(self, service: ServiceId, revision: RevisionRef, inputs: Mapping[str, Any]) -> bool:
        """Whether the last operation that changed a service left it on this, or may have."""
        operations = [entry for entry in await self._store.ledger.history(service) if entry.kind == "operation"]
        look = OperationKind.RECONCILE
        changes = [each for each in operations if not each.dry_run and each.operation_kind is not look]
        if not changes:
            return False
        last = changes[-1]
        left = [(last.revision_after, last.inputs_after)]
        if last.status is not OperationStatus.SUCCEEDED:
            left.append((last.revision_before, last.inputs_before))
        return (revision, dict(inputs)) in left

    async def has_basis(self, service: ServiceId, revision: RevisionRef, inputs: Mapping[str, Any]) -> bool:
        """Whether an accepted request came to this, by what is vouched for or by the ledger.

        Services from before attestations were demanded are known by the ledger: since then nothing gets into it
        that is not attested.
        """
        if await self._store.vouched.knows(service, "basis", basis_digest(revision.digest, inputs)):
            return True
        return any(
            (entry.revision_after == revision and entry.inputs_after == inputs)
            for entry in await self._store.ledger.history(service)
        )
