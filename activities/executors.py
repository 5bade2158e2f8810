"""Everything between Temporal and an executor, once for all tools.

For each installed executor the activities `<kind>.plan`, `.apply`, `.plan_destroy` and `.detect_drift`: find the
revision, reveal secrets, render the section, keep a log with secrets redacted, heartbeat, store plans sealed and
hand back exactly the plan that was stored, send sensitive outputs to the secret store.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog
from temporalio import activity

from bondstone.activities.attested import Checks
from bondstone.activities.failures import speaks_failures
from bondstone.activities.rendering import Rendering, render_step
from bondstone.activities.temporal_watch import TemporalWatch
from bondstone.activities.tooling.environment import environment_secrets
from bondstone.activities.tooling.heartbeat import QUIET_SECONDS, Pulse
from bondstone.activities.tooling.scratch import require_room
from bondstone.base import names
from bondstone.base.errors import BondError, ExpressionInvalid, ObjectMissing, StoreError, ToolFailed
from bondstone.base.printable import shorten
from bondstone.base.redact import Redactor, known_secrets
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Executor, Outcome, StepContext
from bondstone.model.plan import ChangeCounts, PlanRef
from bondstone.model.secret import has_reference
from bondstone.model.service import StepOutputs
from bondstone.model.step import Applied, ApplyCall, Drift, Progress, StepCall
from bondstone.store import Store, object_keys

MAX_DRIFTED_ADDRESSES: Final = 100
MAX_ATTEMPTS: Final = 5
"""How many earlier attempts at an apply are told of."""
MAX_OUTPUTS_CHARS: Final = 128 * 1024
"""Plain outputs travel in histories."""

MAX_REASON_CHARS: Final = 160
MAX_WARNINGS: Final = 20
MAX_WARNING_CHARS: Final = 300
DIED: Final = "the worker stopped reporting while it applied the plan"

_log = structlog.get_logger()


def executor_activities(
    store: Store, settings: Settings, executors: Mapping[str, Executor], watch: TemporalWatch | None = None
) -> list[Callable[..., Any]]:
    """The four activities of each executor, ready to register with a worker of a pool.

    Args:
        store: Everything that is kept.
        settings: Of the worker.
        executors: By kind.
        watch: With it, an activity stops its tool when Temporal does not answer for the heartbeat time-out.
    """
    activities: list[Callable[..., Any]] = []
    for executor in executors.values():
        activities.extend(_Adapter(store, settings, executor, watch).activities())
    return activities


class _Adapter:
    """One executor behind its four activities."""

    def __init__(self, store: Store, settings: Settings, executor: Executor, watch: TemporalWatch | None) -> None:
        self._watch = watch
        self._store = store
        self._settings = settings
        self._executor = executor
        self._checks = Checks.of(store, settings)

    def activities(self) -> list[Callable[..., Any]]:
        """The bound activities, named `<kind>.<verb>`."""
        kind = self._executor.kind
        verbs: dict[str, Callable[..., Any]] = {
            names.VERB_PLAN: self.plan,
            names.VERB_APPLY: self.apply,
            names.VERB_PLAN_DESTROY: self.plan_destroy,
            names.VERB_DETECT_DRIFT: self.detect_drift,
        }
        return [
            activity.defn(name=names.executor_activity(kind, verb))(_function(speaks_failures(method)))
            for verb, method in verbs.items()
        ]

    async def plan(self, call: StepCall) -> PlanRef:
        """Plan the step and store the plan."""
        async with self._step(call, names.VERB_PLAN) as (context, log):
            planned = await self._executor.plan(context)
            plan = await self._store.plans.store(
                call.service, call.operation, call.step, planned, destroy=False, log=log
            )
            return await self._checks.keep_plan(call, plan)

    async def plan_destroy(self, call: StepCall) -> PlanRef:
        """Plan taking the step down; nothing to plan when it never held anything."""
        try:
            async with self._step(call, names.VERB_PLAN_DESTROY) as (context, log):
                planned = await self._executor.plan_destroy(context)
                plan = await self._store.plans.store(
                    call.service, call.operation, call.step, planned, destroy=True, log=log
                )
                return await self._checks.keep_plan(call, plan)
        except ExpressionInvalid:
            if await self._may_hold_objects(call):
                raise
            return PlanRef(digest="", key="", empty=True, destroy=True)

    async def _may_hold_objects(self, call: StepCall) -> bool:
        """Whether the step has a state here, or its tool keeps one that only the rendered section could find."""
        if (await self._store.state(call.service, call.step).read()).position:
            return True
        section = (await self._store.revisions.promise(call.revision)).step(call.step).section
        return isinstance(section, dict) and self._executor.keeps_own_state(section)

    async def apply(self, call: ApplyCall) -> Applied:
        """Apply the stored plan and nothing else."""
        earlier = await self._earlier_attempts(call.plan)
        try:
            return await self._apply(call, earlier)
        except BondError as error:
            error.earlier_attempts = earlier
            await self._note_end(call.plan, error.message)
            raise

    async def _apply(self, call: ApplyCall, earlier: tuple[str, ...]) -> Applied:
        async with self._step(call, names.VERB_APPLY) as (context, log):
            artefact = await self._store.plans.artefact(call.plan)
            changes = await self._store.plans.changes(call.plan)
            started = time.monotonic()
            outcome = await self._executor.apply(context, artefact, call.plan.position)
            outputs = await self._keep_outputs(call, outcome, context.redact)
            await self._checks.keep_outputs(call, outputs)
            return Applied(
                outputs=outputs,
                counts=ChangeCounts.of(changes),
                duration_seconds=round(time.monotonic() - started, 3),
                log=log,
                failed_checks=call.plan.failed_checks
                if call.plan.empty
                else tuple(map(context.redact, outcome.failed_checks)),
                warnings=tuple(
                    shorten(context.redact(words), MAX_WARNING_CHARS) for words in outcome.warnings[:MAX_WARNINGS]
                ),
                earlier_attempts=earlier,
            )

    async def _earlier_attempts(self, plan: PlanRef) -> tuple[str, ...]:
        """Why earlier attempts to apply a plan ended, as they wrote it down; a dead one could not."""
        number = activity.info().attempt
        known = [self._attempt_key(plan, earlier) for earlier in range(max(1, number - MAX_ATTEMPTS), number)]
        return tuple([await self._end_noted(key) for key in known])

    async def _end_noted(self, key: str) -> str:
        try:
            return (await self._store.sealed.get(key)).decode()
        except ObjectMissing:
            return DIED

    async def _note_end(self, plan: PlanRef, why: str) -> None:
        """Tell the next attempt why this one ends, if there will be one and the store can be reached."""
        with suppress(StoreError):
            key = self._attempt_key(plan, activity.info().attempt)
            await self._store.sealed.put(key, shorten(why, MAX_REASON_CHARS).encode())

    @staticmethod
    def _attempt_key(plan: PlanRef, attempt: int) -> str:
        return f"{plan.key}/attempts/{activity.info().activity_id}-{attempt}"

    async def detect_drift(self, call: StepCall) -> Drift:
        """Compare reality with what was applied, and keep the whole report as an object."""
        async with self._step(call, names.VERB_DETECT_DRIFT) as (context, log):
            drifted = await self._executor.detect_drift(context)
            key = object_keys.drift_report(call.service, call.operation, call.step)
            report = [change.model_dump(mode="json") for change in drifted.changes]
            await self._store.sealed.put(key, json.dumps(report).encode())
            return Drift(
                addresses=tuple(
                    context.redact(change.address) for change in drifted.changes[:MAX_DRIFTED_ADDRESSES]
                ),
                count=len(drifted.changes),
                counts=ChangeCounts.of(drifted.changes),
                key=key,
                log=log,
                failed_checks=tuple(map(context.redact, drifted.failed_checks)),
            )

    @asynccontextmanager
    async def _step(self, call: StepCall, verb: str) -> AsyncIterator[tuple[StepContext, str]]:
        """All that an executor is handed, and the key of the log that is written meanwhile."""
        info = activity.info()
        # The end of a run's id is what is random in it: its beginning is the minute.
        attempt = f"{(info.workflow_run_id or '')[-12:]}-{info.activity_id}-{info.attempt}"
        with structlog.contextvars.bound_contextvars(
            service=str(call.service), operation=call.operation, step=call.step, verb=verb, attempt=info.attempt
        ):
            require_room(self._settings.work_dir.absolute())
            await (self._checks.apply(call) if isinstance(call, ApplyCall) else self._checks.step(call))
            async with Pulse(activity.heartbeat, quiet_seconds=QUIET_SECONDS) as pulse:
                rendering = await render_step(self._store, self._settings, self._executor, call)
                logs = self._store.logs.writer(call.service, call.operation, call.step, verb, attempt, ())
                async with logs as log, self._while_connected():
                    context = self._context(call, rendering, attempt, pulse.report, log.write)
                    try:
                        yield context, log.key
                    except BondError as error:
                        raise error.masked(context.redact) from None
                    except Exception as error:
                        if context.redact.is_in(_whole(error)):
                            raise ToolFailed(
                                f"the executor failed with {type(error).__name__}, whose text shows a secret",
                                where=f"{call.service} step {call.step}",
                                hint="look at the log of the step",
                            ) from None
                        raise

    @asynccontextmanager
    async def _while_connected(self) -> AsyncIterator[None]:
        """Stop the tool, as a cancel would, when Temporal must have given the work to somebody else."""
        allowed = activity.info().heartbeat_timeout
        if self._watch is None or allowed is None:
            yield
            return
        async with self._watch.kept(allowed.total_seconds()):
            yield

    def _context(
        self,
        call: StepCall,
        rendering: Rendering,
        attempt: str,
        heartbeat: Callable[[Progress], None],
        log: Callable[[str], None],
    ) -> StepContext:
        redact = Redactor(environment_secrets(os.environ, self._settings.tool_environment))

        def beat(progress: Progress) -> None:
            heartbeat(progress.changed(address=redact(progress.address), note=redact(progress.note)))

        return StepContext(
            service=call.service,
            operation=call.operation,
            step=call.step,
            section=rendering.section,
            bundle=rendering.bundle,
            revision_digest=call.revision.digest,
            state=self._store.state(call.service, call.step),
            settings=self._settings,
            attempt=attempt,
            heartbeat=beat,
            log=lambda line: log(redact(line)),
            variables=rendering.variables,
            labels=call.labels,
            requested_by=call.requested_by,
            dry_run=call.dry_run,
            reconcile=call.reconcile,
            was_cancelled=_was_cancelled,
            secrets=frozenset(known_secrets(rendering.secrets)),
            redact=redact,
        )

    async def _keep_outputs(self, call: StepCall, outcome: Outcome, redact: Redactor) -> StepOutputs:
        """The outputs as histories hold them: sealed where the tool says so, or where one shows a known secret."""
        redact.add(known_secrets(output.value for output in outcome.outputs.values() if output.sensitive))
        values: dict[str, Any] = {}
        for name, output in outcome.outputs.items():
            # a reference that a tool made up is a value like any other, and revealed by nobody
            if output.sensitive or redact.is_in(output.value) or has_reference(output.value):
                ref = await self._store.secrets.put(call.service, f"outputs/{call.step}/{name}", output.value)
                values[name] = ref.as_json()
            else:
                values[name] = output.value
        if len(json.dumps(values)) > MAX_OUTPUTS_CHARS:
            raise ToolFailed(
                f"the outputs of step {call.step} are larger than {MAX_OUTPUTS_CHARS // 1024} KiB",
                where=str(call.service),
                hint="output the location of the data instead of the data; what was made is kept",
            )
        return StepOutputs(values=values)


def _was_cancelled() -> bool:
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


def _whole(error: BaseException) -> list[str]:
    """The texts of an error and of all that it came from."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return texts


def _function(method: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function from a bound method: `activity.defn` sets attributes, which a method does not take."""

    async def run(call: Any) -> Any:
        return await method(call)

    run.__annotations__ = {
        name: hint for name, hint in method.__annotations__.items() if name in {"call", "return"}
    }
    return run
