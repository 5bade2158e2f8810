"""What every request handler may use: connections, the index, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection, Request
from temporalio.client import Client

from bondstone.api.events.logs import LogChunks
from bondstone.api.events.watchers import Watchers
from bondstone.api.index.services import ServiceIndex
from bondstone.api.rates import Rates
from bondstone.api.refusals import RequestRefusals
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.client.direct.connection import Connection
from bondstone.identity.access import Permissions, permissions_of
from bondstone.identity.attestor import Attestor
from bondstone.identity.authenticator import Authenticator, session_cookie
from bondstone.identity.local_token import local_principal
from bondstone.model.identity import Principal
from bondstone.store import Store
from bondstone.store.signing import Signer
from bondstone.temporal.attesting import attesting_client

ACTING_AS: Final = "bond-as"
"""Header by which the holder of the data directory acts in another name, as `bond --as NAME` does."""


@dataclass(frozen=True)
class ApiState:
    """The connections of one API process; none of it is lost when the process is killed.

    Args:
        settings: Of the process.
        temporal: The connection to Temporal.
        store: The platform's stores.
        authenticator: Says who sent a request, and who may do what.
        signer: Attests who asked for a change; None where the platform has no key for that.
        services: Every service, for lists and counts.
        watchers: What is followed by streams of events.
        chunks: Parts of logs, for streams.
        rates: How many requests each caller may send.
        refusals: Counts who was refused what.
    """

    settings: Settings
    temporal: Client
    store: Store
    authenticator: Authenticator
    signer: Signer | None
    services: ServiceIndex
    watchers: Watchers
    chunks: LogChunks
    rates: Rates
    refusals: RequestRefusals


def is_secure(settings: Settings) -> bool:
    """Whether browsers reach the API by TLS, as its URL in the settings says; a proxy may do that for it."""
    return settings.api.startswith("https://")


def state_of(connection: HTTPConnection) -> ApiState:
    """The state of the process that answers a request."""
    state: ApiState = connection.app.state.bondstone
    return state


State = Annotated[ApiState, Depends(state_of)]


async def caller(request: Request, state: State) -> Principal:
    """Who sent the request.

    Raises:
        Unauthenticated: nobody that the platform knows.
        TooManyRequests: the caller sends more than the platform takes from one.
    """
    if (known := getattr(request.state, "known_caller", None)) is not None:
        return known  # type: ignore[no-any-return] # set below
    principal = await state.authenticator.principal(
        authorization=request.headers.get("authorization", ""),
        session=request.cookies.get(session_cookie(secure=is_secure(state.settings)), ""),
    )
    request.state.principal = principal
    state.rates.count(principal.subject)
    asserted = request.headers.get(ACTING_AS, "")
    if asserted and principal.may_assert:
        request.state.principal = local_principal(asserted)
    request.state.known_caller = request.state.principal
    return request.state.principal  # type: ignore[no-any-return] # set above


Caller = Annotated[Principal, Depends(caller)]


async def allowed(state: State, principal: Caller) -> Permissions:
    """What the caller may do, by the access document in force."""
    return permissions_of(await state.authenticator.access(), principal)


Allowed = Annotated[Permissions, Depends(allowed)]
"""`allowed.decide("service.update", target).require()` refuses; `allowed.filter("service.read")` chooses rows."""


def bond(state: State, principal: Caller, permissions: Allowed) -> DirectClient:
    """The Python client, asking in the caller's name, which it attests where there is a key for that."""
    temporal = state.temporal
    if state.signer is not None:
        temporal = attesting_client(temporal, Attestor(state.signer, principal, permissions))
    connection = Connection(state.settings, temporal=temporal, store=state.store, for_others=True)
    return DirectClient(connection, principal.subject)


Bond = Annotated[DirectClient, Depends(bond)]
