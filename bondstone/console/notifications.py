"""Notifications: who is told of what, what was sent, and what did not arrive."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from bondstone.api.state import State
from bondstone.base.errors import InvalidInput
from bondstone.console.pages import View, form_of, shown, to
from bondstone.console.session import Visit
from bondstone.model.notification import DeliverCall, EventSource
from bondstone.temporal.announcing import deliver
from bondstone.temporal.deliveries import deliver_again, list_deliveries

PATH: Final = "/notifications"
STATUSES: Final = ("pending", "delivered", "failed")

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def notifications(
    visitor: Visit,
    state: State,
    *,
    receiver: Annotated[str, Query(max_length=48)] = "",
    status: Literal["", "pending", "delivered", "failed"] = "",
) -> Response:
    """Every receiver, and the deliveries to one of them or to all, the newest first."""
    visitor.permissions.decide("notification.read").require()
    receivers = await state.store.notifications.list()
    known = receiver if receiver in {each.name for each in receivers} else ""
    view = View(
        "notifications.html", "/platform", receivers=[(each, urlsplit(each.url).netloc) for each in receivers],
        deliveries=await list_deliveries(state.temporal, known, status), receiver=known, status=status,
        statuses=STATUSES, may_test=visitor.permissions.decide("notification.test").allowed,
        may_retry=visitor.permissions.decide("notification.retry").allowed,
    )  # fmt: skip
    return shown(view, visitor)


@router.post(f"{PATH}/{{name}}")
async def act(request: Request, visitor: Visit, state: State, name: str) -> Response:
    """Send a receiver a test, or send again what did not arrive."""
    submitted = await form_of(request, visitor)
    verb = submitted.get("verb", "")
    if verb not in {"test", "retry"}:
        raise InvalidInput(f"{verb[:40]!r} is not an action on a receiver")
    visitor.permissions.decide(f"notification.{verb}").require()
    await state.store.notifications.get(name)
    if verb == "retry":
        await deliver_again(state.temporal, name, submitted.get("event", ""))
    else:
        now = datetime.now(UTC)
        event = f"test/{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        source = EventSource(kind="test", id=event, by=visitor.name, at=now)
        await deliver(state.temporal, DeliverCall(subscription=name, source=source))
    return to(f"{PATH}?receiver={name}")
