"""One request's caller: what they may do, and the client that asks in their name."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, TypeVar

import structlog
from fastapi import Depends, Header, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from bondstone.api.state import Allowed, ApiState, Bond, State
from bondstone.base.canonical import digest
from bondstone.base.names import REQUEST_ID_PATTERN
from bondstone.client.direct.client import DirectClient
from bondstone.client.documents.service import ServiceDocument
from bondstone.identity.access import PLATFORM, AccessDecision, Permissions, votes_as
from bondstone.identity.verbs import VERBS
from bondstone.model.identity import Target
from bondstone.model.service import state_digest
from bondstone.model.service_row import ServiceRow

MAX_WAIT_SECONDS: Final = 60
_TAG_CHARS: Final = 32
_ANOTHER_STATE: Final = "changed"
"""The digest of no state: what the caller has read is past."""

T = TypeVar("T")

log = structlog.get_logger(__name__)

KEY_HEADER: Final = "Idempotency-Key"
IdempotencyKey = Annotated[
    str,
    Header(
        alias=KEY_HEADER,
        pattern=f"^$|{REQUEST_ID_PATTERN}",
        description="Request id: the same request under the same id is carried out once",
    ),
]
IfMatch = Annotated[
    str, Header(alias="If-Match", max_length=200, description="ETag of what was read: 412 when it has changed")
]
IfNoneMatch = Annotated[str, Header(alias="If-None-Match", max_length=200)]
LastEventId = Annotated[str, Header(alias="Last-Event-ID", max_length=4000)]
WaitSeconds = Annotated[
    int, Query(alias="wait", ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait until it has ended")
]


@dataclass(frozen=True, slots=True)
class CallSession:
    """A request's caller.

    Args:
        state: Of the process.
        allowed: What the caller may do.
        bond: The client, asking in the caller's name.
        request: As it arrived.
    """

    state: ApiState
    allowed: Permissions
    bond: DirectClient
    request: Request

    @property
    def key(self) -> str:
        """The request id; empty without one. `ApiRoute` has checked it."""
        return self.request.headers.get(KEY_HEADER, "")

    def require(self, verb: str, target: Target = PLATFORM) -> AccessDecision:
        """Refuse what the caller may not do; note what changes something.

        Raises:
            Forbidden: naming the missing role.
        """
        decision = self.allowed.decide(verb, target).require()
        if VERBS[verb].changes:
            self.state.services.expect_changes_of(self.allowed.principal.subject)
            log.info("change", by=self.allowed.principal.subject, verb=verb, target=str(target))
        return decision

    async def require_service(self, verb: str, service: str) -> AccessDecision:
        """Refuse what the caller may not do to a service that exists.

        Raises:
            Forbidden: naming the missing role.
            NotFound: there is no such service.
        """
        return self.require(verb, await self.target(service))

    async def target(self, service: str) -> Target:
        """A service as access documents see it.

        Raises:
            NotFound: there is no such service.
        """
        entry = self.state.services.get(service)
        if entry is not None:
            return entry.target
        return target_of(await self.bond.services.get(service))

    def votes(self, decision: AccessDecision, roles: Sequence[str]) -> tuple[str, ...]:
        """The roles that a vote is recorded with: the caller's own; the holder of the data directory asserts them.

        Raises:
            Forbidden: a named role is not among the caller's.
        """
        if self.allowed.principal.may_assert:
            return tuple(roles)
        return votes_as(decision, roles)

    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T | None:
        """What work gives within some seconds; None when it takes longer, or the process is to stop."""
        task = asyncio.create_task(work)
        closing = asyncio.create_task(self.state.watchers.closing.wait())
        try:
            await asyncio.wait({task, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            closing.cancel()

    async def expecting(self, service: str, if_match: str) -> CallSession:
        """The same session, whose change the service itself refuses unless it is as the caller has read it.

        A change that was accepted before under the same key is answered again, whatever has changed since.

        Args:
            service: `TEAM/NAME`.
            if_match: The header; empty for a caller who does not mind.

        Raises:
            NotFound: there is no such service.
        """
        if not if_match or if_match == "*":
            return self
        document, state = await self.bond.services.current(service)
        unchanged = tag(body_of(document)) in _tags(if_match)
        return replace(self, bond=self.bond.expecting(state_digest(state) if unchanged else _ANOTHER_STATE))


def session(request: Request, state: State, allowed: Allowed, bond: Bond) -> CallSession:
    """The caller of a request."""
    return CallSession(state, allowed, bond, request)


Asking = Annotated[CallSession, Depends(session)]


def tagged(document: BaseModel, if_none_match: str) -> Response:
    """The document with its ETag; 304 for a caller who has it already."""
    body = body_of(document)
    headers = {"ETag": tag(body), "Cache-Control": "private, no-cache"}
    if if_none_match and (if_none_match == "*" or headers["ETag"] in _tags(if_none_match)):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def body_of(document: BaseModel) -> bytes:
    """A document as the API sends it."""
    return document.model_dump_json(by_alias=True).encode()


def tag(body: bytes) -> str:
    """The ETag of a body."""
    return f'"{digest(body)[:_TAG_CHARS]}"'


def target_of(service: ServiceRow | ServiceDocument) -> Target:
    """A service as access documents see it."""
    return Target(team=service.team, promise=service.promise, labels=service.labels, name=service.id)


def _tags(header: str) -> list[str]:
    return [part.strip().removeprefix("W/") for part in header.split(",")]
