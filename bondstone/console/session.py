"""Who looks at a page: the session of a request. `sign_in` begins and ends sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final
from urllib.parse import SplitResult, quote, urlsplit

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bondstone.api.state import State, bond, is_secure
from bondstone.base.errors import BondError, Unauthenticated
from bondstone.client.direct.client import DirectClient
from bondstone.identity.access import AccessDecision, Permissions, permissions_of
from bondstone.identity.authenticator import session_cookie
from bondstone.model.identity import Principal

SIGN_IN: Final = "/sign-in"


class NotSignedIn(Exception):
    """The page needs a session; the answer leads to the sign-in, and back to the page."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person who looks at a page."""

    principal: Principal
    permissions: Permissions
    csrf: str
    bond: DirectClient
    note: Callable[[BondError], None]
    """Puts a refusal of access on record"""

    @property
    def name(self) -> str:
        """Whom the platform knows them as."""
        return self.principal.subject

    def votes(self, decision: AccessDecision, named: str) -> tuple[str, ...]:
        """The roles that a vote is recorded with: the visitor's own; the holder of the data directory names them.

        Args:
            decision: That the visitor may vote.
            named: Roles parted by commas, which only the holder of the data directory may name.
        """
        if self.principal.may_assert:
            return tuple(role for role in (part.strip() for part in named.split(",")) if role)
        return decision.approver_roles


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
    request.state.principal = session.principal
    state.rates.count(session.principal.subject)
    permissions = permissions_of(await state.authenticator.access(), session.principal)
    client = bond(state, session.principal, permissions)
    note = partial(state.refusals.note, request)
    return Visitor(session.principal, permissions, session.csrf, client, note)


Visit = Annotated[Visitor, Depends(visitor)]


async def to_sign_in(request: Request, _error: Exception) -> Response:
    """Send a visitor without a session to the sign-in, and afterwards back to the page they were on."""
    page = request.url if request.method == "GET" else _page_of_form(request)
    back = page.path + (f"?{page.query}" if page.query else "")
    return RedirectResponse(f"{SIGN_IN}?next={quote(back or '/')}", status_code=303)


def _page_of_form(request: Request) -> SplitResult:
    """The page that a form was on: the browser names it, to its own site only."""
    page = urlsplit(request.headers.get("referer", "")[:2000])
    return page if page.netloc == request.url.netloc else urlsplit("/")
