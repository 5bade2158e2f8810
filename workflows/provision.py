"""Provision: from an accepted request to a ready service."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from bondstone import names
from bondstone.errors import ErrorInfo, OperationFailed, Unhealthy
from bondstone.model.failure import info_of
from bondstone.model.service import Health, OperationInput, OperationRecord, OperationResult, OperationStatus
from bondstone.model.step import HealthCall, HealthReport, OutputsCall, ServiceOutputs
from workflows import calls, ending
from workflows.steps import Steps

HEALTH_TIMEOUT = timedelta(hours=1)
"""Outer bound on the probes of one operation; each has its own `within`."""


@workflow.defn(name=names.PROVISION_WORKFLOW)
class Provision:
    """Steps in dependency order, then outputs, then health.

    What was made stays when it fails, for a retry; it is taken down again when the request asked for that.
    """

    @workflow.init
    def __init__(self, operation: OperationInput) -> None:
        self._operation = operation
        self._steps = Steps(operation)

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded."""
        error: ErrorInfo | None = None
        service_outputs = ServiceOutputs()
        health = Health.UNKNOWN
        try:
            await self._steps.apply_all()
            error = self._steps.first_error()
            if error is None:
                service_outputs = await self._service_outputs()
                health, error = await self._probe(service_outputs)
        except (FailureError, asyncio.CancelledError) as caught:
            if is_cancelled_exception(caught):
                raise ending.cancelled(self._result(OperationStatus.CANCELLED)) from None
            error = info_of(caught)
        if error is not None:
            if operation.on_failure == "destroy":
                error = await self._compensate(error)
            raise ending.failure(self._result(OperationStatus.FAILED, health=health, error=error))
        return self._result(OperationStatus.SUCCEEDED, outputs=service_outputs.outputs, health=health)

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> OperationRecord:
        """The operation as it stands now."""
        return self._steps.describe()

    def _result(self, status: OperationStatus, **fields: object) -> OperationResult:
        return OperationResult(status=status, steps=tuple(self._steps.records.values())).model_copy(update=fields)

    def _call(self) -> OutputsCall:
        record = self._operation.record
        return OutputsCall(
            service=record.service,
            labels=self._operation.labels,
            operation=record.number,
            kind=record.kind,
            revision=record.revision,
            inputs=self._operation.resolved.inputs,
            outputs=self._steps.outputs,
        )

    async def _service_outputs(self) -> ServiceOutputs:
        return await calls.control(names.PROMISE_OUTPUTS, self._call(), ServiceOutputs, summary="outputs")

    async def _probe(self, outputs: ServiceOutputs) -> tuple[Health, ErrorInfo | None]:
        if not self._operation.resolved.has_health:
            return Health.UNKNOWN, None
        call = HealthCall(**dict(self._call()), service_outputs=outputs.outputs)
        report = await calls.control(
            names.HEALTH_PROBE,
            call,
            HealthReport,
            summary="health",
            within=HEALTH_TIMEOUT,
            heartbeat=calls.HEARTBEAT_TIMEOUT,
        )
        if report.health is Health.HEALTHY:
            return report.health, None
        unhealthy = Unhealthy(
            report.message or "the service is not healthy",
            hint="everything is made; look at it, then `bond service retry`",
        )
        return report.health, unhealthy.info()

    async def _compensate(self, error: ErrorInfo) -> ErrorInfo:
        """Take down what was made; the error says how that went."""
        undo = Steps(self._operation.model_copy(update={"outputs": self._steps.outputs, "kept": ()}))
        await undo.destroy_all()
        left = undo.first_error()
        if left is None:
            return error.model_copy(update={"message": f"{error.message} (what was made was taken down again)"})
        failed = OperationFailed(
            f"{error.message}; and taking down what was made failed: {left.message}",
            where=error.where,
            hint="`bond service decommission` tries again",
        )
        return failed.info()
