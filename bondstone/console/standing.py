"""The first sentence of a page: why the thing stands where it stands."""

from __future__ import annotations

from bondstone.client.documents.campaign import CampaignDocument
from bondstone.client.documents.service import OperationDocument, ServiceDocument
from bondstone.model.service import OperationStatus, Phase, StepStatus


def of_operation(operation: OperationDocument) -> str:
    """Why an operation is where it is, in one sentence."""
    for approval in operation.approvals:
        if approval.status == "waiting":
            missing = ", ".join(approval.missing) or "an approval"
            return f"Waits for approval of step {approval.step} by {missing}, since {approval.asked_at:%H:%M} UTC."
    if operation.retrying:
        retry = operation.retrying[0]
        return f"Retries {retry.activity}, attempt {retry.attempt}, because {retry.error.message}"
    if operation.status is OperationStatus.QUEUED:
        return "Waits for the operation before it."
    if operation.status is OperationStatus.RUNNING:
        busy = [f"{step.id} ({step.status})" for step in operation.steps if step.status in _BUSY]
        return f"Runs: {', '.join(busy)}." if busy else "Runs."
    if operation.error is not None:
        return f"{operation.status.capitalize()}: {operation.error.message}"
    return f"{operation.status.capitalize()}."


def of_service(service: ServiceDocument) -> str:
    """Why a service is in its phase, in one sentence."""
    active = next((each for each in service.operations if not each.status.ended), None)
    if active is not None:
        return f"Operation {active.id.rpartition('/')[2]} ({active.kind}): {of_operation(active)}"
    last = service.operations[0] if service.operations else None
    if service.phase in {Phase.FAILED, Phase.DEGRADED} and last is not None and last.error is not None:
        return f"The last operation ({last.kind}) failed: {last.error.message}"
    if service.drift:
        return f"Ready; {service.drift} objects differ from what was applied."
    if service.paused_by:
        return f"Paused by {service.paused_by}: it starts nothing on its own. {service.pause_reason}".rstrip()
    return f"{service.phase.capitalize()}, and nothing is under way."


def of_campaign(campaign: CampaignDocument) -> str:
    """Why a campaign is where it is, in one sentence."""
    status = str(campaign.status).replace("-", " ").capitalize()
    if campaign.awaits:
        return f"{status}: {'; '.join(campaign.awaits)}."
    done = sum(campaign.counts.get(name, 0) for name in ("succeeded", "failed", "skipped"))
    return f"{status}: {done} of {campaign.targets} targets done, {campaign.running} running."


_BUSY = frozenset({StepStatus.PLANNING, StepStatus.CHECKING, StepStatus.APPLYING})
