"""Run the step graph of an operation in dependency order, independent steps at once; `step_work` has one step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from bondstone.base import names
from bondstone.base.errors import BondError, ErrorInfo
from bondstone.model.service import OperationInput, Options, StepOutputs, StepRecord, StepSpec, StepStatus
from bondstone.model.step import Drift
from bondstone.temporal.failures import info_of
from bondstone.workflows import activity_calls
from bondstone.workflows.step_work import DONE, Gatekeeper, StepWork, insist

PINNED = ("", "removed")
"""Parts whose plans a preview knows: hooks have none in a dry run, and going back is not what was previewed."""

Part = Literal["", "before", "after", "removed", "rollback", "final"]
Run = Callable[[StepSpec], Awaitable[None]]


class Steps:
    """Some steps of one operation: their records as they change, and the ways to run them.

    Args:
        operation: What they run for; its `resolved` is what they make true.
        keeper: The gate, and who shows progress.
        specs: Which steps; default: all of `resolved`.
        part: Which part of the operation they are.
    """

    def __init__(
        self,
        operation: OperationInput,
        keeper: Gatekeeper,
        *,
        specs: Sequence[StepSpec] | None = None,
        part: Part = "",
    ) -> None:
        self._operation = operation
        self._keeper = keeper
        chosen = operation.resolved.steps if specs is None else specs
        self.specs = {spec.id: spec for spec in chosen}
        self.records = {
            spec.id: StepRecord(id=spec.id, executor=spec.executor, pool=spec.pool, part=part) for spec in chosen
        }
        self._work = StepWork(operation, keeper, self.records, operation.pins if part in PINNED else None)

    @property
    def outputs(self) -> dict[str, StepOutputs]:
        """What each step gives, with what the service's steps gave before the operation."""
        return self._work.outputs

    @outputs.setter
    def outputs(self, outputs: dict[str, StepOutputs]) -> None:
        self._work.outputs = outputs

    @property
    def touched(self) -> bool:
        """Whether anything was, or may have been, changed in reality."""
        return self._work.touched

    def first_error(self) -> ErrorInfo | None:
        """Why they cannot succeed: the first failed step's error, with the step as its place."""
        for record in self.records.values():
            if record.status is StepStatus.FAILED and record.error:
                return record.error.changed(where=record.error.where or f"step {record.id}")
        return None

    async def apply_all(self) -> None:
        """Plan, check and apply every step after those it needs; what is kept or skipped is left alone."""
        kept = {record.id: record for record in self._operation.kept}
        await self._run_graph(self._needs(), lambda spec: self._apply(spec, kept))

    async def plan_all(self) -> None:
        """A dry run: plan and check what can be planned with values that are known, defer the rest."""
        await self._run_graph(self._needs(), self._dry_run, done=DONE | {StepStatus.DEFERRED})

    async def plan_destroy_all(self) -> None:
        """A dry run of taking everything down: plan and check it."""
        await self._run_graph(self._needed_by(), self._dry_destroy)

    async def repair_all(self, *, repair: bool) -> None:
        """Look for drift in every step; with `repair`, plan, check and apply what undoes it."""
        await self._run_graph(self._needs(), lambda spec: self._reconcile(spec, repair=repair))

    async def destroy_all(self) -> None:
        """Plan, check and destroy every step before those it needs."""
        await self._run_graph(self._needed_by(), self._destroy)

    def drift_count(self) -> int:
        """How many objects differ, over all steps."""
        return sum(record.changes.total for record in self.records.values() if record.drift)

    def _needs(self) -> dict[str, tuple[str, ...]]:
        return {spec.id: tuple(step for step in spec.needs if step in self.specs) for spec in self.specs.values()}

    def _needed_by(self) -> dict[str, tuple[str, ...]]:
        return {
            spec.id: tuple(other.id for other in self.specs.values() if spec.id in other.needs)
            for spec in self.specs.values()
        }

    async def _run_graph(
        self, after: Mapping[str, Sequence[str]], run: Run, *, done: frozenset[StepStatus] = DONE
    ) -> None:
        """Run every step once those in `after` are done; block those behind a failure; pass a cancel on."""
        tasks: dict[str, asyncio.Task[None]] = {}

        async def one(spec: StepSpec) -> None:
            await asyncio.gather(*(asyncio.shield(tasks[step]) for step in after[spec.id]))
            if all(self.records[step].status in done for step in after[spec.id]):
                await self._guarded(spec, run)
            else:
                self._work.set(spec, StepStatus.BLOCKED)

        for spec in self._ordered(after):
            tasks[spec.id] = asyncio.create_task(one(spec))
        try:
            await asyncio.gather(*(asyncio.shield(task) for task in tasks.values()))
        except asyncio.CancelledError:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            for spec in self.specs.values():
                if self.records[spec.id].status is StepStatus.PENDING:
                    self._work.set(spec, StepStatus.CANCELLED)
            raise

    def _ordered(self, after: Mapping[str, Sequence[str]]) -> list[StepSpec]:
        """The specs, each behind those it waits for; resolve orders by `needs`, so one direction is enough."""
        specs = list(self.specs.values())
        forward = all(
            step in {earlier.id for earlier in specs[:index]}
            for index, spec in enumerate(specs)
            for step in after[spec.id]
        )
        return specs if forward else specs[::-1]

    async def _guarded(self, spec: StepSpec, run: Run) -> None:
        """Run one step; what goes wrong is in its record, and only a cancel comes out."""
        self._work.set(spec, StepStatus.PLANNING, started_at=workflow.now())
        try:
            await run(spec)
        except BondError as error:
            self._work.set(spec, StepStatus.FAILED, error=error.info())
        except (FailureError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._work.set(spec, StepStatus.CANCELLED)
                raise
            info = info_of(error)
            self._work.note_attempts(spec, info.earlier_attempts)
            self._work.set(spec, StepStatus.FAILED, error=info)

    # One step ------------------------------------------------------------------------------------------------

    async def _apply(self, spec: StepSpec, kept: Mapping[str, StepRecord]) -> None:
        if spec.skip:
            self._work.set(spec, StepStatus.SKIPPED)
            return
        if spec.id in kept:
            earlier = kept[spec.id]
            if earlier.outputs:
                self.outputs[spec.id] = earlier.outputs
            self._work.set(
                spec, StepStatus.KEPT, outputs=earlier.outputs, plan=earlier.plan, changes=earlier.changes,
                failed_checks=earlier.failed_checks, warnings=earlier.warnings,
            )  # fmt: skip
            return
        plan = await self._work.plan(spec, names.VERB_PLAN)
        known = self.outputs.get(spec.id)
        if plan.empty and known:
            self._work.set(spec, StepStatus.UNCHANGED, outputs=known)
            return
        applied = await self._work.apply(spec, plan, names.VERB_PLAN)
        self.outputs[spec.id] = applied.outputs
        status = StepStatus.UNCHANGED if applied.counts.total == 0 and plan.empty else StepStatus.SUCCEEDED
        self._work.set(
            spec, status, outputs=applied.outputs, changes=applied.counts, log=applied.log,
            failed_checks=applied.failed_checks, warnings=applied.warnings,
        )  # fmt: skip

    async def _dry_run(self, spec: StepSpec) -> None:
        if spec.skip:
            self._work.set(spec, StepStatus.SKIPPED)
            return
        unknown = [
            step
            for step in spec.uses
            if step not in self.outputs
            or (step in self.records and self.records[step].status is not StepStatus.UNCHANGED)
        ]
        if unknown:
            self._work.set(spec, StepStatus.DEFERRED)
            return
        await self._dry_plan(spec, names.VERB_PLAN)

    async def _dry_destroy(self, spec: StepSpec) -> None:
        if spec.skip:
            self._work.set(spec, StepStatus.SKIPPED)
            return
        await self._dry_plan(spec, names.VERB_PLAN_DESTROY)

    async def _dry_plan(self, spec: StepSpec, verb: str) -> None:
        plan, decision = await self._work.decide(spec, verb)
        insist(decision, spec)
        self._keeper.would_ask(spec.id, plan, decision)
        self._work.set(spec, StepStatus.UNCHANGED if plan.empty else StepStatus.SUCCEEDED)

    async def _reconcile(self, spec: StepSpec, *, repair: bool) -> None:
        if spec.skip:
            self._work.set(spec, StepStatus.SKIPPED)
            return
        call = self._work.call(spec)
        if self._operation.with_parts:
            recheck = self._operation.recheck
            call = call.changed(reconcile=Options(repair=repair, recheck=recheck, with_parts=True))
        drift = await activity_calls.tool(
            spec, names.VERB_DETECT_DRIFT, call, Drift, summary=f"look for drift in {spec.id}"
        )
        if self._operation.recheck and (drift.count == 0 or not repair):
            _, decision = await self._work.decide(spec, names.VERB_PLAN)
            insist(decision, spec)
        if drift.count == 0 or not repair:
            self._work.set(
                spec, StepStatus.UNCHANGED, drift=drift.addresses, changes=drift.counts, log=drift.log,
                outputs=self.outputs.get(spec.id), failed_checks=drift.failed_checks,
            )  # fmt: skip
            return
        self._work.set(spec, StepStatus.PLANNING, drift=drift.addresses)
        plan = await self._work.plan(spec, names.VERB_PLAN)
        applied = await self._work.apply(spec, plan, names.VERB_PLAN)
        self.outputs[spec.id] = applied.outputs
        self._work.set(
            spec, StepStatus.SUCCEEDED, outputs=applied.outputs, changes=applied.counts, log=applied.log, drift=(),
            failed_checks=applied.failed_checks, warnings=applied.warnings,
        )  # fmt: skip

    async def _destroy(self, spec: StepSpec) -> None:
        if spec.skip:
            self._work.set(spec, StepStatus.SKIPPED)
            return
        plan = await self._work.plan(spec, names.VERB_PLAN_DESTROY)
        if plan.empty:
            self.outputs.pop(spec.id, None)
            self._work.set(spec, StepStatus.UNCHANGED)
            return
        applied = await self._work.apply(spec, plan, names.VERB_PLAN_DESTROY)
        self.outputs.pop(spec.id, None)
        self._work.set(
            spec, StepStatus.SUCCEEDED, changes=applied.counts, log=applied.log, warnings=applied.warnings
        )
