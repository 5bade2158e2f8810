"""What a caller was refused, counted by the hour: who, what, why, how often."""

from __future__ import annotations

from datetime import datetime

from bondstone.base.models import Wire


class Refusal(Wire):
    """Refusals of one kind to one caller within one hour."""

    hour: datetime
    """When the hour began, UTC."""
    by: str
    """The caller's subject; empty for a caller that the platform does not know."""
    means: str = ""
    """How the caller proved who it is; empty as above."""
    verb: str
    """As in `service.update`; where no verb was reached, method and route: `GET /api/v1/whoami`."""
    target: str = ""
    """As in `payments/orders`; empty where the refusal is about the caller alone."""
    team: str = ""
    """Of the target."""
    promise: str = ""
    """Of the target."""
    code: str
    """Of the error, as in `FORBIDDEN`."""
    message: str
    """Of the last one; empty for a caller that the platform does not know."""
    count: int
    first_at: datetime
    last_at: datetime

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What is counted together."""
        return (self.hour.isoformat(), self.by, self.verb, self.target, self.code)

    def plus(self, other: Refusal) -> Refusal:
        """Both counted together; the words are those of the later one."""
        later = max(self, other, key=lambda each: each.last_at)
        return later.changed(
            count=self.count + other.count,
            first_at=min(self.first_at, other.first_at),
        )


class RefusalHour(Wire):
    """What one API process counted in one hour."""

    refusals: tuple[Refusal, ...] = ()
