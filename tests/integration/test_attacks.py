"""What somebody who reaches Temporal and nothing else could do: each tried, each refused in `required`.

The attacker has the address of Temporal, reads every history, starts workflows of any type on any queue, and runs
workers of its own. It has no key, no token, and no object store.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attacker import (
    QUEUE,
    Attacker,
    Stranger,
    at_the_gate,
    captured,
    first_request,
    idle,
    made_by_operation,
    requested,
    state_of,
)
from platforms import PROMISES, LocalPlatform, publish
from temporalio.client import WorkflowFailureError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bondstone.base import names
from bondstone.base.errors import AttestationInvalid, PermitInvalid
from bondstone.identity.attestor import Attestor
from bondstone.model.attestation import Attestation
from bondstone.model.campaign.run import CampaignInput
from bondstone.model.ledger import LedgerRecord
from bondstone.model.permit_calls import ApplyPermitCall, OperationPermitCall
from bondstone.model.plan import PlanRef
from bondstone.model.secret import refs_in
from bondstone.model.service import (
    Approval,
    CancelCall,
    LabelsCall,
    OperationInput,
    OperationKind,
    PauseCall,
    Request,
    ServiceId,
    ServiceState,
    Vote,
    VoteCall,
)
from bondstone.model.step import ApplyCall, PutAwayCall
from bondstone.store.crypto import KeyRing
from bondstone.store.signing import Signer
from bondstone.temporal.attesting import attested
from bondstone.temporal.connection import connect
from harness.waiting import until

pytestmark = pytest.mark.integration


STEP = "things"


@pytest.fixture(scope="module")
def local(platform: LocalPlatform) -> LocalPlatform:
    """The platform that tests share, which requires attestations."""

    async def prepare() -> None:
        async with platform.client() as bond:
            await publish(bond, PROMISES / "held")

    asyncio.run(prepare())
    return platform


@pytest.fixture
async def attacker(local: LocalPlatform):
    client = await connect(local.settings)
    worker = Worker(client, task_queue=QUEUE, workflows=[Stranger], workflow_runner=UnsandboxedWorkflowRunner())
    async with worker:
        yield Attacker(client)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the promise writes."""
    return tmp_path


@pytest.fixture
def service() -> ServiceId:
    return ServiceId(team="payments", name=f"svc-{uuid.uuid4().hex[:8]}")


async def test_a_secret_is_not_read_through_a_scheduled_plan(local, attacker, service, folder):
    operation = await requested(local, service, folder, token="s3cr3t-canary")
    assert (await made_by_operation(local, operation)).status == "succeeded"
    state = await state_of(attacker, service)
    assert state.resolved is not None
    [reference] = refs_in(state.resolved.inputs)
    permit, call = await captured(attacker, operation)
    # with a value that the promise prints, and without any permit
    mine = {**call, "inputs": {**state.resolved.inputs, "value": reference.as_json()}}
    queue = names.pool_queue("default")
    verbs = ("terraform.plan", "terraform.plan_destroy", "terraform.detect_drift")
    for verb in verbs:
        assert await attacker.refused(verb, queue, {**mine, "permit": None}) == PermitInvalid.code
        # with the permit of the operation, which was for other inputs, labels, outputs, numbers and services
        assert await attacker.refused(verb, queue, mine) == PermitInvalid.code
        assert await attacker.refused(verb, queue, {**call, "labels": {"x": "y"}}) == PermitInvalid.code
        assert await attacker.refused(verb, queue, {**call, "operation": 99}) == PermitInvalid.code
        outputs = {STEP: {"values": {"value": reference.as_json()}}}
        assert await attacker.refused(verb, queue, {**call, "outputs": outputs}) == PermitInvalid.code
    # with a permit signed by itself, and with a real one that was changed
    signed = Signer(KeyRing.generate()).sign(permit)
    for forged in (signed, signed.changed(key_id=permit.key_id), permit.changed(labels="0" * 64)):
        argument = {**mine, "permit": forged.model_dump(mode="json")}
        assert await attacker.refused("terraform.plan", queue, argument) == PermitInvalid.code
    # nor by a permit of its own making
    fake = OperationInput(
        record=state.operations[0].changed(number=7),
        resolved=state.resolved.changed(inputs={**state.resolved.inputs, "value": reference.as_json()}),
    )
    call_for_permit = OperationPermitCall(operation=fake)
    assert await attacker.refused("permit.operation", names.CONTROL_QUEUE, call_for_permit) == PermitInvalid.code
    # nor through outputs, probes or policies
    for name in ("promise.outputs", "health.probe"):
        argument = {**mine, "permit": None, "service_outputs": {}}
        assert await attacker.refused(name, names.CONTROL_QUEUE, argument) == PermitInvalid.code
    plan = state.operations[0].steps[0].plan
    assert plan is not None
    argument = {**mine, "permit": None, "plan": plan.model_dump(mode="json")}
    assert await attacker.refused("policy.check", names.CONTROL_QUEUE, argument) == PermitInvalid.code


async def test_nothing_is_applied_past_the_gate(local, attacker, service, folder):
    operation = await requested(local, service, folder, gated=True)
    record = await at_the_gate(attacker, operation)
    _, call = await captured(attacker, operation)
    plan = record.steps[0].plan
    gate = record.approvals[0]
    assert plan is not None
    apply = ApplyCall.model_validate({**call, "plan": plan})
    queue = names.pool_queue("default")
    # without a permit for the plan, with the operation's, with a forged one
    assert await attacker.refused("terraform.apply", queue, apply) == PermitInvalid.code
    assert apply.permit is not None
    for permit in (
        apply.permit,
        apply.permit.changed(kind="apply", step=STEP, plan=plan.digest, position=plan.position),
        Signer(KeyRing.generate()).sign(
            apply.permit.changed(kind="apply", step=STEP, plan=plan.digest, position=plan.position)
        ),
    ):
        assert await attacker.refused("terraform.apply", queue, apply.changed(apply_permit=permit)) == (
            PermitInvalid.code
        )
    # and no permit is given: without votes, with made-up ones, for another plan, or by saying that nobody is asked
    made_up = Vote(by="grace", roles=("dba",), approve=True, at=datetime.now(UTC))
    approved = gate.changed(votes=(made_up,), status="approved")
    for approval, code in (
        (None, PermitInvalid.code),
        (gate, PermitInvalid.code),
        (approved, AttestationInvalid.code),
        (gate.changed(needs=(), status="approved"), PermitInvalid.code),
    ):
        wanted = ApplyPermitCall(call=apply, approval=approval)
        assert await attacker.refused("permit.apply", names.CONTROL_QUEUE, wanted) == code
    # an empty plan asks nobody: calling this one empty does not help
    empty = apply.changed(plan=plan.changed(empty=True))
    assert await attacker.refused("permit.apply", names.CONTROL_QUEUE, ApplyPermitCall(call=empty)) == (
        PermitInvalid.code
    )
    # nor does a plan to destroy, which this operation is not for
    [ref] = [await attacker.run_activity("terraform.plan_destroy", queue, {**call})]
    destroy = apply.changed(plan=PlanRef.model_validate(ref))
    assert await attacker.refused("permit.apply", names.CONTROL_QUEUE, ApplyPermitCall(call=destroy)) == (
        PermitInvalid.code
    )
    assert not (folder / "made.txt").exists()
    async with local.client("grace") as grace:
        await grace.operation(operation.id).approve(gate.digest, roles=["dba"])
    assert (await made_by_operation(local, operation)).status == "succeeded"


async def test_a_permit_is_good_once(local, attacker, service, folder):
    operation = await requested(local, service, folder)
    assert (await made_by_operation(local, operation)).status == "succeeded"
    handle = attacker.client.get_workflow_handle(names.operation_workflow_id(*names.parse_operation(operation.id)))
    async for event in handle.fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == "terraform.apply":
            [call] = await attacker.client.data_converter.decode(scheduled.input.payloads, [dict])
    written = (folder / "made.txt").read_text()
    assert await attacker.refused("terraform.apply", names.pool_queue("default"), call) == PermitInvalid.code
    assert (folder / "made.txt").read_text() == written
    # and an operation that has ended gets no permits any more
    again = ApplyPermitCall(call=ApplyCall.model_validate(call))
    assert await attacker.refused("permit.apply", names.CONTROL_QUEUE, again) == PermitInvalid.code


async def test_a_vote_is_not_forged(local, attacker, service, folder):
    operation = await requested(local, service, folder, gated=True)
    gate = (await at_the_gate(attacker, operation)).approvals[0]
    target = names.operation_workflow_id(*names.parse_operation(operation.id))
    vote = VoteCall(step=STEP, digest=gate.digest, by="grace", roles=("dba",))
    assert await attacker.update_refused(target, "approve", vote) == AttestationInvalid.code
    # signed by a key of its own
    attestor = Attestor.local(Signer(KeyRing.generate()))
    forged = attested(attestor, target, vote, update="approve")
    assert await attacker.update_refused(target, "approve", forged) == AttestationInvalid.code
    # and one that is called like the key of the platform, whose id every history shows
    assert forged.attestation is not None
    real = KeyRing.load(local.settings.attestation_key_file).active
    named = vote.changed(attestation=forged.attestation.changed(key_id=real))
    assert await attacker.update_refused(target, "approve", named) == AttestationInvalid.code
    # a real vote for another operation
    other = ServiceId(team="payments", name=f"{service.name}-2")
    second = await requested(local, other, folder, gated=True, value="other")
    other_gate = (await at_the_gate(attacker, second)).approvals[0]
    async with local.client("grace") as grace:
        await grace.operation(second.id).approve(other_gate.digest, roles=["dba"])
    await made_by_operation(local, second)
    voted = (await state_of(attacker, other)).operations[-1].approvals[0].votes[0]
    assert voted.attestation is not None
    for replayed in (
        vote.changed(attestation=voted.attestation),
        vote.changed(digest=other_gate.digest, attestation=voted.attestation),
    ):
        assert await attacker.update_refused(target, "approve", replayed) == AttestationInvalid.code
    # a rejection turned round
    assert (
        await attacker.update_refused(
            names.operation_workflow_id(*names.parse_operation(operation.id)),
            "reject",
            vote.changed(comment="no", attestation=voted.attestation),
        )
        == AttestationInvalid.code
    )
    async with local.client("ada") as ada:
        await ada.operation(operation.id).cancel(reason="enough")


async def test_a_ledger_record_is_not_forged(local, attacker, service, folder):
    operation = await requested(local, service, folder)
    done = await made_by_operation(local, operation)
    assert done.status == "succeeded"
    state = await state_of(attacker, service)
    async with local.client() as bond:
        before = await bond.services.history(str(service))
    vote = Vote(by="grace", roles=("dba",), approve=True, at=datetime.now(UTC))
    approval = Approval(step=STEP, digest="a" * 64, needs=(), votes=(vote,), asked_at=datetime.now(UTC))
    forged = LedgerRecord(
        kind="approval",
        service=service,
        sequence="op-1-things-approval-9",
        at=datetime.now(UTC),
        by="grace",
        operation=1,
        approvals=(approval,),
        previous=state.ledger_digest,
    )
    records = [
        forged,
        forged.changed(kind="abandon", sequence="abandon-9", approvals=()),
        forged.changed(kind="pause", sequence="pause-9", approvals=()),
        forged.changed(kind="state", sequence="state-9", approvals=()),
        forged.changed(kind="operation", sequence="op-9", operation=9, approvals=()),
    ]
    for record in records:
        assert await attacker.refused("ledger.record", names.CONTROL_QUEUE, record) == AttestationInvalid.code
    # by signal to the service itself, which must live on
    workflow_id = names.service_workflow_id(service.team, service.name)
    for record in records:
        await attacker.client.get_workflow_handle(workflow_id).signal(names.SIGNAL_RECORD, record)
    async with local.client() as bond:
        await bond.services.pause(str(service), reason="a real one")
        after = await bond.services.history(str(service))
    assert [each.kind for each in after] == [*(each.kind for each in before), "pause"]
    ran = local.bond("ledger", "verify", str(service), "-o", "json")
    assert '"breaks": []' in ran.stdout


async def test_workflows_that_are_started_with_made_up_inputs_do_nothing(local, attacker, service, folder):
    operation = await requested(local, service, folder)
    await made_by_operation(local, operation)
    state = await state_of(attacker, service)
    real = state.operations[0]
    assert state.resolved is not None
    other = folder / "other.txt"
    fake = OperationInput(
        record=real.changed(number=50, status="queued", steps=()),
        resolved=state.resolved.changed(inputs={**state.resolved.inputs, "made": str(other)}),
        before=None,
    )
    permits = (
        fake,
        fake.changed(attested=True),
        fake.changed(attested=True, resolved=state.resolved),
    )
    for number, inputs in enumerate(permits):
        for kind in (names.PROVISION_WORKFLOW, names.DECOMMISSION_WORKFLOW, names.RECONCILE_WORKFLOW):
            with pytest.raises(WorkflowFailureError):
                await attacker.client.execute_workflow(
                    kind, inputs, id=f"fake-{kind}-{number}-{service.name}", task_queue=names.CONTROL_QUEUE
                )
    assert not other.exists()
    # a service with a history of its own making
    other_id = ServiceId(team="payments", name=f"{service.name}-x")
    invented = state.changed(service=other_id, resolved=fake.resolved, healthy=(fake.resolved,))
    workflow_id = names.service_workflow_id("payments", f"{service.name}-x")
    await attacker.client.start_workflow(
        names.SERVICE_WORKFLOW, invented, id=workflow_id, task_queue=names.CONTROL_QUEUE
    )
    request = Request(request_id="r-1", kind=OperationKind.RECONCILE, repair=True, requested_by="ada")
    assert await attacker.update_refused(workflow_id, "request_operation", request) == AttestationInvalid.code
    await attacker.client.get_workflow_handle(workflow_id).terminate()


async def test_a_campaign_is_not_started_with_a_made_up_input(local, attacker, service, folder):
    operation = await requested(local, service, folder)
    await made_by_operation(local, operation)
    manifest = {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Campaign",
        "metadata": {"name": "x", "owner": "ada", "reason": "why not"},
        "spec": {
            "operation": "decommission",
            "select": {"where": f"service.name == '{service.name}'"},
            "waves": [{"name": "all", "rest": True}],
        },
    }
    start = CampaignInput(document=manifest, requested_by="ada")
    name = f"camp-{uuid.uuid4().hex[:8]}"
    with pytest.raises(WorkflowFailureError) as failure:
        await attacker.client.execute_workflow(
            names.CAMPAIGN_WORKFLOW, start, id=names.campaign_workflow_id(name), task_queue=names.CONTROL_QUEUE
        )
    assert failure.value.cause.type == AttestationInvalid.code  # type: ignore[union-attr]
    # nor does a service take a campaign's word that came from nowhere
    call = {
        "campaign": name,
        "target": 0,
        "attempt": 0,
        "reply_to": names.campaign_workflow_id(name),
        "request": Request(
            request_id=names.campaign_request_id(name, 0, 0),
            kind=OperationKind.DECOMMISSION,
            requested_by="ada",
            campaign=name,
        ),
    }
    workflow_id = names.service_workflow_id(service.team, service.name)
    await attacker.client.get_workflow_handle(workflow_id).signal(names.SIGNAL_SUBMIT, call)
    await asyncio.sleep(1)
    state = await idle(attacker, service)
    assert state.phase == "ready"
    assert (folder / "made.txt").exists()


async def test_requests_without_or_with_a_foreign_attestation_leave_no_trace(local, attacker, service, folder):
    operation = await requested(local, service, folder)
    await made_by_operation(local, operation)
    workflow_id = names.service_workflow_id(service.team, service.name)
    handle = attacker.client.get_workflow_handle(workflow_id)
    before = (await state_of(attacker, service)).next_number
    request = Request(request_id="r-2", kind=OperationKind.DECOMMISSION, requested_by="ada")
    calls: list[tuple[str, Any]] = [
        ("request_operation", request),
        ("cancel_operation", CancelCall(number=1, requested_by="ada")),
        ("set_labels", LabelsCall(set={"a": "b"}, requested_by="ada")),
        ("pause", PauseCall(requested_by="ada")),
        ("abandon", {"requested_by": "ada", "reason": "bye"}),
    ]
    for name, call in calls:
        assert await attacker.update_refused(workflow_id, name, call) == AttestationInvalid.code
    # the attestation of the real request, under another one
    history = [event async for event in handle.fetch_history_events()]
    [real] = await first_request(attacker, handle, history, dict)
    stolen = Attestation.model_validate(real["attestation"])
    assert await attacker.update_refused(
        workflow_id, "request_operation", request.changed(attestation=stolen)
    ) == (AttestationInvalid.code)
    # nor with other arguments
    original = Request.model_validate(real)
    changed = original.changed(request_id="r-3", inputs={**original.inputs, "value": "mine"})
    assert await attacker.update_refused(workflow_id, "request_operation", changed) == AttestationInvalid.code
    # and states and secrets are not put away by a stranger
    argument = PutAwayCall(service=service, operation=1, sequence="op-1", secrets="erase")
    assert await attacker.refused("service.put_away", names.CONTROL_QUEUE, argument) == PermitInvalid.code
    state = await state_of(attacker, service)
    assert state.next_number == before
    assert state.phase == "ready"


async def test_an_attested_request_is_accepted_once(local, attacker, service, folder):
    """Sent again after the service's workflow was killed, it runs nothing a second time."""
    operation = await requested(local, service, folder)
    await made_by_operation(local, operation)
    workflow_id = names.service_workflow_id(service.team, service.name)
    handle = attacker.client.get_workflow_handle(workflow_id)
    history = [event async for event in handle.fetch_history_events()]
    [request] = await first_request(attacker, handle, history, Request)
    await handle.terminate()
    written = (folder / "made.txt").read_text()
    await attacker.client.start_workflow(
        names.SERVICE_WORKFLOW, ServiceState(service=service), id=workflow_id, task_queue=names.CONTROL_QUEUE
    )
    await attacker.client.get_workflow_handle(workflow_id).execute_update("request_operation", request)
    state = await idle(attacker, service)
    assert state.operations[-1].status == "failed"
    assert state.operations[-1].error is not None
    assert state.operations[-1].error.code == PermitInvalid.code
    assert (folder / "made.txt").read_text() == written


async def test_what_a_stranger_is_refused_is_on_record(local, attacker, service, folder):
    operation = await requested(local, service, folder)
    await made_by_operation(local, operation)
    workflow_id = names.service_workflow_id(service.team, service.name)
    for _ in range(3):
        code = await attacker.update_refused(
            workflow_id, "pause", PauseCall(requested_by="ada", reason="s3cr3t-words")
        )
        assert code == AttestationInvalid.code
    _, call = await captured(attacker, operation)
    for name, queue in (("promise.outputs", names.CONTROL_QUEUE), ("terraform.plan", names.pool_queue("default"))):
        argument = {**call, "permit": None, "service_outputs": {}}
        assert await attacker.refused(name, queue, argument) == PermitInvalid.code

    def rows() -> list[dict[str, Any]]:
        listed = json.loads(local.bond("access", "refusals", "--text", str(service), "-o", "json").stdout)
        return listed if len(listed) >= 3 else []

    recorded = await until(rows, "all three kinds are on record", in_thread=True)
    by_verb = {row["verb"]: row for row in recorded}
    assert set(by_verb) == {"update pause", "activity promise.outputs", "activity terraform.plan"}
    assert by_verb["update pause"]["count"] == 3
    assert by_verb["update pause"]["code"] == AttestationInvalid.code
    assert by_verb["activity terraform.plan"]["code"] == PermitInvalid.code
    assert {(row["by"], row["means"], row["message"]) for row in recorded} == {("", "temporal", "")}


def test_the_whole_ledger_verifies_in_the_end(local):
    ran = local.bond("ledger", "verify", "-o", "json")
    assert '"breaks": []' in ran.stdout
