"""From policies and a plan to a decision."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bondstone.base.canonical import canonical, digest
from bondstone.base.redact import MASK, Redactor
from bondstone.model.plan import Change, Decision, Finding
from bondstone.model.secret import as_ref
from bondstone.model.step import PolicyCall
from bondstone.policy.engine import ENGINE, EVALUATION_SECONDS, Answer, EngineFailed
from bondstone.policy.modules import Module, Origin, Rule, modules_digest

MAX_FINDINGS: Final = 50
"""Most findings of a decision; the histories of every operation carry them."""
MAX_MESSAGE_CHARACTERS: Final = 500
MAX_ROLES: Final = 16

_ORDER: Final = {"deny": 0, "approval": 1, "warn": 2}
_log = structlog.get_logger()


def document(
    call: PolicyCall, plan: Mapping[str, Any], changes: Iterable[Change], executor: str = ""
) -> dict[str, Any]:
    """The input that policies see.

    `service` (team, name, labels), `promise` (name, version, digest), `operation` (number, kind, requested_by,
    destroy), `inputs`, `step` (id, executor), `plan` (what the tool says, in its own shape), `changes` (the change
    set), `previous` (promise, version and inputs before; null for a new service). A secret input is `"(secret)"`.

    Args:
        call: What is being decided.
        plan: The tool's own document of the plan.
        changes: The change set.
        executor: Which tool.
    """
    previous = call.before and {
        "promise": call.before.promise,
        "version": call.before.version,
        "inputs": _masked(call.before_inputs),
    }
    return {
        "service": {"team": call.service.team, "name": call.service.name, "labels": dict(call.labels)},
        "promise": {
            "name": call.revision.promise,
            "version": call.revision.version,
            "digest": call.revision.digest,
        },
        "operation": {
            "number": call.operation,
            "kind": call.kind.value,
            "requested_by": call.requested_by,
            "destroy": call.plan.destroy,
        },
        "inputs": _masked(call.inputs),
        "step": {"id": call.step, "executor": executor},
        "plan": dict(plan),
        "changes": [change.model_dump(mode="json", exclude={"fingerprints"}) for change in changes],
        "previous": previous,
    }


def evaluate(
    modules: Sequence[Module],
    document: Mapping[str, Any],
    *,
    secrets: Iterable[str] = (),
    further: Iterable[Finding] = (),
    timeout_seconds: float = EVALUATION_SECONDS,
) -> Decision:
    """Decide. Any denial denies; else any approval asked for is needed; warnings never stop anything.

    It fails closed: a rule that cannot be evaluated, takes too long, or gives something that is not understood,
    denies and says so. Policies written for conftest see Terraform's plan where conftest puts it
    (`input.resource_changes`) as well as in `input.plan`.

    Args:
        modules: The organisation's and the promise's; each origin is evaluated by itself.
        document: What they are asked about, see `document`.
        secrets: Values that no message may show; they are replaced by `(secret)`.
        further: Findings that came from elsewhere (the promise's own `approval` rules) and count as much.
        timeout_seconds: For each origin; this call blocks that long at worst.
    """
    redact = Redactor(secrets)
    found = list(further)
    for origin in ("organisation", "promise"):
        own = [module for module in modules if module.origin == origin]
        found += _evaluate_origin(origin, own, document, timeout_seconds)
    findings = _bounded([_presentable(finding, redact) for finding in found])
    levels = {finding.level for finding in findings}
    return Decision(
        outcome="deny" if "deny" in levels else "approval" if "approval" in levels else "allow",
        findings=findings,
        input_digest=digest(canonical(document)),
        policies_digest=modules_digest(modules),
    )


def _masked(value: Any) -> Any:
    if as_ref(value) is not None:
        return MASK
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value


def _evaluate_origin(
    origin: Origin, modules: list[Module], document: Mapping[str, Any], timeout_seconds: float
) -> Iterator[Finding]:
    rules = sorted({rule for module in modules for rule in module.rules}, key=str)
    if not rules:
        return
    data = json.dumps(_as_conftest(document, modules), ensure_ascii=False)
    try:
        sources = [(module.name, module.source) for module in modules]
        answers = ENGINE.evaluate(sources, [rule.query for rule in rules], data, timeout_seconds=timeout_seconds)
    except EngineFailed as error:
        _log.warning("policies failed", origin=origin, rules=len(rules), reason=str(error))
        yield Finding(level="deny", message=f"the {origin}'s policies cannot be evaluated: {error}", policy=origin)
        return
    for rule, answer in zip(rules, answers, strict=True):
        yield from _findings(rule, f"{origin}:{rule}", answer)


def _as_conftest(document: Mapping[str, Any], modules: Iterable[Module]) -> Mapping[str, Any]:
    """The document, with those parts of the plan at its root that a policy looks for there."""
    plan = document.get("plan")
    if not isinstance(plan, dict):
        return document
    wanted = {name for module in modules for name in re.findall(r"\binput(?:\.|\[\")(\w+)", module.source)}
    return {**{name: value for name, value in plan.items() if name in wanted}, **document}


def _findings(rule: Rule, policy: str, answer: Answer) -> Iterator[Finding]:
    if answer.error:
        yield Finding(level="deny", message=f"the policy cannot be evaluated: {answer.error}", policy=policy)
    for value in answer.values:
        for item in _results(value):
            yield _finding(rule.level, policy, item)


def _results(value: Any) -> list[Any]:
    """The single results of a rule: the members of a set or an array, else the value itself."""
    if isinstance(value, dict) and set(value) == {"$set"}:
        return list(value["$set"])
    if isinstance(value, list):
        return value
    if value is False or value is None:
        return []  # `default deny := false`
    return [value]


def _finding(level: str, policy: str, item: Any) -> Finding:
    message = item.get("msg") if isinstance(item, dict) else item
    if item is True:
        message = f"{policy} holds"
    if not isinstance(message, str):
        return Finding(
            level="deny",
            message="the policy's result is neither a text nor an object with a text `msg`",
            policy=policy,
        )
    if level != "approval":
        return Finding(level="deny" if level == "deny" else "warn", message=message, policy=policy)
    try:
        asked = _Asked.model_validate(_without_sets(item) if isinstance(item, dict) else {})
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        return Finding(level="deny", message=f"{message}: {place}: {wrong['msg']}", policy=policy)
    return Finding(level="approval", message=message, policy=policy, **asked.model_dump())


class _Asked(BaseModel):
    """What an `approval` object says beside its `msg`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    roles: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=MAX_ROLES)
    count: int = Field(default=1, ge=1, le=20)
    allow_requester: bool = False
    expires_seconds: int = Field(default=0, ge=0, le=366 * 86400)


def _without_sets(item: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value["$set"] if isinstance(value, dict) and set(value) == {"$set"} else value
        for name, value in item.items()
    }


def _presentable(finding: Finding, redact: Redactor) -> Finding:
    message = " ".join(redact(finding.message).split())
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    return finding.changed(message=message)


def _bounded(findings: list[Finding]) -> tuple[Finding, ...]:
    ordered = sorted(
        dict.fromkeys(findings), key=lambda finding: (_ORDER[finding.level], finding.policy, finding.message)
    )
    if len(ordered) <= MAX_FINDINGS:
        return tuple(ordered)
    kept, rest = ordered[: MAX_FINDINGS - 1], ordered[MAX_FINDINGS - 1 :]
    # An approval that is not shown could not be given, so then nothing goes on.
    level = "warn" if rest[0].level == "warn" else "deny"
    return (
        *kept,
        Finding(level=level, message=f"and {len(rest)} more, which are not shown", policy=rest[0].policy),
    )
