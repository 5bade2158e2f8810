"""`/api/v1/services`: instances of promises."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, status
from starlette.responses import Response

from bondstone.api.events.fleet import FleetDocument, changes, counted, moment_of
from bondstone.api.events.streams import answer, states
from bondstone.api.events.watchers import Seen
from bondstone.api.index.services import SORTS, Entry, Place
from bondstone.api.pages import DEFAULT_LIMIT, Cursors, CursorText, Limit, cut
from bondstone.api.parameters import (
    Name,
    OperationBody,
    Team,
    Why,
)
from bondstone.api.repeats import ApiRoute
from bondstone.api.routes.service_bodies import (
    AcceptedDocument,
    AdoptBody,
    LabelsBody,
    PatchBody,
    ReconcileBody,
    RequestBody,
    UpdateBody,
    UpgradeBody,
    accepted,
)
from bondstone.api.session import (
    Asking,
    CallSession,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    LastEventId,
    WaitSeconds,
    body_of,
    tag,
    tagged,
    target_of,
)
from bondstone.base.errors import CursorInvalid, InvalidInput
from bondstone.base.models import Document
from bondstone.client.documents.service import ArchivedDocument, RecordDocument, ServiceDocument
from bondstone.client.row_filter import values_filter
from bondstone.model.identity import Target
from bondstone.model.service import Phase
from bondstone.model.service_row import ServiceRow

router = APIRouter(tags=["services"], route_class=ApiRoute)

Sort = Literal[
    "id", "-id", "phase", "-phase", "promise", "-promise", "changed_at", "-changed_at", "created_at", "-created_at"
]
_TIMES: Final = frozenset({"changed_at", "created_at"})
MAX_WHERE_CHARS = 2000


class ServicePage(Document):
    """A page of services."""

    items: tuple[ServiceRow, ...]
    next: str | None = None
    """Cursor of the next page; null on the last"""


@router.get("/services")
async def list_services(
    asking: Asking,
    *,
    team: Annotated[str, Query(max_length=48)] = "",
    promise: Annotated[str, Query(max_length=48)] = "",
    phase: Phase | None = None,
    label: Annotated[Sequence[str], Query(max_length=20, description="KEY=VALUE; all must fit")] = (),
    where: Annotated[str, Query(max_length=MAX_WHERE_CHARS, description="CEL, as of `bond service list`")] = "",
    ended: Annotated[bool, Query(description="Also those that are decommissioned")] = False,
    sort: Sort = "id",
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = "",
) -> ServicePage:
    """List services: those the caller may see, a page at a time."""
    labels = _labels(label)
    expression = values_filter(where)
    chosen = {"team": team, "promise": promise, "phase": phase, "labels": labels, "where": where, "ended": ended}
    cursors = Cursors(list="services", sort=sort, **chosen)
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    after = _place(cursors.decode(cursor), by)
    permitted = asking.allowed.filter("service.read")
    index = asking.state.services
    await index.ready(asking.allowed.principal.subject)

    def shown(entry: Entry) -> bool:
        row = entry.row
        return (
            (ended or entry.alive)
            and (not team or row.team == team)
            and (not promise or row.promise == promise)
            and (not phase or row.phase == phase)
            and labels.items() <= row.labels.items()
            and permitted(entry.target)
            and (not where or expression(entry.values))
        )

    placed = index.sorted_by(by, descending=descending, after=after)
    page, following = cut((item for item in placed if shown(item[1])), limit, cursors, lambda item: item[0])
    return ServicePage(items=tuple(entry.row for _, entry in page), next=following)


@router.get("/fleet", tags=["fleet"])
async def show_fleet(asking: Asking) -> FleetDocument:
    """Count the services that the caller may see, by phase, team, promise and health."""
    await asking.state.services.ready(asking.allowed.principal.subject)
    everywhere = asking.allowed.decide("service.read").allowed
    return counted(asking.state.services, None if everywhere else asking.allowed.filter("service.read"))


@router.get("/fleet/events", tags=["fleet"], response_class=Response)
async def follow_fleet(asking: Asking, last_event_id: LastEventId = "") -> Response:
    """Follow the fleet: `fleet` with the counts, `service` for each that changes."""
    since = moment_of(last_event_id)
    index = asking.state.services
    await index.ready(asking.allowed.principal.subject)
    permitted, everywhere = asking.allowed.filter("service.read"), asking.allowed.decide("service.read").allowed
    events = changes(index, permitted, everywhere=everywhere, since=since)
    return answer(asking.state.watchers, events, last_event_id)


@router.post("/services", status_code=status.HTTP_202_ACCEPTED)
async def request_service(
    asking: Asking, body: RequestBody, response: Response, key: IdempotencyKey = "", wait: WaitSeconds = 0
) -> AcceptedDocument:
    """Request a service; the answer is the operation that provisions it."""
    target = Target(
        team=body.service.partition("/")[0], promise=body.promise, labels=body.labels, name=body.service
    )
    asking.require("service.request", target)
    operation = await asking.bond.services.request(
        body.promise,
        body.service,
        body.inputs,
        version=body.version,
        labels=body.labels,
        on_failure=body.on_failure,
        **_options(body, key),
    )
    return await accepted(asking, operation, response, wait)


@router.post("/services/adopt", status_code=status.HTTP_202_ACCEPTED)
async def adopt_service(
    asking: Asking, body: AdoptBody, response: Response, key: IdempotencyKey = "", wait: WaitSeconds = 0
) -> AcceptedDocument:
    """Request a service around Terraform states that exist; a first plan that is not empty waits for approval."""
    target = Target(
        team=body.service.partition("/")[0], promise=body.promise, labels=body.labels, name=body.service
    )
    asking.require("service.adopt", target)
    operation = await asking.bond.services.adopt(
        body.promise,
        body.service,
        {step: _decoded(step, text) for step, text in body.states.items()},
        body.inputs,
        version=body.version,
        labels=body.labels,
        request_id=key or None,
        reason=body.reason,
    )
    return await accepted(asking, operation, response, wait)


@router.get("/services/{team}/{name}", response_model=ServiceDocument)
async def show_service(asking: Asking, team: Team, name: Name, if_none_match: IfNoneMatch = "") -> Response:
    """Show one service."""
    return tagged(await _readable(asking, f"{team}/{name}"), if_none_match)


@router.get("/services/{team}/{name}/events", response_class=Response)
async def follow_service(asking: Asking, team: Team, name: Name, last_event_id: LastEventId = "") -> Response:
    """Follow one service: an event `service` for each state of it, `end` when it is gone."""
    service = f"{team}/{name}"
    await _readable(asking, service)

    async def read() -> Seen:
        document = await asking.bond.services.get(service)
        body = body_of(document)
        gone = document.phase in {Phase.DECOMMISSIONED, Phase.ABANDONED}
        return Seen(tag(body).strip('"'), "service", body.decode(), final=gone)

    watchers = asking.state.watchers
    return answer(watchers, states(watchers, f"service/{service}", read, last_event_id), last_event_id)


@router.get("/services/{team}/{name}/outputs")
async def show_outputs(asking: Asking, team: Team, name: Name, *, reveal: bool = False) -> dict[str, Any]:
    """Show what a service gives; secret outputs are masked unless they are to be revealed."""
    service = f"{team}/{name}"
    await asking.require_service("service.reveal" if reveal else "service.read", service)
    return await asking.bond.services.outputs(service, reveal=reveal)


@router.get("/services/{team}/{name}/history")
async def show_history(asking: Asking, team: Team, name: Name) -> list[RecordDocument]:
    """Show the ledger of a service, oldest first, also when it is long gone."""
    asking.require("service.history", _name_target(asking, f"{team}/{name}"))
    return await asking.bond.services.history(f"{team}/{name}")


@router.get("/services/{team}/{name}/archive")
async def list_archive(asking: Asking, team: Team, name: Name) -> list[ArchivedDocument]:
    """List what was archived when services of this name ended."""
    asking.require("state.log", _name_target(asking, f"{team}/{name}"))
    return await asking.bond.services.list_archive(f"{team}/{name}")


@router.get("/services/{team}/{name}/archive/{item:path}", response_class=Response)
async def read_archive(asking: Asking, team: Team, name: Name, item: str) -> Response:
    """Read one archived object, in plain."""
    asking.require("state.pull", _name_target(asking, f"{team}/{name}"))
    content = await asking.bond.services.read_archive(f"{team}/{name}", item)
    return Response(content, media_type="application/octet-stream")


@router.post("/services/{team}/{name}/update", status_code=status.HTTP_202_ACCEPTED)
async def update_service(
    asking: Asking, team: Team, name: Name, body: UpdateBody, response: Response, *,
    key: IdempotencyKey = "", if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Change inputs at the same revision."""
    asking, service = await _changeable(asking, "service.update", f"{team}/{name}", if_match)
    request = asking.bond.services.update(service, body.inputs, **_options(body, key))
    return await accepted(asking, await request, response, wait)


@router.post("/services/{team}/{name}/patch", status_code=status.HTTP_202_ACCEPTED)
async def patch_service(
    asking: Asking, team: Team, name: Name, body: PatchBody, response: Response, *,
    key: IdempotencyKey = "", if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Move to a newer revision of the same major and minor version."""
    asking, service = await _changeable(asking, "service.patch", f"{team}/{name}", if_match)
    request = asking.bond.services.patch(service, to=body.to, **_options(body, key))
    return await accepted(asking, await request, response, wait)


@router.post("/services/{team}/{name}/upgrade", status_code=status.HTTP_202_ACCEPTED)
async def upgrade_service(
    asking: Asking, team: Team, name: Name, body: UpgradeBody, response: Response, *,
    key: IdempotencyKey = "", if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Move to a newer minor or major version."""
    asking, service = await _changeable(asking, "service.upgrade", f"{team}/{name}", if_match)
    request = asking.bond.services.upgrade(service, to=body.to, inputs=body.inputs or None, **_options(body, key))
    return await accepted(asking, await request, response, wait)


@router.post("/services/{team}/{name}/rollback", status_code=status.HTTP_202_ACCEPTED)
async def rollback_service(
    asking: Asking, team: Team, name: Name, body: OperationBody, response: Response, *,
    key: IdempotencyKey = "", if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Go back to the last revision and inputs that were healthy."""
    asking, service = await _changeable(asking, "service.rollback", f"{team}/{name}", if_match)
    return await accepted(
        asking, await asking.bond.services.rollback(service, **_options(body, key)), response, wait
    )


@router.post("/services/{team}/{name}/reconcile", status_code=status.HTTP_202_ACCEPTED)
async def reconcile_service(
    asking: Asking, team: Team, name: Name, body: ReconcileBody, response: Response, *,
    key: IdempotencyKey = "", if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Look for drift; with `repair` undo it."""
    asking, service = await _changeable(asking, "service.reconcile", f"{team}/{name}", if_match)
    request = asking.bond.services.reconcile(service, repair=body.repair, parts=body.parts, **_options(body, key))
    return await accepted(asking, await request, response, wait)


@router.post("/services/{team}/{name}/decommission", status_code=status.HTTP_202_ACCEPTED)
async def decommission_service(
    asking: Asking, team: Team, name: Name, body: OperationBody, response: Response, *,
    key: IdempotencyKey = "", if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Destroy what a service is made of."""
    asking, service = await _changeable(asking, "service.decommission", f"{team}/{name}", if_match)
    request = asking.bond.services.decommission(service, **_options(body, key))
    return await accepted(asking, await request, response, wait)


@router.post("/services/{team}/{name}/retry", status_code=status.HTTP_202_ACCEPTED)
async def retry_service(
    asking: Asking, team: Team, name: Name, body: Why, response: Response, *,
    key: IdempotencyKey = "", if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Run the last failed operation again, from the step that failed."""
    asking, service = await _changeable(asking, "service.retry", f"{team}/{name}", if_match)
    request = asking.bond.services.retry(service, reason=body.reason, request_id=key or None)
    return await accepted(asking, await request, response, wait)


@router.post("/services/{team}/{name}/cancel", status_code=status.HTTP_202_ACCEPTED)
async def cancel_service(
    asking: Asking, team: Team, name: Name, body: Why, response: Response, *,
    if_match: IfMatch = "", wait: WaitSeconds = 0,
) -> AcceptedDocument:  # fmt: skip
    """Cancel the operation that runs, else the next that waits."""
    asking, service = await _changeable(asking, "service.cancel", f"{team}/{name}", if_match)
    return await accepted(asking, await asking.bond.services.cancel(service, reason=body.reason), response, wait)


@router.post("/services/{team}/{name}/pause")
async def pause_service(
    asking: Asking, team: Team, name: Name, body: Why, if_match: IfMatch = ""
) -> ServiceDocument:
    """Let a service start nothing by itself."""
    asking, service = await _changeable(asking, "service.pause", f"{team}/{name}", if_match)
    return await asking.bond.services.pause(service, reason=body.reason)


@router.post("/services/{team}/{name}/resume")
async def resume_service(
    asking: Asking, team: Team, name: Name, body: Why, if_match: IfMatch = ""
) -> ServiceDocument:
    """Let a service work by itself again."""
    asking, service = await _changeable(asking, "service.resume", f"{team}/{name}", if_match)
    return await asking.bond.services.resume(service, reason=body.reason)


@router.post("/services/{team}/{name}/abandon")
async def abandon_service(
    asking: Asking, team: Team, name: Name, body: Why, if_match: IfMatch = ""
) -> ServiceDocument:
    """Forget a service and destroy nothing."""
    asking, service = await _changeable(asking, "service.abandon", f"{team}/{name}", if_match)
    return await asking.bond.services.abandon(service, reason=body.reason)


@router.post("/services/{team}/{name}/labels")
async def label_service(
    asking: Asking, team: Team, name: Name, body: LabelsBody, if_match: IfMatch = ""
) -> dict[str, str]:
    """Set and remove labels; the answer is all that the service has then."""
    asking, service = await _changeable(asking, "service.label", f"{team}/{name}", if_match)
    after = asking.allowed.decide("service.label", _labelled(await asking.target(service), body))
    after.require()  # nobody labels a service out of or into a scope that is not theirs
    return await asking.bond.services.set_labels(service, body.set, remove=body.remove, applied=body.applied)


# Helpers ----------------------------------------------------------------------------------------------------


async def _readable(asking: CallSession, service: str) -> ServiceDocument:
    document = await asking.bond.services.get(service)
    asking.require("service.read", target_of(document))
    return document


async def _changeable(asking: CallSession, verb: str, service: str, if_match: str) -> tuple[CallSession, str]:
    """The session and the service, once the caller may do that to it; see `CallSession.expecting`."""
    await asking.require_service(verb, service)
    return await asking.expecting(service, if_match), service


def _name_target(asking: CallSession, service: str) -> Target:
    """What access documents see of a name that may be nobody's any more: its team, and what is known besides."""
    entry = asking.state.services.get(service)
    return entry.target if entry is not None else Target(team=service.partition("/")[0], name=service)


def _labelled(target: Target, body: LabelsBody) -> Target:
    labels = {key: value for key, value in (target.labels | body.set).items() if key not in body.remove}
    return target.changed(labels=labels)


def _options(body: OperationBody, key: str) -> Any:
    return {
        "reason": body.reason,
        "dry_run": body.dry_run,
        "ask": body.ask,
        "applied": body.applied,
        "request_id": key or None,
    }


def _decoded(step: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidInput(
            f"the state of step {step!r} is not base64",
            where=f"states.{step}",
            hint="send what `base64 -w0 FILE` prints",
        ) from None


def _labels(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    wrong = next((key for key, equals, _ in pairs if not equals or not key), None)
    if wrong is not None:
        raise InvalidInput(
            f"the label {wrong[:80]!r} is not KEY=VALUE", where="label", hint="as in label=tier=data"
        )
    return {key: value for key, _, value in pairs}


def _place(place: Any, by: str) -> Place | None:
    match place:
        case None:
            return None
        case [str() | float() as key, str(name)] if isinstance(key, float) == (by in _TIMES) and by in SORTS:
            return key, name
    raise CursorInvalid("that is not a cursor of this list", where="cursor", hint="send `next` of the page before")
