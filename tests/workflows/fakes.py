"""A platform of fakes at our own seam: activities with scripted answers, and real workflows around them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from temporalio import activity
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from bondstone.activities.failures import speaks_failures
from bondstone.base import names
from bondstone.base.errors import BondError, NotFound, Unreachable
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.model.plan import ChangeCounts, Decision, PlanRef
from bondstone.model.service import (
    Accepted,
    DayTwo,
    Health,
    LabelsCall,
    OperationRecord,
    Request,
    Resolution,
    ResolveCall,
    Resolved,
    RevisionRef,
    ServiceId,
    ServiceState,
    StepOutputs,
    StepSpec,
)
from bondstone.model.step import (
    AdoptCall,
    Applied,
    ApplyCall,
    Cover,
    CoverCall,
    Drift,
    HealthCall,
    HealthReport,
    OutputsCall,
    PolicyCall,
    PutAway,
    PutAwayCall,
    ServiceOutputs,
    StepCall,
)
from bondstone.temporal import calls
from bondstone.temporal.sandbox import sandboxed
from bondstone.workflows import served
from bondstone.workflows.service import MAX_RUN_EVENTS
from harness.waiting import until_async


class CheckedOnce(SandboxedWorkflowRunner):
    """The sandbox; each workflow is checked in it once for all workers, and runs in it each time."""

    checked: ClassVar[set[type]] = set()

    def prepare_workflow(self, defn: Any) -> None:
        if defn.cls not in self.checked:
            super().prepare_workflow(defn)
            self.checked.add(defn.cls)


SANDBOX = CheckedOnce(restrictions=sandboxed().restrictions)


Script = Callable[[], Awaitable[None] | None]


def spec(step: str, *needs: str, **fields: Any) -> StepSpec:
    return StepSpec(id=step, executor="fake", needs=needs, **fields)


@dataclass
class FakePlatform:
    """Activities that remember what they were asked, and do what the test scripted.

    `scripts["apply database"]` is a list of callables, one per call, that may raise or wait.
    """

    steps: Sequence[StepSpec] = (StepSpec(id="main", executor="fake"),)
    health_seconds: int = 0
    health: list[HealthReport] = field(default_factory=list)
    decisions: dict[str, Decision] = field(default_factory=dict)
    scripts: dict[str, list[Script]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    ledger: list[LedgerRecord] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    empty_plans: set[str] = field(default_factory=set)
    empty_destroys: set[str] = field(default_factory=set)
    last_number: int = 0
    covered: bool = True
    carried_out: ChangeCounts = field(default_factory=ChangeCounts)
    counts: dict[str, ChangeCounts] = field(default_factory=dict)
    drift: dict[str, Drift] = field(default_factory=dict)
    failed_checks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    day_two: DayTwo = field(default_factory=DayTwo)
    retained: tuple[str, ...] = ()

    async def _play(self, what: str, call: Any) -> None:
        self.log.append(what)
        self.calls.append(call)
        waiting = self.scripts.get(what)
        if waiting:
            outcome = waiting.pop(0)()
            if outcome is not None:
                await outcome

    def activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=names.PROMISE_RESOLVE)
        @speaks_failures
        async def resolve(call: ResolveCall) -> Resolution:
            await self._play("resolve", call)
            version = call.request.version or "1.0.0"
            return Resolution(
                resolved=Resolved(
                    revision=RevisionRef(promise=call.request.promise, version=version, digest="d" * 64),
                    inputs=call.request.inputs,
                    steps=tuple(self.steps),
                    health_seconds=self.health_seconds,
                    day_two=self.day_two,
                ),
                last_number=self.last_number if call.first else 0,
            )

        @activity.defn(name=names.PROMISE_OUTPUTS)
        async def outputs(call: OutputsCall) -> ServiceOutputs:
            await self._play("outputs", call)
            return ServiceOutputs(outputs={step: out.values for step, out in call.outputs.items()})

        @activity.defn(name=names.POLICY_CHECK)
        async def check(call: PolicyCall) -> Decision:
            await self._play(f"check {call.step}", call)
            return self.decisions.get(call.step, Decision(outcome="allow"))

        @activity.defn(name=names.HEALTH_PROBE)
        async def probe(call: HealthCall) -> HealthReport:
            await self._play("health", call)
            return self.health.pop(0) if self.health else HealthReport(health=Health.HEALTHY)

        @activity.defn(name=names.LEDGER_RECORD)
        async def record(record: LedgerRecord) -> LedgerEntry:
            await self._play(f"ledger {record.sequence}", record)
            self.ledger.append(record)
            digest = hashlib.sha256(record.model_dump_json().encode()).hexdigest()
            return LedgerEntry(key=f"ledger/{record.sequence}", digest=digest)

        @activity.defn(name=names.STATE_ADOPT)
        @speaks_failures
        async def adopt(call: AdoptCall) -> int:
            await self._play("adopt", call)
            return len(call.states)

        @activity.defn(name=names.SERVICE_PUT_AWAY)
        @speaks_failures
        async def put_away(call: PutAwayCall) -> PutAway:
            await self._play("put away", call)
            return PutAway(retained=self.retained)

        @activity.defn(name=names.PLAN_COVERED)
        async def covered(call: CoverCall) -> Cover:
            await self._play("covered", call)
            return Cover(covered=self.covered, carried_out=self.carried_out)

        return [resolve, outputs, check, probe, record, adopt, put_away, covered]

    def tools(self) -> list[Callable[..., Any]]:
        @activity.defn(name="fake.plan")
        @speaks_failures
        async def plan(call: StepCall) -> PlanRef:
            await self._play(f"plan {call.step}", call)
            empty = call.step in self.empty_plans
            return PlanRef(
                digest=uuid.uuid4().hex,
                key=f"plans/{call.step}",
                counts=self.counts.get(call.step, ChangeCounts(create=0 if empty else 1)),
                empty=empty,
            )

        @activity.defn(name="fake.plan_destroy")
        @speaks_failures
        async def plan_destroy(call: StepCall) -> PlanRef:
            await self._play(f"plan_destroy {call.step}", call)
            empty = call.step in self.empty_destroys
            counts = ChangeCounts(delete=0 if empty else 1)
            return PlanRef(digest=uuid.uuid4().hex, key="plans/x", counts=counts, empty=empty, destroy=True)

        @activity.defn(name="fake.apply")
        @speaks_failures
        async def apply(call: ApplyCall) -> Applied:
            await self._play(f"apply {call.step}", call)
            return Applied(
                outputs=StepOutputs(values={"id": f"{call.step}-1"}),
                counts=call.plan.counts,
                failed_checks=self.failed_checks.get(call.step, ()),
                warnings=self.warnings.get(call.step, ()),
            )

        @activity.defn(name="fake.detect_drift")
        @speaks_failures
        async def detect_drift(call: StepCall) -> Drift:
            await self._play(f"drift {call.step}", call)
            return self.drift.get(call.step, Drift())

        return [plan, plan_destroy, apply, detect_drift]

    def done(self, prefix: str = "apply") -> list[str]:
        """What was asked, by prefix, in order."""
        return [entry.removeprefix(prefix + " ") for entry in self.log if entry.startswith(prefix + " ")]


@asynccontextmanager
async def serving(
    client: Client, platform: FakePlatform, *, pools: Sequence[str] = ("default",)
) -> AsyncIterator[None]:
    """Workers for the real workflows, sandboxed, and the fake activities."""
    control = Worker(
        client,
        task_queue=names.CONTROL_QUEUE,
        workflows=served.ALL,
        activities=platform.activities(),
        workflow_runner=SANDBOX,
    )
    tools = [
        Worker(
            client,
            task_queue=names.pool_queue(pool),
            activities=platform.tools(),
            max_heartbeat_throttle_interval=timedelta(milliseconds=200),
        )
        for pool in pools
    ]
    async with control:
        tasks = [asyncio.create_task(worker.run()) for worker in tools]
        try:
            yield
        finally:
            for worker in tools:
                await worker.shutdown()
            await asyncio.gather(*tasks)
            await Caller.terminate_all()


class Caller:
    """Speaks to one service as any client would: by workflow id and update name only."""

    _made: ClassVar[list[Caller]] = []

    @classmethod
    async def terminate_all(cls) -> None:
        """End what is left of a test's services: the server, and so the task queues, are shared."""
        for caller in cls._made:
            with contextlib.suppress(RPCError):
                await caller.handle.terminate()
        cls._made.clear()

    def __init__(self, client: Client, service: str | None = None) -> None:
        name = service or f"svc-{uuid.uuid4().hex[:12]}"
        self.client = client
        self.service = ServiceId(team="payments", name=name)
        self.id = names.service_workflow_id("payments", name)
        self.handle = client.get_workflow_handle(self.id)
        self._made.append(self)

    async def request(self, **fields: Any) -> Accepted:
        request = Request(
            **{"request_id": uuid.uuid4().hex, "promise": "postgres", "requested_by": "ada"} | fields
        )
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            names.SERVICE_WORKFLOW,
            ServiceState.new(self.service),
            id=self.id,
            task_queue=names.CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        return await calls.answered(
            self.client.execute_update_with_start_workflow(
                names.UPDATE_REQUEST_OPERATION, request, start_workflow_operation=start, result_type=Accepted
            ),
            self.id,
        )

    async def update(self, name: str, call: Any, result: type[Any] = dict) -> Any:
        return await calls.update(self.client, self.id, name, call, result)

    async def renewed(self) -> None:
        """Change labels until the service has continued as new."""
        run = (await self.handle.describe()).run_id
        for number in range(MAX_RUN_EVENTS):
            await self.update(names.UPDATE_SET_LABELS, LabelsCall(set={"turn": str(number)}))
            if (await self.handle.describe()).run_id != run:
                return
        raise AssertionError("the service never continued as new")

    async def state(self) -> ServiceState:
        return await calls.query(self.client, self.id, ServiceState)

    async def ended(self, number: int) -> OperationRecord:
        """The record of an operation, once the service has committed it."""

        async def record() -> OperationRecord | None:
            return next((op for op in (await self.state()).operations if op.number == number), None)

        # not there yet, or a busy server let the query wait too long
        return await until_async(record, f"operation {number} has ended", not_yet=(NotFound, Unreachable))


async def works_on() -> None:
    """Be an activity that is at work until somebody cancels it."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.1)


def raising(error: BondError) -> Script:
    def script() -> None:
        raise error

    return script
