"""Signing in and out: with a provider by OpenID Connect, or by the one-time code of `bond open`."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlencode

import structlog
from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bondstone.api.state import ApiState, State, is_secure
from bondstone.base.errors import BondError, NotFound, TokenForeign, TokenInvalid, Unauthenticated
from bondstone.console.pages import View, shown
from bondstone.console.security import HEADERS, check_form, safe_return
from bondstone.console.session import SIGN_IN
from bondstone.identity.authenticator import session_cookie
from bondstone.model.identity import Principal
from bondstone.store.sessions import CODE_LIFETIME, LONGEST

if TYPE_CHECKING:
    from bondstone.identity.provider import Provider

CALLBACK: Final = f"{SIGN_IN}/callback"
_STATE_COOKIE: Final = "bond_sign_in"
"""Binds a sign-in to the browser that began it: another browser cannot be given the end of it."""
_MAX_CODE: Final = 4000

router = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)

Next = Annotated[str, Query(alias="next", max_length=2000)]


@router.get(SIGN_IN)
async def show(state: State, page: Next = "/", *, signed_out: bool = False) -> Response:
    """How to sign in here."""
    return _page(state, page, signed_out=signed_out)


@router.get(f"{SIGN_IN}/with")
async def begin(state: State, issuer: Annotated[str, Query(max_length=500)], page: Next = "/") -> Response:
    """Send the browser to a provider."""
    try:
        provider = _provider(state, issuer)
        attempt = provider.begin(_callback(state), safe_return(page))
        code = await state.store.sessions.issue_code(attempt, now=datetime.now(UTC))
        url = await provider.authorization_url(attempt, code)
    except BondError as error:
        return _page(state, page, error)
    answer = RedirectResponse(url, status_code=303, headers=HEADERS)
    answer.set_cookie(_STATE_COOKIE, code, max_age=int(CODE_LIFETIME.total_seconds()), **_cookie(state, SIGN_IN))
    return answer


@router.get(CALLBACK)
async def finish(
    request: Request,
    state: State,
    *,
    code: Annotated[str, Query(max_length=_MAX_CODE)] = "",
    returned: Annotated[str, Query(alias="state", max_length=200)] = "",
    iss: Annotated[str, Query(max_length=500)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
    error_description: Annotated[str, Query(max_length=1000)] = "",
) -> Response:
    """Begin a session for the person that the provider sends back."""
    from bondstone.identity.provider import Attempt  # noqa: PLC0415 - see `_provider`

    page = "/"
    try:
        begun = request.cookies.get(_STATE_COOKIE, "")
        if not returned or not hmac.compare_digest(begun.encode(), returned.encode()):
            raise TokenInvalid("this browser did not begin that sign-in", hint="start it again")
        attempt = await state.store.sessions.redeem(returned, Attempt, now=datetime.now(UTC))
        page = attempt.page
        if iss and iss != attempt.issuer:  # RFC 9207
            raise TokenForeign(f"the sign-in began with {attempt.issuer}, and {iss[:200]} answers")
        if error or not code:
            reason = (error_description or error or "no code").strip()[:300]
            raise Unauthenticated(f"{attempt.issuer} did not sign you in: {reason}", hint="start it again")
        tokens = await _provider(state, attempt.issuer).redeem(attempt, code)
        principal = await state.authenticator.web_tokens.principal(tokens.id_token, nonce=attempt.nonce)
    except BondError as refusal:
        state.refusals.note(request, refusal)
        return _page(state, page, refusal)
    answer = await _begin_session(state, principal, page)
    answer.delete_cookie(_STATE_COOKIE, path=SIGN_IN)
    return answer


@router.get(f"{SIGN_IN}/code")
async def by_code(
    request: Request, state: State, code: Annotated[str, Query(max_length=200)] = "", page: Next = "/"
) -> Response:
    """Begin a session for the holder of a one-time code, as `bond open` makes them."""
    try:
        principal = await state.store.sessions.redeem(code, Principal, now=datetime.now(UTC))
    except BondError as error:
        state.refusals.note(request, error)
        return _page(state, page, error)
    return await _begin_session(state, principal, page)


@router.post("/sign-out")
async def sign_out(request: Request, state: State, csrf: Annotated[str, Form()] = "") -> Response:
    """End the session on the server."""
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
            log.info("signed out", subject=session.principal.subject)
    answer = RedirectResponse(f"{SIGN_IN}?signed_out=true", status_code=303, headers=HEADERS)
    answer.delete_cookie(name, path="/")
    return answer


def _page(
    state: ApiState, page: str = "/", error: BondError | None = None, *, signed_out: bool = False
) -> Response:
    """The sign-in page, with why the last attempt did not succeed."""
    providers = [
        (
            each.name,
            f"{SIGN_IN}/with?{urlencode({'issuer': each.issuer, 'next': safe_return(page)}, quote_via=quote)}",
        )
        for each in state.settings.issuers
        if each.for_people
    ]
    view = View("sign_in.html", "", error=error, providers=providers, signed_out=signed_out)
    return shown(view, None, error)


async def _begin_session(state: ApiState, principal: Principal, page: str) -> Response:
    session_id, _ = await state.store.sessions.begin(principal, now=datetime.now(UTC))
    log.info("signed in", subject=principal.subject, means=principal.means, issuer=principal.issuer)
    answer = RedirectResponse(safe_return(page), status_code=303, headers=HEADERS)
    name = session_cookie(secure=is_secure(state.settings))
    answer.set_cookie(name, session_id, max_age=int(LONGEST.total_seconds()), **_cookie(state, "/"))
    return answer


def _provider(state: ApiState, issuer: str) -> Provider:
    from bondstone.identity.provider import Provider  # noqa: PLC0415 - 4 MiB, of use only where people sign in

    for each in state.settings.issuers:
        if each.for_people and each.issuer == issuer:
            return Provider(each, state.authenticator.keys)
    raise NotFound("nobody signs in with that provider here", where=issuer[:200])


def _callback(state: ApiState) -> str:
    return f"{state.settings.api.rstrip('/')}{CALLBACK}"


def _cookie(state: ApiState, path: str) -> dict[str, Any]:
    """Attributes of each cookie. `lax`: it is sent when a provider sends the browser back."""
    return {"path": path, "secure": is_secure(state.settings), "httponly": True, "samesite": "lax"}
