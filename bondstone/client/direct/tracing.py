"""What the client asks, in a trace: that of the command, or of whatever program uses the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bondstone.base.tracing import spans
from bondstone.model.service import Request

if TYPE_CHECKING:
    from bondstone.model.campaign.run import CampaignInput  # most clients start no campaign


@contextmanager
def asking(service: str, request: Request) -> Iterator[Request]:
    """Trace the sending of a request; gives the request as it is to be sent.

    Args:
        service: `TEAM/NAME`.
        request: Without its trace.
    """
    about = {"bond.service": service, "bond.kind": str(request.kind), "bond.promise": request.promise}
    with spans.span("Bondstone.request", about, kind="CLIENT"):
        yield request.changed(trace=spans.here())


@contextmanager
def starting(campaign: str, start: CampaignInput) -> Iterator[CampaignInput]:
    """Trace the start of a campaign; gives its argument as it is to be sent.

    Args:
        campaign: Its name.
        start: Without its trace.
    """
    with spans.span("Bondstone.start_campaign", {"bond.campaign": campaign}, kind="CLIENT"):
        yield start.changed(trace=spans.here())
