"""Whether a request is really one that a campaign makes: by what is kept of the campaign, not by who says so."""

from __future__ import annotations

from bondstone.base.errors import AttestationInvalid, InvalidInput
from bondstone.base.names import campaign_request_id
from bondstone.campaign.messages import submission
from bondstone.model.campaign.events import Submit
from bondstone.model.service import Request, ServiceId
from bondstone.store import Store


async def check_campaign_request(store: Store, service: ServiceId, request: Request) -> None:
    """Refuse a request that no campaign makes of this service.

    The campaign's own attestation was checked when its targets were chosen; here it is enough that the request
    carries the same, and asks what the campaign asks of this target.

    Raises:
        AttestationInvalid: saying what does not fit.
    """
    where = f"{service} by campaign {request.campaign}"
    header = await store.campaigns.header(request.campaign)
    if (
        header.frozen is None
        or header.start.attestation is None
        or header.start.attestation != request.attestation
    ):
        raise AttestationInvalid("the campaign was not started with this attestation", where=where)
    target, attempt = _numbers(request)
    page_size = header.frozen.rules.page_size
    entries = await store.campaigns.page(request.campaign, target // page_size)
    entry = entries[target % page_size] if target % page_size < len(entries) else None
    if entry is None or entry.service != str(service):
        raise AttestationInvalid("the service is not that target of the campaign", where=where)
    if not any(
        _same(request, variant)
        for rollback in (False, True)
        for variant in _variants(
            submission(
                request.campaign,
                header.start.requested_by,
                header.frozen.job,
                Submit(target=target, attempt=attempt, rollback=rollback),
                entry,
                attestation=header.start.attestation,
            ).request
        )
    ):
        raise AttestationInvalid("the campaign requested something else of the service", where=where)


def _numbers(request: Request) -> tuple[int, int]:
    """Target and attempt, from the request's id."""
    parts = request.request_id.split("/")
    try:
        target, attempt = int(parts[-2]), int(parts[-1])
    except (IndexError, ValueError):
        raise InvalidInput(f"{request.request_id!r} is not a request id of a campaign") from None
    if request.request_id != campaign_request_id(request.campaign, target, attempt):
        raise InvalidInput(f"{request.request_id!r} is not a request id of the campaign {request.campaign}")
    return target, attempt


def _variants(request: Request) -> tuple[Request, Request]:
    """The request, and what a service makes of it when an attempt before got half-way: see `submitted.answer`."""
    return request, request.changed(retry=True, promise="", version="", inputs={})


def _same(one: Request, other: Request) -> bool:
    return one.changed(trace="") == other.changed(trace="")
