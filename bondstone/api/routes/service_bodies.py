"""What requests about services carry, and the answer to one that became an operation."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.responses import Response

from bondstone.api.parameters import Inputs, Labels, OperationBody, Reason, TargetVersion
from bondstone.api.session import CallSession
from bondstone.base.models import Manifest
from bondstone.base.names import NAME_PATTERN, SERVICE_PATTERN
from bondstone.client.documents.service import OperationDocument
from bondstone.client.operations import Operation
from bondstone.model.service import KeptManifest

MAX_STATE_CHARS: Final = 900_000


class RequestBody(OperationBody):
    """A service that is requested."""

    promise: str = Field(pattern=NAME_PATTERN)
    service: str = Field(pattern=SERVICE_PATTERN)
    """TEAM/NAME, which must be free"""
    inputs: Inputs = {}
    """As the promise's schema says; secrets in plain, they are stored before anything else happens"""
    version: TargetVersion = ""
    labels: Labels = {}
    on_failure: Literal["keep", "destroy"] = "keep"


class AdoptBody(Manifest):
    """A service that begins with Terraform states that exist."""

    promise: str = Field(pattern=NAME_PATTERN)
    service: str = Field(pattern=SERVICE_PATTERN)
    states: dict[str, Annotated[str, Field(max_length=MAX_STATE_CHARS)]] = Field(min_length=1, max_length=50)
    """Step to its state file in base64; under the empty name that of the only Terraform step"""
    inputs: Inputs = {}
    version: TargetVersion = ""
    labels: Labels = {}
    reason: Reason = ""


class UpdateBody(OperationBody):
    """Inputs that change."""

    inputs: Inputs
    """Objects are merged, null goes back to the default"""


class PatchBody(OperationBody):
    """A newer patch."""

    to: TargetVersion = ""


class UpgradeBody(OperationBody):
    """Another minor or major version."""

    to: TargetVersion = ""
    inputs: Inputs = {}
    """Instead of what the promise's transformation gives"""


class ReconcileBody(OperationBody):
    """Check a service for drift."""

    repair: bool = False
    """Undo what has drifted"""
    parts: bool = False
    """Reconcile the parts that the service owns too, each before what uses it"""


class LabelsBody(Manifest):
    """Labels that change."""

    set: Labels = {}
    remove: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)] = ()
    applied: KeptManifest | None = None
    """The manifest that asks, which the service keeps"""


class AcceptedDocument(OperationDocument):
    """An operation that was accepted."""

    warnings: tuple[str, ...] = ()
    """What the platform remarked when it accepted the request"""


async def accepted(asking: CallSession, operation: Operation, response: Response, wait: int) -> AcceptedDocument:
    """The operation, as it is after waiting for its end at most some seconds."""
    if wait:
        await asking.within(wait, operation.wait(through_approvals=False))
    document = await operation.get()
    response.headers["Location"] = f"/api/v1/operations/{operation.id}"
    return AcceptedDocument(**dict(document), warnings=operation.warnings)
