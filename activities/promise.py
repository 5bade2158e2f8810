"""Control activities about promises: resolve a request against its revision, and evaluate a service's outputs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from temporalio import activity

from bondstone.activities.attested import Checks
from bondstone.activities.failures import speaks_failures
from bondstone.activities.rendering import reveal, reveal_all
from bondstone.base import names
from bondstone.base.errors import ExpressionInvalid, InvalidInput, NotFound, Refused, RevisionYanked
from bondstone.base.redact import Redactor, known_secrets
from bondstone.cel import templates
from bondstone.model.secret import has_reference
from bondstone.model.service import OperationKind, Resolution, ResolveCall, RevisionRef, StepOutputs
from bondstone.model.step import OutputsCall, ServiceOutputs
from bondstone.promise.resolve import resolve
from bondstone.promise.variables import variables_for
from bondstone.promise.versions import in_range, target
from bondstone.store import Store
from bondstone.store.revisions import RevisionInfo, chosen


class PromiseActivities:
    """What the control worker does with promises."""

    def __init__(self, store: Store, checks: Checks | None = None) -> None:
        self._store = store
        self._checks = checks or Checks(store)

    @activity.defn(name=names.PROMISE_RESOLVE)
    @speaks_failures
    async def resolve(self, call: ResolveCall) -> Resolution:
        """Pin the revision, check and complete the inputs, fix the steps; refuse what cannot be.

        Raises:
            NotFound: no such promise or version.
            RevisionYanked: the version takes no new services.
            InputsInvalid: with each field named.
            InvalidInput: a new service whose team nobody may have.
        """
        request = call.request
        if call.first and call.service.team == names.RESERVED_TEAM:
            raise InvalidInput(
                f"a team cannot be called {names.RESERVED_TEAM}: {call.service} names a campaign",
                where=str(call.service),
                hint="choose another name for the team",
            )
        revisions = self._store.revisions
        revision = await self._revision(call)
        if revision.status == "yanked" and revision.ref != call.current:
            raise RevisionYanked(
                f"{revision.ref} was yanked: {revision.reason or 'no reason was given'}",
                hint=await self._instead(call, revision.ref),
            )
        _insist_versions(call, revision.ref.version)
        promise = await revisions.promise(revision.ref)
        revealed = await reveal_all(self._store, call.service, [request.inputs, call.current_inputs])
        resolved = resolve(promise, revision.ref, call, lambda ref: revealed[ref.key])
        if revision.status == "deprecated":
            warning = f"{revision.ref} is deprecated: {revision.reason or 'no reason was given'}"
            resolved = resolved.changed(warnings=(*resolved.warnings, warning))
        if not call.first:
            return Resolution(resolved=resolved)
        history = await self._store.ledger.history(call.service)
        return Resolution(
            resolved=resolved,
            last_number=max((record.operation or 0 for record in history), default=0),
            ledger_digest=await self._store.ledger.last_digest(call.service),
        )

    async def _revision(self, call: ResolveCall) -> RevisionInfo:
        """The revision that the request leads to."""
        request, revisions = call.request, self._store.revisions
        if request.kind is OperationKind.PROVISION or call.current is None:
            if request.version:
                return await revisions.get(request.promise, request.version)
            return await revisions.newest(request.promise)
        name = call.current.promise
        if request.kind is OperationKind.UPDATE:
            return await revisions.get(name, call.current.version)
        version = target(
            request.kind,
            promise=name,
            current=call.current.version,
            wanted=request.version,
            available=await self._active(name),
        )
        return await revisions.get(name, version)

    async def _active(self, promise: str) -> list[str]:
        return [info.ref.version for info in await self._store.revisions.list(promise) if info.status == "active"]

    async def _instead(self, call: ResolveCall, yanked: RevisionRef) -> str:
        """What can be had in place of a yanked version, by the same operation where there is such."""
        kind, current, active = call.request.kind, call.current, await self._active(yanked.promise)
        if current is None or kind is OperationKind.PROVISION:
            newest = chosen(await self._store.revisions.list(yanked.promise))
            return f"request {newest.ref}" if newest else f"publish a newer version of {yanked.promise}"
        for other in (kind, OperationKind.PATCH, OperationKind.UPGRADE):
            with suppress(NotFound):
                version = target(
                    other, promise=yanked.promise, current=current.version, wanted="", available=active
                )
                return f"{other} to {yanked.promise}@{version}"
        return f"publish a newer version of {yanked.promise}; the service can stay on {current.version}"

    @activity.defn(name=names.PROMISE_OUTPUTS)
    @speaks_failures
    async def outputs(self, call: OutputsCall) -> ServiceOutputs:
        """Evaluate the promise's outputs; what is secret goes to the secret store."""
        await self._checks.outputs(call)
        promise = await self._store.revisions.promise(call.revision)
        trees = (call.inputs, [out.values for out in call.outputs.values()])
        revealed = await reveal_all(self._store, call.service, trees)
        variables = variables_for(
            promise,
            service=call.service,
            labels=call.labels,
            kind=call.kind,
            inputs=reveal(call.inputs, revealed),
            outputs={name: StepOutputs(values=reveal(out.values, revealed)) for name, out in call.outputs.items()},
        )
        redact = Redactor(known_secrets(revealed.values()))
        values: dict[str, Any] = {}
        for name, output in promise.spec.outputs.items():
            value = templates.render(output.value, variables)
            if output.secret:
                ref = await self._store.secrets.put(call.service, f"outputs/{name}", value)
                values[name] = ref.as_json()
            else:
                _insist_plain(name, value, redact)
                values[name] = value
        return ServiceOutputs(outputs=values)


def _insist_versions(call: ResolveCall, version: str) -> None:
    """Keep a part within the versions that its parents accept; the parent that asks moves it as it needs."""
    if call.current is None or version == call.current.version:
        return
    asker = call.request.parent.service if call.request.parent is not None else None
    refusing = [each for each in call.dependants if each.service != asker and not in_range(version, each.versions)]
    if refusing:
        parents = ", ".join(f"{each.service} (accepts {each.versions})" for each in refusing)
        raise Refused(
            f"{version} is outside of what its parents accept: {parents}",
            where=str(call.service),
            hint="move the parents first: publish a revision of theirs that accepts it, and upgrade them",
        )


def _insist_plain(name: str, value: Any, redact: Redactor) -> None:
    """Stop a secret that reaches an output not declared secret, whatever way it came and however it is encoded."""
    if has_reference(value):
        raise ExpressionInvalid(
            f"the output {name!r} would hold a reference to a secret",
            where=f"outputs.{name}",
            hint='no value of an output may be an object with the key "$secret"',
        )
    if redact.is_in(value):
        raise ExpressionInvalid(
            f"the output {name!r} would show a secret",
            where=f"outputs.{name}",
            hint="the promise must declare it `secret: true`",
        )
