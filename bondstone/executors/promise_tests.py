"""Runs the cases of a promise with the real tools, on a store of its own, with no platform and no service."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bondstone.base.errors import BondError, PromiseInvalid
from bondstone.base.names import parse_service
from bondstone.base.settings import Settings
from bondstone.cel import templates
from bondstone.executors.protocol import Executor, StepContext
from bondstone.model.plan import Change, Decision, PlanRef
from bondstone.model.promise import Promise
from bondstone.model.secret import SecretRef, refs_in, replace_refs
from bondstone.model.service import (
    OperationKind,
    Request,
    ResolveCall,
    Resolved,
    RevisionRef,
    ServiceId,
    StepOutputs,
    StepSpec,
)
from bondstone.model.step import PolicyCall
from bondstone.policy import Module, document, evaluate
from bondstone.policy.plan_secrets import sensitive_values
from bondstone.promise.approval_rules import approvals
from bondstone.promise.bundle import pack
from bondstone.promise.cases import Case
from bondstone.promise.comparing import CaseOutcome, TriedStep, compare, refusal_text
from bondstone.promise.inputs import split_secrets, with_secrets
from bondstone.promise.policies import policy_modules
from bondstone.promise.resolve import resolve
from bondstone.promise.variables import variables_for
from bondstone.store import Store

SERVICES_VARIABLE: Final = "TF_VAR_services_dir"
"""Promises that make files on the executor's machine put them below the directory that it names."""


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What became of one case."""

    name: str
    file: str
    differences: tuple[str, ...] = ()
    """What is other than expected, in words; nothing when it passed."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Trial:
    """A bench to run cases of one promise on; made by `open_trial`."""

    directory: Path
    promise: Promise
    revision: RevisionRef
    bundle: Path
    store: Store
    settings: Settings
    executors: Mapping[str, Executor]
    modules: Sequence[Module]
    log: Callable[[str], None]

    async def run(self, file: str, case: Case, number: int = 1) -> CaseReport:
        """Run one case: plan, policies, and as far as the case asks apply and outputs; then take all down."""
        started = time.monotonic()
        team, name = parse_service(case.given.service)
        run = _Run(self, case, ServiceId(team=team, name=name), number)
        differences: list[str] = []
        try:
            observed = await run.go()
            differences += compare(case, observed)
        except BondError as error:
            differences.append(refusal_text(error))
        try:
            await run.clean_up()
        except BondError as error:
            differences.append(f"the resources of the case could not be destroyed: {refusal_text(error)}")
        return CaseReport(case.name, file, tuple(differences), round(time.monotonic() - started, 3))


@asynccontextmanager
async def open_trial(
    directory: Path,
    promise: Promise,
    executors: Mapping[str, Executor],
    settings: Settings,
    *,
    organisation: Sequence[Module] = (),
    log: Callable[[str], None] = lambda _line: None,
) -> AsyncIterator[Trial]:
    """A store in a temporary directory with the promise published in it; all of it is gone afterwards.

    Args:
        directory: The promise's folder.
        promise: Its manifest, checked.
        executors: Installed executors by kind.
        settings: Which tools to use.
        organisation: The organisation's policies; the promise's own always apply.
        log: Takes each line that a tool says.
    """
    bundle = await asyncio.to_thread(pack, directory)
    with tempfile.TemporaryDirectory(prefix="bond-test-", ignore_cleanup_errors=True) as temporary:
        root = Path(temporary)
        test_settings = settings.changed(
            data=root,
            store=(root / "objects").as_uri(),
            keys=root / "keys.json",
            work=root / "work",
            tool_writable_paths=(*settings.tool_writable_paths, root / "services"),
            tool_environment=(*settings.tool_environment, SERVICES_VARIABLE),
        )
        store = await Store.open(test_settings, create_keys=True)
        revision = await store.revisions.publish(bundle, promise)
        unpacked = await store.revisions.materialise(revision, test_settings.work_dir / "revisions")
        modules = [*organisation, *policy_modules(promise, unpacked)]
        before = os.environ.get(SERVICES_VARIABLE)
        os.environ[SERVICES_VARIABLE] = str(root / "services")
        try:
            yield Trial(directory, promise, revision, unpacked, store, test_settings, executors, modules, log)
        finally:
            os.environ.pop(SERVICES_VARIABLE)
            if before is not None:
                os.environ[SERVICES_VARIABLE] = before


class _Run:
    """One case on its way."""

    def __init__(self, trial: Trial, case: Case, service: ServiceId, number: int) -> None:
        self._trial = trial
        self._case = case
        self._service = service
        self._number = number
        self._attempts = 0
        self._outputs: dict[str, StepOutputs] = {}
        self._touched: dict[str, tuple[StepSpec, dict[str, Any]]] = {}

    async def go(self) -> CaseOutcome:
        request, expect = self._case.given, self._case.expect
        before: dict[str, Any] = {}
        first = request.previous.inputs if request.previous else request.inputs
        if self._case.operation != "provision":
            made = await self._resolve(first)
            await self._steps(made, OperationKind.PROVISION, apply=True, check=False)
            before = made.inputs
        try:
            resolved = await self._resolve(request.inputs)
        except BondError as error:
            return CaseOutcome(refusal=error)
        kind = OperationKind(self._case.operation)
        later = any(not step.skipped and self._needs(name) for name, step in expect.steps.items())
        steps = await self._steps(resolved, kind, apply=bool(expect.outputs) or later, check=True, before=before)
        observed = CaseOutcome(steps=steps)
        if expect.outputs and observed.outcome != "deny":
            observed.outputs = await self._service_outputs(resolved, kind)
        return observed

    async def clean_up(self) -> None:
        for step, inputs in reversed(self._touched.values()):
            plan, _ = await self._plan(step, inputs, OperationKind.DECOMMISSION)
            if not plan.empty:
                await self._apply(step, inputs, OperationKind.DECOMMISSION, plan)
        self._touched.clear()
        await self._trial.store.secrets.erase(self._service)

    def _needs(self, name: str) -> bool:
        return any(step.id == name and step.needs for step in self._trial.promise.spec.steps)

    async def _resolve(self, inputs: Mapping[str, Any]) -> Resolved:
        trial = self._trial
        public, values = split_secrets(trial.promise, inputs)
        references = {
            path: await trial.store.secrets.put(self._service, f"inputs/{path}", value)
            for path, value in values.items()
        }
        whole = with_secrets(public, references)
        revealed = await self._revealed(whole)
        request = Request(
            request_id=f"case-{self._number}",
            promise=trial.promise.name,
            version=trial.promise.version,
            inputs=whole,
            labels=self._case.given.labels,
        )
        call = ResolveCall(service=self._service, request=request, first=True)
        return resolve(trial.promise, trial.revision, call, lambda ref: revealed[ref.key])

    async def _steps(
        self,
        resolved: Resolved,
        kind: OperationKind,
        *,
        apply: bool,
        check: bool,
        before: dict[str, Any] | None = None,
    ) -> dict[str, TriedStep]:
        tried: dict[str, TriedStep] = {}
        going_down = kind is OperationKind.DECOMMISSION
        for spec in reversed(resolved.steps) if going_down else resolved.steps:
            step = tried[spec.id] = TriedStep(spec)
            waits = not going_down and not all(need in self._outputs for need in self._given_outputs(spec, tried))
            if spec.skip or waits:
                continue
            step.plan, step.changes = await self._plan(spec, resolved.inputs, kind)
            if check:
                step.decision = await self._decide(spec, resolved.inputs, kind, step, before or {})
                if step.decision.outcome == "deny":
                    break
            if apply:
                self._outputs[spec.id] = await self._apply(spec, resolved.inputs, kind, step.plan)
                step.applied = True
        return tried

    def _given_outputs(self, spec: StepSpec, tried: Mapping[str, TriedStep]) -> list[str]:
        """The steps whose outputs a step needs; a skipped one has none to give."""
        return [need for need in spec.needs if need in tried and not tried[need].spec.skip]

    async def _plan(
        self, spec: StepSpec, inputs: dict[str, Any], kind: OperationKind
    ) -> tuple[PlanRef, Sequence[Change]]:
        destroy = kind is OperationKind.DECOMMISSION
        executor = self._trial.executors[spec.executor]
        async with self._limit(spec):
            context = await self._context(spec, inputs, kind)
            planned = await (executor.plan_destroy(context) if destroy else executor.plan(context))
        ref = await self._trial.store.plans.store(
            self._service, self._number, spec.id, planned, destroy=destroy, log=""
        )
        return ref, planned.changes

    async def _apply(
        self, spec: StepSpec, inputs: dict[str, Any], kind: OperationKind, plan: PlanRef
    ) -> StepOutputs:
        if kind is not OperationKind.DECOMMISSION:
            self._touched.setdefault(spec.id, (spec, inputs))
        artefact = await self._trial.store.plans.artefact(plan)
        async with self._limit(spec):
            context = await self._context(spec, inputs, kind)
            outcome = await self._trial.executors[spec.executor].apply(context, artefact, plan.position)
        values: dict[str, Any] = {}
        for name, output in outcome.outputs.items():
            values[name] = output.value
            if output.sensitive:
                key = f"outputs/{spec.id}/{name}"
                values[name] = (await self._trial.store.secrets.put(self._service, key, output.value)).as_json()
        return StepOutputs(values=values)

    async def _context(self, spec: StepSpec, inputs: dict[str, Any], kind: OperationKind) -> StepContext:
        trial = self._trial
        self._attempts += 1
        step = next(step for step in trial.promise.spec.steps if step.id == spec.id)
        executor = trial.executors[spec.executor]
        variables = await self._variables(inputs, kind)
        section = executor.section.model_validate(templates.render(step.section, variables))
        return StepContext(
            service=self._service,
            operation=self._number,
            step=spec.id,
            section=section,
            bundle=trial.bundle,
            revision_digest=trial.revision.digest,
            state=trial.store.state(self._service, spec.id),
            settings=trial.settings,
            attempt=f"case-{self._number}-{self._attempts}",
            given_outputs=self._case.given.parts.get(spec.id, {}),
            heartbeat=lambda _progress: None,
            log=trial.log,
            trial=True,
            variables=variables,
        )

    async def _variables(self, inputs: dict[str, Any], kind: OperationKind) -> dict[str, Any]:
        revealed = await self._revealed([inputs, [out.values for out in self._outputs.values()]])

        def value(ref: SecretRef) -> Any:
            return revealed[ref.key]

        variables = variables_for(
            self._trial.promise,
            service=self._service,
            labels=self._case.given.labels,
            kind=kind,
            inputs=replace_refs(inputs, value),
            outputs={
                name: StepOutputs(values=replace_refs(out.values, value)) for name, out in self._outputs.items()
            },
        )
        return dict(variables)

    async def _revealed(self, tree: Any) -> dict[str, Any]:
        store = self._trial.store
        return {ref.key: await store.secrets.reveal(ref, service=self._service) for ref in refs_in(tree)}

    async def _decide(
        self, spec: StepSpec, inputs: dict[str, Any], kind: OperationKind, step: TriedStep, before: dict[str, Any]
    ) -> Decision:
        trial = self._trial
        if step.plan is None:  # pragma: no cover - only planned steps are decided
            raise PromiseInvalid("there is no plan", where=spec.id)
        call = PolicyCall(
            service=self._service,
            labels=self._case.given.labels,
            operation=self._number,
            kind=kind,
            requested_by="bond promise test",
            revision=trial.revision,
            step=spec.id,
            inputs=inputs,
            outputs=self._outputs,
            plan=step.plan,
            before=trial.revision if before else None,
            before_inputs=before,
        )
        plan = await trial.store.plans.document(step.plan)
        secrets = [value for value in (await self._revealed(inputs)).values() if isinstance(value, str)]
        secrets += [value for value in sensitive_values(plan) if isinstance(value, str)]
        further = () if step.plan.empty else tuple(approvals(trial.promise, call, step.changes))
        return await asyncio.to_thread(
            evaluate,
            trial.modules,
            document(call, plan, step.changes, spec.executor),
            secrets=secrets,
            changes=step.changes,
            further=further,
        )

    async def _service_outputs(self, resolved: Resolved, kind: OperationKind) -> dict[str, Any]:
        variables = await self._variables(resolved.inputs, kind)
        values: dict[str, Any] = {}
        for name, output in self._trial.promise.spec.outputs.items():
            value = templates.render(output.value, variables)
            if output.secret:
                value = (await self._trial.store.secrets.put(self._service, f"outputs/{name}", value)).as_json()
            values[name] = value
        return values

    @asynccontextmanager
    async def _limit(self, spec: StepSpec) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(spec.timeout_seconds):
                yield
        except TimeoutError as error:
            raise PromiseInvalid(
                f"the step ran longer than its timeout of {spec.timeout_seconds} s", where=spec.id
            ) from error
