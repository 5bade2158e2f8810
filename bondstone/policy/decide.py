"""From policies and a plan to a decision."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bondstone.base.canonical import canonical, digest
from bondstone.base.redact import MASK, Redactor
from bondstone.model.plan import Change, Decision, Finding
from bondstone.model.secret import as_ref
from bondstone.model.step import PolicyCall
from bondstone.policy.data_files import DataInvalid
from bondstone.policy.modules import ORIGINS, Module, Origin, PolicyRule, modules_digest, query, question
from bondstone.policy.plan_secrets import masked_marks, unmasked_changes
from bondstone.rego.choice import engine
from bondstone.rego.engine import EVALUATION_SECONDS, Engine, EngineFailed, RuleAnswer

MAX_FINDINGS: Final = 50
"""Most findings of a decision; the histories of every operation carry them."""
MAX_MESSAGE_CHARACTERS: Final = 500
MAX_ROLES: Final = 16
MAX_DETAILS_CHARACTERS: Final = 2000
"""Most JSON of one finding's details; longer ones are left out."""

_INEXACT: Final = re.compile(r"[0-9](?:\.0\b|[eE])")
_ORDER: Final = {"deny": 0, "approval": 1, "warn": 2}
_log = structlog.get_logger()


def document(
    call: PolicyCall, plan: Mapping[str, Any], changes: Iterable[Change], executor: str = ""
) -> dict[str, Any]:
    """The input that policies see.

    `service` (team, name, labels), `promise` (name, version, digest), `operation` (number, kind, requested_by,
    destroy), `inputs`, `step` (id, executor), `plan` (what the tool says, in its own shape), `changes` (the change
    set), `previous` (promise, version and inputs before; null for a new service), `tree` (parents and parts of the
    service). A secret input is `"(secret)"`.

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
        "tree": {
            "parents": [
                {"team": each.service.team, "name": each.service.name, "as": each.alias, "owns": each.owns}
                for each in call.parents
            ],
            "parts": [_part(alias, part) for alias, part in sorted(call.parts.items())],
        },
    }


def evaluate(
    modules: Sequence[Module],
    document: Mapping[str, Any],
    *,
    secrets: Iterable[str] = (),
    changes: Sequence[Change] = (),
    further: Iterable[Finding] = (),
    deciding: Engine | None = None,
    timeout_seconds: float = EVALUATION_SECONDS,
) -> Decision:
    """Decide. Any denial denies; else any approval asked for is needed; warnings never stop anything.

    Policies see no secret, unless a module of theirs says that they need them (`NEEDS_SECRETS`): what the tool
    marks as sensitive, and each known secret wherever it stands in the plan, is `"(secret)"` to them. A secret
    input can be chosen to be what a rule looks for, so where a known secret stands in a value that is not marked,
    the rules are asked once more, about the plan and the change set with it; what only that finds counts as much,
    and is told without its message.

    It fails closed: a rule that cannot be evaluated, takes too long, or gives something that is not understood,
    denies and says so. Policies written for conftest see Terraform's plan where conftest puts it
    (`input.resource_changes`) as well as in `input.plan`.

    Args:
        modules: The organisation's and the promise's; each origin is evaluated by itself.
        document: What they are asked about, see `document`.
        secrets: Values that no message may show; they are replaced by `(secret)`.
        changes: The change set of the document, with the digests by which a masked value is known again.
        further: Findings that came from elsewhere (the promise's own `approval` rules) and count as much.
        deciding: The engine; by default it is chosen anew.
        timeout_seconds: For each origin; this call blocks that long at worst.
    """
    redact = Redactor(secrets)
    deciding = deciding or engine()
    everything, seeing = list(further), []
    for origin in ORIGINS:
        of_origin = [module for module in modules if module.origin == origin]
        ask = partial(_evaluate_origin, deciding, origin, of_origin, timeout_seconds=timeout_seconds)
        if any(module.needs_secrets for module in of_origin):
            seeing.append(origin)
            everything += ask(_unmasked(document, document.get("plan"), changes))
        elif of_origin:
            everything += _without_secrets(ask, document, redact, changes)
    findings = _bounded([_presentable(finding, redact) for finding in everything])
    levels = {finding.level for finding in findings}
    return Decision(
        outcome="deny" if "deny" in levels else "approval" if "approval" in levels else "allow",
        findings=findings,
        input_digest=digest(canonical(document)),
        policies_digest=modules_digest(modules),
        engine=deciding.version,
        saw_secrets=tuple(seeing),
    )


def _part(alias: str, part: str) -> dict[str, str]:
    team, _, name = part.partition("/")
    return {"as": alias, "team": team, "name": name}


def _masked(value: Any) -> Any:
    if as_ref(value) is not None:
        return MASK
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value


def _without_secrets(
    ask: Callable[[Mapping[str, Any]], Iterable[Finding]],
    document: Mapping[str, Any],
    redact: Redactor,
    changes: Sequence[Change],
) -> Iterator[Finding]:
    """What policies find that must see no secret."""
    plan = document.get("plan")
    marked = masked_marks(plan)
    shown = {**document, "plan": redact.masked(marked)}
    findings = list(ask(shown))
    yield from findings
    unmasked = _unmasked(document, marked, changes)
    if unmasked == shown:
        return
    counted = Counter(map(_verdict, findings))
    for finding in ask(unmasked):
        counted[_verdict(finding)] -= 1
        if counted[_verdict(finding)] < 0:
            message = f"{finding.policy} objects to a value that shows a secret, so its message is withheld"
            yield finding.changed(message=message, details={})


def _unmasked(document: Mapping[str, Any], plan: Any, changes: Sequence[Change]) -> dict[str, Any]:
    """A document with that plan, and with what this plan shows in the change set."""
    return {**document, "plan": plan, **({"changes": unmasked_changes(changes, plan)} if changes else {})}


def _verdict(finding: Finding) -> str:
    return finding.changed(message="", details={}).model_dump_json()


def _evaluate_origin(
    deciding: Engine,
    origin: Origin,
    modules: list[Module],
    document: Mapping[str, Any],
    *,
    timeout_seconds: float,
) -> Iterator[Finding]:
    rules = sorted({rule for module in modules for rule in module.rules}, key=str)
    if not rules:
        return
    excepting = sorted({module.package for module in modules if module.has_exceptions})
    queries = [rule.query for rule in rules]
    # As conftest asks: any member of any list in the set of exceptions.
    queries += [f"[name | name := {query((*package, 'exception'))}[_][_]]" for package in excepting]
    try:
        evaluated = question(modules, queries)
        answers = deciding.evaluate(
            evaluated, _as_json(_as_conftest(document, modules)), timeout_seconds=timeout_seconds
        )
    except (EngineFailed, DataInvalid) as error:
        _log.warning("policies failed", origin=origin, rules=len(rules), reason=str(error))
        yield Finding(level="deny", message=f"the {origin}'s policies cannot be evaluated: {error}", policy=origin)
        return
    exceptions: dict[tuple[str, ...], set[str]] = {}
    for package, answer in zip(excepting, answers[len(rules) :], strict=True):
        name = f"{origin}:{'.'.join((*package, 'exception'))}"
        if answer.error:
            yield Finding(level="deny", message=f"the policy cannot be evaluated: {answer.error}", policy=name)
        exceptions[package] = {item for value in answer.values for item in value if isinstance(item, str)}
    for rule, answer in zip(rules, answers[: len(rules)], strict=True):
        findings = _findings(rule, f"{origin}:{rule}", answer)
        if rule.suffix in exceptions.get(rule.package, ()) and rule.level != "approval" and not answer.error:
            findings = (_excepted(finding) for finding in findings)
        yield from findings


def _excepted(finding: Finding) -> Finding:
    return finding.changed(level="warn", message=f"by exception: {finding.message}")


def _as_json(document: Mapping[str, Any]) -> str:
    """The document as text, whole numbers without a point or an exponent, as Terraform writes them."""
    text = json.dumps(document, ensure_ascii=False)
    return json.dumps(_whole(document), ensure_ascii=False) if _INEXACT.search(text) else text


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


def _as_conftest(document: Mapping[str, Any], modules: Iterable[Module]) -> Mapping[str, Any]:
    """The document, with those parts of the plan at its root that a policy looks for there."""
    plan = document.get("plan")
    if not isinstance(plan, dict):
        return document
    wanted = {name for module in modules for name in re.findall(r"\binput(?:\.|\[\")(\w+)", module.source)}
    return {**{name: value for name, value in plan.items() if name in wanted}, **document}


def _findings(rule: PolicyRule, policy: str, answer: RuleAnswer) -> Iterator[Finding]:
    if answer.error:
        yield Finding(level="deny", message=f"the policy cannot be evaluated: {answer.error}", policy=policy)
    for value in answer.values:
        for item in _results(value):
            yield _finding(rule.level, policy, item)


def _results(value: Any) -> list[Any]:
    """The single results of a rule: the members of a set, else the value itself."""
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
        details = _details(item, {"msg"})
        return Finding(
            level="deny" if level == "deny" else "warn", message=message, policy=policy, details=details
        )
    try:
        details_of_rule = _Asked.model_validate(item if isinstance(item, dict) else {})
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        return Finding(level="deny", message=f"{message}: {place}: {wrong['msg']}", policy=policy)
    details = _details(item, {"msg", *_Asked.model_fields})
    return Finding(
        level="approval", message=message, policy=policy, details=details, **details_of_rule.model_dump()
    )


def _details(item: Any, known: set[str]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in known} if isinstance(item, dict) else {}


class _Asked(BaseModel):
    """What an `approval` object says beside its `msg`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    roles: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=MAX_ROLES)
    count: int = Field(default=1, ge=1, le=20)
    allow_requester: bool = False
    expires_seconds: int = Field(default=0, ge=0, le=366 * 86400)


def _presentable(finding: Finding, redact: Redactor) -> Finding:
    message = " ".join(redact(finding.message).split())
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    return finding.changed(message=message, details=_redacted(finding.details, redact))


def _redacted(details: dict[str, Any], redact: Redactor) -> dict[str, Any]:
    if not details:
        return {}
    text = redact(json.dumps(details))
    try:
        masked = json.loads(text) if len(text) <= MAX_DETAILS_CHARACTERS else {}
    except ValueError:  # a secret was a part of the JSON itself
        masked = {}
    return masked if isinstance(masked, dict) else {}


def _bounded(findings: list[Finding]) -> tuple[Finding, ...]:
    each = {finding.model_dump_json(): finding for finding in findings}.values()
    ordered = sorted(each, key=lambda finding: (_ORDER[finding.level], finding.policy, finding.message))
    if len(ordered) <= MAX_FINDINGS:
        return tuple(ordered)
    kept, rest = ordered[: MAX_FINDINGS - 1], ordered[MAX_FINDINGS - 1 :]
    # An approval that is not shown could not be given, so the plan is refused.
    level = "warn" if rest[0].level == "warn" else "deny"
    return (
        *kept,
        Finding(level=level, message=f"and {len(rest)} more, which are not shown", policy=rest[0].policy),
    )
