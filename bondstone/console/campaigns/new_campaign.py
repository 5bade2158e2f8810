"""A new campaign by a form: every field of its file, a preview first, and the file that it makes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from bondstone.api.campaign_access import on_every_target, previewed
from bondstone.api.state import ApiState, State
from bondstone.base.canonical import digest
from bondstone.base.errors import BondError, ErrorInfo, InvalidInput
from bondstone.client.documents.campaign import PreviewDocument
from bondstone.console.campaigns import manifest_form
from bondstone.console.campaigns.campaigns import FILE, require_targets, to_campaign
from bondstone.console.campaigns.manifest_form import Form
from bondstone.console.pages import View, form_of, items_of, shown
from bondstone.console.session import Visit, Visitor
from bondstone.terminal.output import as_yaml

PATH: Final = "/new-campaign"
MAX_TICKED: Final = 500
_UNSAID: Final = "(required before it starts)"
"""The reason of a preview of services that were just ticked."""

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def begin(
    visitor: Visit,
    state: State,
    promise: Annotated[str, Query(max_length=48)] = "",
    where: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """The form: empty, or over the services of a list, where it comes from one."""
    visitor.permissions.require_somewhere("campaign.preview")
    form = manifest_form.beginning(datetime.now(UTC), promise=promise, where=where)
    return shown(await _view(visitor, state, form), visitor)


@router.post(PATH)
async def submit(request: Request, visitor: Visit, state: State) -> Response:
    """Add or remove a row, preview, or start what was previewed; mistakes are shown with their file."""
    form = await form_of(request, visitor)
    verb = form.get("do", "")
    visitor.permissions.require_somewhere("campaign.preview")
    changed = manifest_form.with_rows(form, verb)
    if changed is not None:
        return shown(await _view(visitor, state, changed), visitor)
    if verb not in {"preview", "run"}:
        raise InvalidInput(f"{verb[:40]!r} is not an action on a new campaign")
    source = ""
    try:
        source = as_yaml(manifest_form.manifest(form))
        if verb == "run" and form.get("previewed") == digest(source.encode()):
            await require_targets(visitor, state, source.encode())
            started = await visitor.bond.campaigns.run(source.encode(), FILE)
            return to_campaign(started)
        preview = await previewed(visitor.permissions, visitor.bond, source=source.encode(), file=FILE)
    except BondError as error:
        return shown(await _view(visitor, state, form, source=source, error=error.info()), visitor, error)
    return shown(await _view(visitor, state, form, source=source, preview=preview, again=verb == "run"), visitor)


@router.post(f"{PATH}/selected")
async def selected(request: Request, visitor: Visit, state: State) -> Response:
    """The form over services that were ticked in a list, with a preview of it."""
    items = await items_of(request, visitor)
    visitor.permissions.require_somewhere("campaign.preview")
    services = list(dict.fromkeys(value for name, value in items if name == "service"))[:MAX_TICKED]
    operation = dict(items).get("operation", "patch")
    if not services:
        raise InvalidInput(
            "no service was ticked, so there is nothing to do", hint="tick some in the list of services"
        )
    permitted = visitor.permissions.filter("campaign.preview")
    entries = [state.services.get(name) for name in services]
    promises = sorted({entry.row.promise for entry in entries if entry is not None and permitted(entry.target)})
    form = manifest_form.beginning(
        datetime.now(UTC),
        operation=operation,
        promise=promises[0] if len(promises) == 1 else "",
        include=services,
    )
    if len(promises) > 1 and operation in {"patch", "upgrade", "update"}:
        error = InvalidInput(
            f"the ticked services are of several promises: {', '.join(promises)}",
            hint="tick services of one promise, or choose another operation",
        )
        return shown(await _view(visitor, state, form, error=error.info()), visitor, error)
    source = as_yaml(manifest_form.manifest({**form, "reason": _UNSAID}))
    try:
        preview = await previewed(visitor.permissions, visitor.bond, source=source.encode(), file=FILE)
    except BondError as error:
        return shown(await _view(visitor, state, form, source=source, error=error.info()), visitor, error)
    return shown(await _view(visitor, state, form, source=source, preview=preview, unsaid=True), visitor)


async def _view(
    visitor: Visitor,
    state: ApiState,
    form: Form,
    *,
    source: str = "",
    error: ErrorInfo | None = None,
    preview: PreviewDocument | None = None,
    again: bool = False,
    unsaid: bool = False,
) -> View:
    """The form with what was typed.

    Args:
        visitor: Who looks.
        state: Of the process.
        form: What was typed.
        source: The file that it makes.
        error: What is wrong with it.
        preview: What it would do.
        again: It was to be started, and had changed since its preview.
        unsaid: It was previewed without a reason, which it needs to start.
    """
    promises = [(row.promise, row.promise) for row in await visitor.bond.promises.list()]
    permissions = visitor.permissions
    may_run = False
    if preview is not None and not unsaid:
        decision = await on_every_target(
            state, permissions, visitor.bond, "campaign.run", source=source.encode(), file=FILE
        )
        may_run = decision.allowed
    return View(
        "new_campaign.html", "/campaigns", form=form, operations=manifest_form.OPERATIONS,
        promises=promises, waves=manifest_form.rows(form, "wave"), windows=manifest_form.rows(form, "window"),
        source=source, lines=source.splitlines() if error else [], error=error, preview=preview, again=again,
        unsaid=unsaid, previewed=digest(source.encode()) if may_run else "",
    )  # fmt: skip
