"""The answer to a request that became an operation."""

from __future__ import annotations

from starlette.responses import Response

from bondstone.api.session import CallSession
from bondstone.client.documents.service import OperationDocument
from bondstone.client.operations import Operation


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
