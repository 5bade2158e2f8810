"""Who looks at a page, and signing in: by a one-time code locally, by a provider elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bondstone.api.state import State, is_secure
from bondstone.base.errors import BondError, Unauthenticated
from bondstone.client import Bondstone
from bondstone.client.direct.client import DirectClient
from bondstone.client.direct.connection import Connection
from bondstone.console.security import safe_return
from bondstone.identity.access import Permissions, permissions_of
from bondstone.identity.authenticator import session_cookie
from bondstone.model.identity import Principal

COOKIE_SECONDS: Final = 12 * 3600
SIGN_IN: Final = "/sign-in"

router = APIRouter(include_in_schema=False)


class NotSignedIn(Exception):
    """The page needs a session; the answer leads to the sign-in, and back to the page."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person who looks at a page."""

    principal: Principal
    permissions: Permissions
    csrf: str
    bond: Bondstone

    @property
    def name(self) -> str:
        """Whom the platform knows them as."""
        return self.principal.subject


async def visitor(request: Request, state: State) -> Visitor:
    """The session of a request.

    Raises:
        NotSignedIn: there is none, or it is over.
    """
    cookie = request.cookies.get(session_cookie(secure=is_secure(state.settings)), "")
    if not cookie:
        raise NotSignedIn
    try:
        session = await state.store.sessions.get(cookie, now=datetime.now(UTC))
    except Unauthenticated:
        raise NotSignedIn from None
    state.rates.count(session.principal.subject)
    permissions = permissions_of(await state.authenticator.access(), session.principal)
    connection = Connection(state.settings, temporal=state.temporal, store=state.store)
    return Visitor(
        session.principal, permissions, session.csrf, DirectClient(connection, session.principal.subject)
    )


Visit = Annotated[Visitor, Depends(visitor)]


async def to_sign_in(request: Request, _error: Exception) -> Response:
    """Send a visitor without a session to the sign-in, and afterwards back."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "GET":
        back = "/"
    return RedirectResponse(f"{SIGN_IN}?next={quote(back)}", status_code=303)


@router.get("/sign-in/code")
async def by_code(state: State, code: str = "", next: str = "/") -> Response:  # noqa: A002 - the name in the address
    """Begin a session for the holder of a one-time code, as `bond open` makes them."""
    try:
        principal = await state.store.sessions.redeem(code[:200], Principal, now=datetime.now(UTC))
    except BondError as error:
        return RedirectResponse(f"{SIGN_IN}?problem={quote(error.message)}", status_code=303)
    session_id, _ = await state.store.sessions.begin(principal, now=datetime.now(UTC))
    answer = RedirectResponse(safe_return(next), status_code=303)
    secure = is_secure(state.settings)
    answer.set_cookie(
        session_cookie(secure=secure), session_id, max_age=COOKIE_SECONDS, path="/", secure=secure, httponly=True,
        samesite="lax",
    )  # fmt: skip
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, state: State, csrf: Annotated[str, Form()] = "") -> Response:
    """End the session on the server."""
    from bondstone.console.security import check_form  # noqa: PLC0415 - one rule, kept with the others

    name = session_cookie(secure=is_secure(state.settings))
    cookie = request.cookies.get(name, "")
    if cookie:
        try:
            session = await state.store.sessions.get(cookie, now=datetime.now(UTC))
        except Unauthenticated:
            pass
        else:
            check_form(request.headers, csrf, session.csrf)
            await state.store.sessions.end(cookie)
    answer = RedirectResponse(SIGN_IN, status_code=303)
    answer.delete_cookie(name, path="/")
    return answer
