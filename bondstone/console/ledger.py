"""The ledger: searched by team, person, time and kind; whether its chains are whole; exported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from bondstone.api.state import ApiState, State
from bondstone.base.errors import InvalidInput
from bondstone.base.names import parse_service
from bondstone.client.documents.service import RecordDocument
from bondstone.console.pages import View, form_of, shown
from bondstone.console.security import HEADERS
from bondstone.console.session import Visit, Visitor
from bondstone.model.attestation import PublicKeys
from bondstone.model.identity import Target
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import OperationStatus, ServiceId, StepStatus
from bondstone.store.ledger_verification import Verification, verify

MAX_SHOWN: Final = 200
MAX_READ: Final = 20_000
"""Records that one search reads."""
DAYS: Final = 7
"""What is searched at first."""
MAX_DAYS: Final = 366
VERIFY_SECONDS: Final = 25.0
REFUSED: Final = "refused"
"""A search for what was refused: votes against, operations that policies or people stopped."""
KINDS: Final = (*get_args(LedgerRecord.model_fields["kind"].annotation), REFUSED)

Text = Annotated[str, Query(max_length=100)]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for."""

    service: str
    team: str
    by: str
    kind: str
    first: date
    last: date

    @property
    def address(self) -> str:
        """As the query of a page's address."""
        fields = {"service": self.service, "team": self.team, "by": self.by, "kind": self.kind,
                  "from": self.first.isoformat(), "to": self.last.isoformat()}  # fmt: skip
        return urlencode({key: value for key, value in fields.items() if value})

    def matches(self, record: LedgerRecord) -> bool:
        """Whether a record is looked for."""
        return (
            (not self.service or str(record.service) == self.service)
            and (not self.team or record.service.team == self.team)
            and (not self.by or record.by == self.by)
            and (not self.kind or record.kind == self.kind or (self.kind == REFUSED and is_refusal(record)))
            and self.first <= record.at.astimezone(UTC).date() <= self.last
        )


def is_refusal(record: LedgerRecord) -> bool:
    """Whether a record says that people or policies refused something."""
    stopped = record.status is OperationStatus.REJECTED
    denied = any(step.status is StepStatus.BLOCKED for step in record.steps)
    return record.kind == "rejection" or stopped or denied


def search(
    *,
    service: Text = "",
    team: Text = "",
    by: Text = "",
    kind: Text = "",
    first: Annotated[str, Query(alias="from", max_length=10)] = "",
    last: Annotated[str, Query(alias="to", max_length=10)] = "",
) -> Search:
    """The search that a page's address holds.

    Raises:
        InvalidInput: a day is none, or too many are searched.
    """
    today = datetime.now(UTC).date()
    try:
        until = date.fromisoformat(last) if last else today
        since = date.fromisoformat(first) if first else until - timedelta(days=DAYS - 1)
    except (ValueError, OverflowError):
        raise InvalidInput("that is not a date", hint="as in 2026-11-30") from None
    if (until - since).days > MAX_DAYS:
        raise InvalidInput(f"a search reads at most {MAX_DAYS} days")
    if service and not first:
        since = date.min
    return Search(service.strip(), team.strip(), by.strip(), kind, since, until)


Wanted = Annotated[Search, Depends(search)]


@router.get("/ledger")
async def ledger(visitor: Visit, state: State, wanted: Wanted) -> Response:
    """The records that match, newest first, and the chain of the service that is looked for."""
    records: list[LedgerRecord] = []
    more = False
    async for record in _records(visitor, state, wanted):
        if len(records) == MAX_SHOWN:
            more = True
            break
        records.append(record)
    chain = await _verified(state, wanted.service) if wanted.service else None
    return shown(_view(visitor, wanted, records, more=more, chain=chain), visitor)


@router.post("/ledger/verify")
async def verify_all(request: Request, visitor: Visit, state: State) -> Response:
    """Walk every chain."""
    await form_of(request, visitor)
    visitor.permissions.decide("ledger.read").require()
    chain = await _verified(state, "")
    return shown(_view(visitor, search(), [], more=False, chain=chain), visitor)


@router.get("/ledger/export")
async def export(visitor: Visit, state: State, wanted: Wanted) -> Response:
    """The records that match, a JSON document on each line; read first, so that a refusal is an answer."""
    lines = [
        RecordDocument.of(record).model_dump_json() + "\n" async for record in _records(visitor, state, wanted)
    ]
    disposition = {"Content-Disposition": 'attachment; filename="ledger.jsonl"'}
    return Response("".join(lines), media_type="application/jsonl", headers=HEADERS | disposition)


# Helpers ---------------------------------------------------------------------------------------------------------


async def _records(visitor: Visitor, state: ApiState, wanted: Search) -> AsyncIterator[LedgerRecord]:
    permitted = _permitted(visitor)
    if wanted.service:
        team, name = parse_service(wanted.service)
        visitor.permissions.decide("service.history", Target(team=team, name=wanted.service)).require()
        records = await state.store.ledger.history(ServiceId(team=team, name=name))
        for record in reversed(records):
            if wanted.matches(record):
                yield record
        return
    read = 0
    async for record in state.store.ledger.days(wanted.first, wanted.last, team=wanted.team):
        read += 1
        if read > MAX_READ:
            raise InvalidInput(f"more than {MAX_READ} records would be read", hint="name fewer days, or a team")
        if wanted.matches(record) and permitted(record):
            yield record


def _permitted(visitor: Visitor) -> Callable[[LedgerRecord], bool]:
    allowed = visitor.permissions.filter("service.history")

    def permitted(record: LedgerRecord) -> bool:
        promise = record.revision_after.promise if record.revision_after else ""
        return allowed(Target(team=record.service.team, promise=promise, name=str(record.service)))

    return permitted


async def _verified(state: ApiState, chain: str) -> Verification | None:
    """What walking the chains finds; None when that takes too long for a page."""
    known = state.store.platform_keys
    keys = PublicKeys(attestation=await known.all("attestation"), permit=await known.all("permit"))
    try:
        async with asyncio.timeout(VERIFY_SECONDS):
            return await verify(state.store.objects, keys, chain=chain)
    except TimeoutError:
        return None


def _view(
    visitor: Visitor, wanted: Search, records: list[LedgerRecord], *, more: bool, chain: Verification | None
) -> View:
    return View(
        "ledger.html", "/ledger", wanted=wanted, kinds=KINDS, more=more, chain=chain, most=MAX_SHOWN,
        earliest="" if wanted.first == date.min else wanted.first.isoformat(),
        records=[RecordDocument.of(record) for record in records],
        may_verify=visitor.permissions.decide("ledger.read").allowed,
        may_refusals=visitor.permissions.somewhere("refusal.read"),
    )  # fmt: skip
