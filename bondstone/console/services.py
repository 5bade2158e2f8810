"""A service and its operations: day two, plans, votes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from bondstone.base.errors import BondError, ErrorInfo, InvalidInput
from bondstone.base.redact import MASK
from bondstone.client.documents.service import OperationDocument, ServiceDocument
from bondstone.client.explanation import ReadingTime, explain_operation, explain_service
from bondstone.client.operations import Operation
from bondstone.console import forms
from bondstone.console.approvals import INBOX
from bondstone.console.pages import View, follows, form_of, may, shown, target_of, to
from bondstone.console.rendering import address, sentence
from bondstone.console.session import Visit, Visitor
from bondstone.console.step_graph import step_graph
from bondstone.model.identity import Target
from bondstone.model.service import OperationKind, OperationStatus, Phase

VERBS: Final = (
    ("patch", "Patch"), ("upgrade", "Upgrade"), ("rollback", "Roll back"), ("reconcile", "Check for drift"),
    ("repair", "Repair the drift"), ("retry", "Retry"), ("cancel", "Cancel what runs"), ("pause", "Pause"),
    ("resume", "Resume"),
)  # fmt: skip
PLANNED: Final = frozenset({"patch", "upgrade", "rollback"})
"""Verbs with a dry run; that of an update and of a decommission stands in their forms."""
FORMS: Final = frozenset({"update", "decommission", "abandon"})
"""Verbs with a form of their own."""
MAX_PARTS: Final = 50

router = APIRouter(include_in_schema=False)


@router.get("/services/{team}/{name}")
async def service(visitor: Visit, team: str, name: str) -> Response:
    """One service: where it stands and why, outputs, operations, and what the visitor may do."""
    return shown(await service_view(visitor, team, name), visitor)


@follows("services")
async def service_view(visitor: Visitor, team: str, name: str, *rest: str) -> View:
    """The view of a service, or of an operation of it."""
    if rest:
        return await operation_view(visitor, f"{team}/{name}/op/{rest[-1]}")
    document = await visitor.bond.services.get(f"{team}/{name}")
    visitor.permissions.decide("service.read", target_of(document)).require()
    return await _service_view(visitor, document, document.outputs)


async def _service_view(
    visitor: Visitor,
    document: ServiceDocument,
    outputs: dict[str, Any],
    submitted: dict[str, str] | None = None,
    error: ErrorInfo | None = None,
) -> View:
    """The view of a service.

    Args:
        visitor: Who looks.
        document: The service.
        outputs: As they are shown.
        submitted: An update that is being filled in: its choices ask for more, or it was refused.
        error: Why it was refused.
    """
    target = target_of(document)
    verbs = [*(verb for verb, _ in VERBS if verb != "repair"), *FORMS, "reveal", "label"]
    allowed = may(visitor, target, *(f"service.{verb}" for verb in verbs))
    fitting = [
        (verb, label) for verb, label in VERBS if allowed[f"service.{_permission(verb)}"] and _fits(document, verb)
    ]
    promise = await visitor.bond.promises.get(document.promise, document.revision.rpartition("@")[2])
    newer = list(itertools.takewhile(
        lambda version: version != document.revision.rpartition("@")[2],
        (item.version for item in promise.versions if item.status == "active"),
    ))  # fmt: skip
    secret = {name for name, value in document.outputs.items() if value == MASK}
    fields = forms.fields(promise.input_schema, document.inputs)
    if submitted is not None:
        fields = forms.drawn(promise.input_schema, submitted, document.inputs)
    return View(
        "service.html", "/services", live=f"/services/{document.id}", service=document, outputs=outputs,
        sentence=sentence(explain_service(document, ReadingTime())), may=allowed, verbs=fitting, newer=newer[:5],
        planned=PLANNED, tree=await _tree(visitor, document),
        has_secrets=bool(secret) and outputs is document.outputs,
        fields=fields, updating=submitted is not None, error=error, reason=(submitted or {}).get("reason", ""),
        unseen=forms.unseen(fields, submitted) if submitted is not None else (),
    )  # fmt: skip


Tree = list[tuple[str, str, str, "Tree"]]
"""Alias, id and phase of each part, and its own parts."""


async def _tree(visitor: Visitor, document: ServiceDocument) -> Tree:
    """The services that a service is made of, at most `MAX_PARTS` of them."""
    left = MAX_PARTS

    async def parts_of(parent: ServiceDocument) -> Tree:
        nonlocal left
        tree: Tree = []
        for alias, name in parent.parts.items():
            if left <= 0:
                break
            left -= 1
            try:
                part = await visitor.bond.services.get(name)
            except BondError:
                tree.append((alias, name, "", []))  # it is not there yet, or any more
                continue
            readable = visitor.permissions.decide("service.read", target_of(part)).allowed
            tree.append((alias, name, part.phase if readable else "", await parts_of(part) if readable else []))
        return tree

    return await parts_of(document)


def _permission(verb: str) -> str:
    return "reconcile" if verb == "repair" else verb


def _fits(document: ServiceDocument, verb: str) -> bool:
    """Whether a verb makes sense as the service stands; the service itself has the last word."""
    if verb == "retry":
        return document.phase in {Phase.FAILED, Phase.DEGRADED}
    if verb == "rollback":
        return bool(document.ways_back)
    if verb == "repair":
        return bool(document.drift)
    if verb == "cancel":
        return any(not operation.status.ended for operation in document.operations)
    if verb in {"pause", "resume"}:
        return (verb == "resume") == bool(document.paused_by)
    return True


@router.post("/services/{team}/{name}/reveal")
async def reveal(request: Request, visitor: Visit, team: str, name: str) -> Response:
    """Show secret outputs once, to whom the access document lets."""
    await form_of(request, visitor)
    document = await visitor.bond.services.get(f"{team}/{name}")
    visitor.permissions.decide("service.reveal", target_of(document)).require()
    outputs = await visitor.bond.services.outputs(document.id, reveal=True)
    view = await _service_view(visitor, document, outputs)
    view.live = ""
    return shown(view, visitor)


@router.post("/services/{team}/{name}/do")
async def act(request: Request, visitor: Visit, team: str, name: str) -> Response:
    """Carry out one verb of day two; what comes of it is the operation's page."""
    submitted = await form_of(request, visitor)
    document = await visitor.bond.services.get(f"{team}/{name}")
    verb = submitted.get("verb", "")
    if verb not in {*(known for known, _ in VERBS), *FORMS}:
        raise InvalidInput(f"{verb[:40]!r} is not an action on a service")
    visitor.permissions.decide(f"service.{_permission(verb)}", target_of(document)).require()
    if verb in {"decommission", "abandon"} and submitted.get("do") != "dry-run":
        _confirm(document, submitted)
    if verb == "update":
        return await _update(visitor, document, submitted)
    if verb == "abandon":
        await visitor.bond.services.abandon(document.id, reason=submitted.get("reason", ""))
        return to(f"/ledger?service={document.id}")
    if verb in {"pause", "resume"}:
        await getattr(visitor.bond.services, verb)(document.id, reason=submitted.get("reason", ""))
        return to(f"/services/{document.id}")
    return to(address((await _operate(visitor, document, verb, submitted)).id))


async def _update(visitor: Visitor, document: ServiceDocument, submitted: dict[str, str]) -> Response:
    """Update the inputs; the form is shown again where its choices ask for more, and where it is refused."""
    refused: BondError | None = None
    promise = await visitor.bond.promises.get(document.promise, document.revision.rpartition("@")[2])
    fields = forms.drawn(promise.input_schema, submitted, document.inputs)
    if submitted.get("do") != "refresh" and not forms.unseen(fields, submitted):
        try:
            typed = forms.typed(promise.input_schema, submitted, document.inputs)
            operation = await visitor.bond.services.update(
                document.id,
                {key: value for key, value in typed.items() if document.inputs.get(key) != value},
                reason=submitted.get("reason", ""),
                request_id=submitted.get("request_id") or None,
                dry_run=submitted.get("do") == "dry-run",
            )
            return to(address(operation.id))
        except BondError as error:
            refused = error
    info = refused.info() if refused else None
    view = await _service_view(visitor, document, document.outputs, submitted, info)
    view.live = ""
    return shown(view, visitor, refused)


async def _operate(visitor: Visitor, document: ServiceDocument, verb: str, submitted: dict[str, str]) -> Operation:
    services = visitor.bond.services
    reason, request_id = submitted.get("reason", ""), submitted.get("request_id") or None
    dry_run = submitted.get("do") == "dry-run"
    if verb == "retry":
        return await services.retry(document.id, reason=reason, request_id=request_id)
    if verb == "cancel":
        return await services.cancel(document.id, reason=reason)
    if verb in {"reconcile", "repair"}:
        repair = verb == "repair"
        return await services.reconcile(document.id, repair=repair, reason=reason, request_id=request_id)
    method = getattr(services, verb)
    return await _sent(method(document.id, reason=reason, request_id=request_id, dry_run=dry_run))


def _confirm(document: ServiceDocument, submitted: dict[str, str]) -> None:
    if submitted.get("confirm", "").strip() != document.id:
        raise InvalidInput("the name does not match, so nothing was done", hint=f"type {document.id} to confirm")


@router.post("/services/{team}/{name}/labels")
async def labels(request: Request, visitor: Visit, team: str, name: str) -> Response:
    """Set the labels to those that were typed."""
    submitted = await form_of(request, visitor)
    document = await visitor.bond.services.get(f"{team}/{name}")
    visitor.permissions.decide("service.label", target_of(document)).require()
    lines = [line.strip() for line in submitted.get("labels", "").splitlines() if line.strip()]
    if wrong := [line for line in lines if "=" not in line]:
        raise InvalidInput(f"{wrong[0][:80]!r} is not a label", hint="write key=value")
    wanted = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    await visitor.bond.services.set_labels(document.id, wanted, remove=sorted(set(document.labels) - set(wanted)))
    return to(f"/services/{document.id}")


async def _sent(call: Any) -> Operation:
    operation: Operation = await call
    return operation


# Operations ------------------------------------------------------------------------------------------------------


@router.get("/services/{team}/{name}/operations/{number}")
async def operation(visitor: Visit, team: str, name: str, number: int) -> Response:
    """One operation: why it stands where it stands, steps, plans, votes."""
    return shown(await operation_view(visitor, f"{team}/{name}/op/{number}"), visitor)


async def operation_view(visitor: Visitor, operation_id: str) -> View:
    """The view of an operation, `TEAM/NAME/op/NUMBER`."""
    document = await visitor.bond.operations.get(operation_id)
    target = await operation_target(visitor, document)
    visitor.permissions.decide("operation.read", target).require()
    try:
        plans = await visitor.bond.operations.plans(operation_id)
    except BondError:
        plans = []  # there is none yet
    votes = [(approval.step, vote) for approval in document.approvals for vote in approval.votes]
    return View(
        "operation.html", "/services", live=address(operation_id), operation=document, plans=plans, votes=votes,
        sentence=sentence(explain_operation(document, ReadingTime())), retries=await _retries(visitor, document),
        may=may(visitor, target, "approval.approve", "service.cancel", "service.retry", "operation.logs"),
        graph=step_graph(
            document.steps, await _needs(visitor, document), datetime.now(UTC),
            backwards=document.kind is OperationKind.DECOMMISSION,
        ),
    )  # fmt: skip


async def _needs(visitor: Visitor, document: OperationDocument) -> dict[str, tuple[str, ...]]:
    """By step, the steps that it needs, as the revision declares them."""
    promise, _, version = document.revision.partition("@")
    try:
        declared = (await visitor.bond.promises.get(promise, version)).steps
    except BondError:
        return {}  # the page is worth showing without arrows
    return {step.id: step.needs for step in declared}


async def _retries(visitor: Visitor, document: OperationDocument) -> bool:
    """Whether `retry` would run this operation again: it failed, and is the service's last change."""
    if document.status != OperationStatus.FAILED:
        return False
    try:
        service = await visitor.bond.services.get(document.service)
    except BondError:
        return False  # it is gone
    last = next((each for each in service.operations if not each.dry_run), None)
    return last is not None and last.id == document.id and _fits(service, "retry")


async def operation_target(visitor: Visitor, document: OperationDocument) -> Target:
    """An operation as access documents see it: its service, also one that is gone."""
    try:
        return target_of(await visitor.bond.services.get(document.service))
    except BondError:
        return Target(
            team=document.service.partition("/")[0],
            promise=document.revision.partition("@")[0],
            name=document.service,
        )


@router.post("/services/{team}/{name}/operations/{number}/vote")
async def vote(request: Request, visitor: Visit, team: str, name: str, number: int) -> Response:
    """Approve or reject one exact plan, in the roles that the access document gives here."""
    submitted = await form_of(request, visitor)
    operation_id = f"{team}/{name}/op/{number}"
    target = await operation_target(visitor, await visitor.bond.operations.get(operation_id))
    word = "approve" if submitted.get("vote") == "approve" else "reject"
    inbox = submitted.get("back", "") if submitted.get("back", "").startswith(f"{INBOX}?") else ""
    step, digest, comment = (submitted.get(key, "") for key in ("step", "digest", "comment"))
    decision = visitor.permissions.decide(f"approval.{word}", target).require()
    roles = visitor.votes(decision, submitted.get("roles", ""))
    if word == "approve":
        await visitor.bond.approvals.approve(operation_id, digest, step=step, roles=roles, comment=comment)
    else:
        why = comment or "rejected in the console"
        await visitor.bond.approvals.reject(operation_id, digest, step=step, roles=roles, reason=why)
    return to(f"{inbox}&voted={quote(operation_id)}" if inbox else address(operation_id))


@router.post("/services/{team}/{name}/operations/{number}/cancel")
async def cancel(request: Request, visitor: Visit, team: str, name: str, number: int) -> Response:
    """Cancel the operation."""
    await form_of(request, visitor)
    operation_id = f"{team}/{name}/op/{number}"
    target = await operation_target(visitor, await visitor.bond.operations.get(operation_id))
    visitor.permissions.decide("service.cancel", target).require()
    await visitor.bond.operations.cancel(operation_id)
    return to(address(operation_id))
