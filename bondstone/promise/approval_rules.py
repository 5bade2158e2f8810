"""A promise's own `approval` rules, as findings beside those of the policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bondstone.base.errors import InvalidInput
from bondstone.model.plan import Change, Finding
from bondstone.model.promise import Promise, seconds
from bondstone.model.step import PolicyCall
from bondstone.promise.resolve import holds
from bondstone.promise.variables import variables_for


def approvals(promise: Promise, call: PolicyCall, changes: Iterable[Change]) -> Iterator[Finding]:
    """What the promise's `approval` rules ask for, of one plan. A rule that cannot be evaluated denies."""
    variables = {
        **variables_for(
            promise,
            service=call.service,
            labels=call.labels,
            kind=call.kind,
            inputs=call.inputs,
            outputs=call.outputs,
        ),
        "plan.changes": [
            {
                "action": change.action,
                "address": change.address,
                "type": change.type,
                "moved_from": change.moved_from,
                "import_id": change.import_id,
            }
            for change in changes
        ],
    }
    for index, rule in enumerate(promise.spec.approval):
        policy = f"promise:approval[{index}]"
        try:
            if holds(rule.when, variables, where=policy):
                people = f"{rule.count} {'person' if rule.count == 1 else 'people'} of {' or '.join(rule.roles)}"
                yield Finding(
                    level="approval",
                    message=f"the promise requires {people}: {_text(rule.when)}",
                    policy=policy,
                    roles=rule.roles,
                    count=rule.count,
                    allow_requester=rule.allow_requester,
                    expires_seconds=seconds(rule.expires) if rule.expires else 0,
                )
        except InvalidInput as error:
            yield Finding(
                level="deny", message=f"the approval rule cannot be evaluated: {error.message}", policy=policy
            )


def _text(when: str | bool) -> str:  # noqa: FBT001 - as the manifest has it
    return "always" if when is True else f"when {when}"
