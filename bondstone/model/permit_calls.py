"""What goes to and comes from the activities that accept attested changes and issue permits."""

from __future__ import annotations

from bondstone.base.models import Wire
from bondstone.model.plan import PlanRef
from bondstone.model.service import (
    Approval,
    LabelsCall,
    OperationInput,
    Request,
    ResolveCall,
    Resolved,
    ServiceId,
)
from bondstone.model.step import ApplyCall


class AcceptCall(Wire):
    """Input of `request.accept`; it returns a `Resolution`."""

    call: ResolveCall
    standing: Resolved | None = None
    """What the operation runs when nothing is resolved: by a reconcile, a rollback, a retry, a decommission."""
    labels: dict[str, str] = {}
    """Of the service before the request."""
    retried: Request | None = None
    """Of a retry: the request that is run again."""


class LabelsAcceptCall(Wire):
    """Input of `labels.accept`; it returns the labels that the service has then."""

    service: ServiceId
    labels: dict[str, str] = {}
    """Of the service before."""
    change: LabelsCall


class OperationPermitCall(Wire):
    """Input of `permit.operation`; it returns a `Permit`."""

    operation: OperationInput


class ApplyPermitCall(Wire):
    """Input of `permit.apply`; it returns a `Permit`."""

    call: ApplyCall
    approval: Approval | None = None
    """The gate that the plan has passed."""
    covers: PlanRef | None = None
    """The plan that was approved, when this one was made in its place and does nothing beyond it."""


class AcceptedRequest(Wire):
    """A request whose attestation was checked when it was accepted, as it is kept."""

    service: ServiceId
    request: Request
    retried: Request | None = None

    @property
    def effective(self) -> Request:
        """What is run: of a retry, what is run again."""
        return self.retried or self.request
