"""`/backstage`: the feed, and the actions, as Backstage asks for them."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bondstone.api.inside import InsideTransport
from bondstone.api.problems import response
from bondstone.api.session import IfNoneMatch
from bondstone.api.state import ApiState, Caller, State
from bondstone.backstage.actions import ACTIONS, Call, invoke
from bondstone.backstage.entities import Places
from bondstone.backstage.feed import Feed
from bondstone.backstage.refresh import Refresher
from bondstone.base.backstage_settings import MIN_TOKEN_CHARS
from bondstone.base.errors import BondError, NotFound, OperationFailed, SettingsInvalid, Unauthenticated
from bondstone.client.direct.client import DirectClient
from bondstone.client.direct.connection import Connection
from bondstone.identity.backstage_tokens import read_secret

PREFIX: Final = "/backstage"
_NAME: Final = "backstage"

log = structlog.get_logger(__name__)

_LISTED: Final = {"actions": [action.document() for action in ACTIONS.values()]}


def mount(app: FastAPI, state: ApiState) -> None:
    """Serve Backstage, where the settings name one.

    Raises:
        SettingsInvalid: the secret of the feed cannot be read, or is short.
    """
    settings = state.settings.backstage
    if settings is None:
        return
    secret = read_secret(settings.feed_token_file)
    if (
        len(secret) < MIN_TOKEN_CHARS
        or not secret.isascii()
        or not secret.replace("-", "").replace("_", "").isalnum()
    ):
        raise SettingsInvalid(
            f"the feed's secret must be at least {MIN_TOKEN_CHARS} letters, digits, dashes and underscores",
            where=str(settings.feed_token_file),
        )
    places = Places(settings, state.settings.api or f"http://{state.settings.api_bind}")
    bond = DirectClient(Connection(state.settings, temporal=state.temporal, store=state.store), _NAME)
    feed = Feed(state.services, bond, places)
    app.include_router(_feed_router(feed, secret))
    app.include_router(_action_router(app, places))
    if settings.catalog_token_file is not None:
        refresher = Refresher(state.services, feed, settings.base_url, settings.catalog_token_file)
        _run_beside(app, refresher)


def _feed_router(feed: Feed, secret: str) -> APIRouter:
    router = APIRouter(prefix=PREFIX, include_in_schema=False)

    @router.get("/v1/{key}/{name}.yaml")
    async def show_part(key: str, name: str, if_none_match: IfNoneMatch = "") -> Response:
        """Show a part of the feed. Failures are not raised: what logs them would log the secret in the address."""
        try:
            part = await feed.part(name) if hmac.compare_digest(key.encode(), secret.encode()) else None
        except BondError as error:
            log.warning("no part of the feed", part=name[:60], code=error.code, message=error.message)
            return response(error)
        if part is None:
            return response(NotFound("there is nothing at this address"))
        headers = {"ETag": part.etag, "Cache-Control": "no-cache"}
        if if_none_match == part.etag:
            return Response(status_code=304, headers=headers)
        return Response(part.body, media_type="application/yaml", headers=headers)

    return router


def _action_router(app: FastAPI, places: Places) -> APIRouter:
    router = APIRouter(prefix=f"{PREFIX}/.backstage/actions", include_in_schema=False)

    @router.get("/v1/actions")
    async def list_actions(_caller: Caller) -> JSONResponse:
        """List the actions."""
        return JSONResponse(_LISTED)

    @router.post("/{version}/actions/{action}/invoke")
    async def invoke_action(version: str, action: str, request: Request, state: State) -> Response:
        """Carry out an action in the name of the person who is signed in."""
        known = ACTIONS.get(action.removeprefix("bondstone:"))
        if version not in {"v1", "v2"} or known is None:
            return _error(404, "NotFoundError", f"there is no action {action[:60]!r}")
        authorization = request.headers.get("authorization", "")
        try:
            await state.authenticator.principal(authorization=authorization)
            body: Any = await request.json() if await request.body() else {}
            action_input = body.get("input", {}) if version == "v2" else body
            output = await invoke(known, Call(InsideTransport(app, authorization), places), action_input)
        except Unauthenticated as error:
            return _error(401, "AuthenticationError", error.message)
        except OperationFailed as error:
            return _error(400, "InputError", error.message)
        except BondError as error:
            return _error(error.http_status, "Error", error.message)
        except ValueError:
            return _error(400, "InputError", "the body is not JSON")
        return JSONResponse({"output": output})

    return router


def _error(status: int, name: str, message: str) -> Response:
    """A failure as Backstage's plugins write them."""
    return JSONResponse({"error": {"name": name, "message": message}, "response": {"statusCode": status}}, status)


def _run_beside(app: FastAPI, refresher: Refresher) -> None:
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(of: FastAPI) -> AsyncIterator[object]:
        async with before(of) as state:
            telling = asyncio.create_task(refresher.run())
            try:
                yield state
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

    app.router.lifespan_context = lifespan  # type: ignore[assignment] # Starlette types it for stateless ones
