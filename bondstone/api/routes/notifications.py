"""`/api/v1/notifications`: who is told of what happens, and whether it arrived."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, status
from pydantic import Field

from bondstone.api.parameters import ThingName
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import InvalidInput
from bondstone.base.models import Document, Manifest
from bondstone.base.names import NAME_PATTERN
from bondstone.model.notification import DeliverCall, EventSource, Kind, Subscription
from bondstone.temporal.announcing import deliver
from bondstone.temporal.deliveries import DeliveryDocument, deliver_again, list_deliveries

router = APIRouter(prefix="/notifications", tags=["notifications"], route_class=ApiRoute)

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_URL_CHARS: Final = 2000
_TEST_CHARS: Final = 16


class SubscriptionBody(Manifest):
    """A receiver that is to be told."""

    name: str = Field(pattern=NAME_PATTERN)
    url: str = Field(max_length=MAX_URL_CHARS)
    """Where messages are sent by POST; `https://`, or `http://` on loopback"""
    kinds: Annotated[tuple[Kind, ...], Field(max_length=10)] = ()
    """Of what; empty for all"""
    teams: Annotated[tuple[Annotated[str, Field(pattern=NAME_PATTERN)], ...], Field(max_length=100)] = ()
    """Of which teams; empty for all"""


class SubscriptionDocument(Document):
    """A receiver."""

    name: str
    url: str
    kinds: tuple[Kind, ...]
    teams: tuple[str, ...]
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, subscription: Subscription) -> SubscriptionDocument:
        """From what is kept of it."""
        return cls(**dict(subscription))


class NewSubscriptionDocument(SubscriptionDocument):
    """A receiver that was added."""

    secret: str
    """What its messages are signed with; shown this once"""


class StartedDocument(Document):
    """A delivery that was started."""

    workflow: str
    """Id of its workflow in Temporal"""
    event: str


class RetryBody(Manifest):
    """A delivery that is tried again."""

    event: str = Field(min_length=1, max_length=300)
    """Id of the event, as the list of deliveries says it"""


@router.get("")
async def list_subscriptions(asking: Asking) -> list[SubscriptionDocument]:
    """List who is told of what."""
    asking.require("notification.read")
    return [SubscriptionDocument.of(each) for each in await asking.state.store.notifications.list()]


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_subscription(asking: Asking, body: SubscriptionBody) -> NewSubscriptionDocument:
    """Tell a receiver; the secret that its messages are signed with is shown this once."""
    asking.require("notification.manage")
    _check(body.url)
    subscription = Subscription(
        **dict(body), created_by=asking.allowed.principal.subject, created_at=datetime.now(UTC)
    )
    secret = await asking.state.store.notifications.create(subscription)
    return NewSubscriptionDocument(**dict(SubscriptionDocument.of(subscription)), secret=secret)


@router.get("/deliveries")
async def list_notification_deliveries(
    asking: Asking,
    subscription: Annotated[str, Query(pattern=f"^$|{NAME_PATTERN}")] = "",
    state: Literal["", "pending", "delivered", "failed"] = "",
) -> list[DeliveryDocument]:
    """List what was sent, is on its way or did not arrive, the newest first."""
    asking.require("notification.read")
    return await list_deliveries(asking.state.temporal, subscription, state)


@router.post("/{name}/test", status_code=status.HTTP_202_ACCEPTED)
async def test_subscription(asking: Asking, name: ThingName) -> StartedDocument:
    """Send a receiver a test."""
    asking.require("notification.test")
    await asking.state.store.notifications.get(name)
    now = datetime.now(UTC)
    by = asking.allowed.principal.subject
    again = digest(canonical([by, name, asking.key]))[:_TEST_CHARS]
    event = f"test/{again}" if asking.key else f"test/{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    source = EventSource(kind="test", id=event, by=by, at=now)
    workflow = await deliver(asking.state.temporal, DeliverCall(subscription=name, source=source))
    return StartedDocument(workflow=workflow, event=event)


@router.post("/{name}/retry", status_code=status.HTTP_202_ACCEPTED)
async def retry_delivery(asking: Asking, name: ThingName, body: RetryBody) -> StartedDocument:
    """Send an event again that did not arrive."""
    asking.require("notification.retry")
    await asking.state.store.notifications.get(name)
    workflow = await deliver_again(asking.state.temporal, name, body.event)
    return StartedDocument(workflow=workflow, event=body.event)


@router.delete("/{name}")
async def delete_subscription(asking: Asking, name: ThingName) -> SubscriptionDocument:
    """Tell a receiver no more; what is on its way to it ends."""
    asking.require("notification.manage")
    return SubscriptionDocument.of(await asking.state.store.notifications.delete(name))


def _check(url: str) -> None:
    """Refuse an address that messages are not sent to.

    Raises:
        InvalidInput: with the reason.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in {"https", "http"} or parts.username or parts.fragment:
        raise InvalidInput("that is not an address to send to", where="url", hint="write https://HOST/PATH")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise InvalidInput("messages are sent over TLS only", where="url", hint="write https://")
