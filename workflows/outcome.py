"""How an operation workflow ends: a result when it succeeded, a failure that carries the result when not."""

from __future__ import annotations

from temporalio.exceptions import ApplicationError, ChildWorkflowError

from bondstone.base.errors import ErrorInfo, OperationCancelled
from bondstone.model.service import OperationResult, OperationStatus
from bondstone.temporal.failures import bounded, info_of


def failure(result: OperationResult) -> ApplicationError:
    """What to raise so that the workflow is red where operators look, without losing what was done."""
    error = bounded(result.error or ErrorInfo(code="OPERATION_FAILED", message="the operation failed"))
    return ApplicationError(error.message, error, result, type=error.code, non_retryable=True)


def cancelled(result: OperationResult) -> ApplicationError:
    """What to raise because somebody asked the operation to stop."""
    error = OperationCancelled(
        "the operation was cancelled",
        hint="what was made is kept: `bond service retry` continues, `bond service decommission` takes it down",
    )
    return failure(result.changed(status=OperationStatus.CANCELLED, error=error.info()))


def result_of(error: ChildWorkflowError) -> OperationResult:
    """What a failed operation workflow had to say; what is known when it was terminated or timed out."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and len(cause.details) > 1:
        return OperationResult.model_validate(cause.details[1])
    info = info_of(error)
    status = OperationStatus.CANCELLED if info.code == OperationCancelled.code else OperationStatus.FAILED
    return OperationResult(status=status, error=info)
