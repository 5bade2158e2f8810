"""Where notifications go, and what is told: CloudEvents 1.0, signed as the Standard Webhooks specification says.

An event is not kept: it is made again of what is kept (a ledger record, the operation that waits), so whoever
reaches Temporal can have something told again, and cannot have anything told that did not happen.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from bondstone.base.models import Wire

Kind: TypeAlias = Literal["approval", "operation", "campaign", "drift", "denial", "test"]
KINDS: Final[dict[Kind, str]] = {
    "approval": "a plan waits for people",
    "operation": "an operation has ended",
    "campaign": "a campaign has ended",
    "drift": "a drift check has found some",
    "denial": "a policy has denied a plan",
    "test": "a test of the subscription",
}
"""What is told of, in words."""


class Subscription(Wire):
    """One receiver. Its secret is kept apart, sealed."""

    name: str
    url: str
    kinds: tuple[Kind, ...] = ()
    """Empty: all."""
    teams: tuple[str, ...] = ()
    """Empty: all; a campaign belongs to no team."""
    created_by: str
    created_at: datetime

    def wants(self, kind: Kind, team: str) -> bool:
        """Whether an event is for this receiver."""
        return kind == "test" or (
            (not self.kinds or kind in self.kinds) and (not self.teams or team in self.teams)
        )


class EventSource(Wire):
    """What an event is made of."""

    kind: Kind
    id: str
    """Of the event: the same thing has the same id, however often it is told."""
    ledger_key: str = ""
    """Of `operation`, `drift` and `denial`: the record."""
    operation: str = ""
    """Of `approval`: TEAM/NAME/op/N."""
    digest: str = ""
    """Of `approval`: the plan."""
    campaign: str = ""
    by: str = ""
    """Of `test`: who tries."""
    at: datetime | None = None


class DeliverCall(Wire):
    """Input of the workflow `Notification` and of `notification.deliver`."""

    subscription: str
    source: EventSource


class Delivered(Wire):
    """How it ended."""

    status: int = 0
    """Of the receiver's answer; 0 where nothing had to be sent any more."""
    words: str = ""


def cloud_event(source: EventSource, *, subject: str, time: datetime, data: dict[str, Any]) -> dict[str, Any]:
    """An event in the JSON format of CloudEvents 1.0.

    Args:
        source: What it is made of.
        subject: What it is about: `payments/orders/op/7`.
        time: When that happened.
        data: What is said of it.
    """
    return {
        "specversion": "1.0",
        "id": source.id,
        "source": "/bondstone",
        "type": f"dev.bondstone.{source.kind}",
        "subject": subject,
        "time": time.isoformat(),
        "datacontenttype": "application/json",
        "data": data,
    }
