"""What a case of a promise expects, beside what was seen. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bondstone.base.errors import BondError, PolicyDenied, Problem
from bondstone.model.plan import Change, ChangeCounts, Decision, Finding, PlanRef
from bondstone.model.secret import as_ref
from bondstone.model.service import StepSpec
from bondstone.promise.cases import Case, ExpectedOutput, ExpectedStep


@dataclass(slots=True)
class TriedStep:
    """How far one step of a case came."""

    spec: StepSpec
    plan: PlanRef | None = None
    changes: Sequence[Change] = ()
    decision: Decision | None = None
    applied: bool = False


@dataclass(slots=True)
class CaseOutcome:
    """What happened in a case."""

    steps: dict[str, TriedStep] = field(default_factory=dict)
    outputs: dict[str, Any] | None = None
    refusal: BondError | None = None

    @property
    def findings(self) -> list[Finding]:
        """All that the policies said."""
        return [finding for step in self.steps.values() if step.decision for finding in step.decision.findings]

    @property
    def outcome(self) -> str:
        """The gravest decision of all steps."""
        outcomes = {step.decision.outcome for step in self.steps.values() if step.decision}
        return next((outcome for outcome in ("deny", "approval") if outcome in outcomes), "allow")


def compare(case: Case, observed: CaseOutcome) -> list[str]:
    """Every difference between what a case expects and what was seen, in words."""
    expect = case.expect
    if expect.refused is not None:
        return _compare_refusal(case, observed)
    if observed.refusal is not None:
        return [f"the request was refused: {refusal_text(observed.refusal)}"]
    differences: list[str] = []
    if expect.decision is not None:
        if observed.outcome != expect.decision.outcome:
            expected = expect.decision.outcome
            differences.append(f"the policies say {observed.outcome}, not {expected}{_messages(observed)}")
        messages = [finding.message for finding in observed.findings]
        differences += [
            f"no policy says {message!r}{_messages(observed)}"
            for message in expect.decision.messages
            if not any(message in text for text in messages)
        ]
    elif observed.outcome == "deny":
        differences.append(f"the policies deny it{_messages(observed)}")
    for name, step in expect.steps.items():
        differences += [
            f"step {name}: {difference}" for difference in _compare_step(step, observed.steps.get(name))
        ]
    differences += _compare_outputs(expect.outputs, observed)
    return differences


def _compare_refusal(case: Case, observed: CaseOutcome) -> list[str]:
    expected, error = case.expect.refused, observed.refusal
    if error is None and observed.outcome == "deny":
        error = PolicyDenied("denied", problems=[Problem(message=item.message) for item in observed.findings])
    if expected is None or error is None:
        return [f"the request was accepted, and refusing it with {expected.code if expected else ''} was expected"]
    differences = []
    text = refusal_text(error)
    if error.code != expected.code:
        differences.append(f"it was refused with {error.code}, and {expected.code} was expected: {text}")
    if expected.message not in text:
        differences.append(f"the refusal does not say {expected.message!r}: {text}")
    differences += [
        f"the refusal does not name the input {name!r}: {text}"
        for name in expected.fields
        if not any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", item.message) for item in error.problems)
    ]
    return differences


def _compare_step(expected: ExpectedStep, tried: TriedStep | None) -> list[str]:
    if tried is None:
        return ["it was not reached"]
    if expected.skipped or tried.spec.skip:
        if expected.skipped == tried.spec.skip:
            return []
        return ["it was skipped" if tried.spec.skip else "it was not skipped, and it was expected to be"]
    if tried.plan is None:
        return ["it was not planned, because a step that it needs was not applied"]
    differences = []
    if expected.changes is not None:
        counts, wanted = ChangeCounts.of(tried.changes), ChangeCounts.of_actions(expected.changes)
        if counts != wanted:
            differences.append(
                f"the plan is {counts}, and {wanted} was expected (create, update, replace, delete)"
            )
    actions = {change.address: change.action for change in tried.changes}
    for address, action in expected.addresses.items():
        if address not in actions:
            touched = ", ".join(actions) or "nothing"
            differences.append(f"the plan does not touch {address}; it touches {touched}")
        elif actions[address] != action:
            differences.append(f"{address}: the plan says {actions[address]}, and {action} was expected")
    return differences


def _compare_outputs(expected: Mapping[str, Any], observed: CaseOutcome) -> list[str]:
    if expected and observed.outputs is None:
        return ["there are no outputs, because nothing was applied"]
    differences = []
    for name, wanted in expected.items():
        value = (observed.outputs or {})[name]
        secret = as_ref(value) is not None
        if isinstance(wanted, dict) and wanted and set(wanted) <= set(ExpectedOutput.model_fields):
            look = ExpectedOutput.model_validate(wanted)
            if look.secret is not None and look.secret != secret:
                differences.append(f"output {name} is {'' if secret else 'not '}secret")
            if look.matches is not None and (secret or not re.fullmatch(look.matches, _as_text(value))):
                differences.append(f"output {name} is {_shown(value)}, which does not match {look.matches!r}")
        elif value != wanted:
            differences.append(f"output {name} is {_shown(value)}, and {_shown(wanted)} was expected")
    return differences


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str:
    return "a secret" if as_ref(value) is not None else json.dumps(value, ensure_ascii=False)


def _messages(observed: CaseOutcome) -> str:
    messages = "; ".join(f"{finding.level}: {finding.message}" for finding in observed.findings)
    return f" ({messages})" if messages else ""


def refusal_text(error: BondError) -> str:
    """An error with all its problems, in one line."""
    problems = "; ".join(problem.message for problem in error.problems)
    return f"{error.message}: {problems}" if problems else error.message
