"""`/api/v1/promises`: what the platform offers, as immutable revisions."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, status
from starlette.requests import Request
from starlette.responses import Response

from bondstone.api.parameters import Because, PromiseName, Version
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking, IfNoneMatch, tagged
from bondstone.api.uploads import UPLOADED, named_as, relative, unpacked
from bondstone.client.documents.promise import PromiseCheck, PromiseDocument, PromiseRow, PublishedPromise
from bondstone.model.identity import Target
from bondstone.promise.load import load_promise

router = APIRouter(prefix="/promises", tags=["promises"], route_class=ApiRoute)

_UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/gzip": {"schema": {"type": "string", "format": "binary"}},
            "application/x-tar": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("")
async def list_promises(asking: Asking, *, every_version: bool = False) -> list[PromiseRow]:
    """List promises, each at the version that a request would get, or every version."""
    permitted = asking.allowed.filter("promise.read")
    rows = await asking.bond.promises.list(every_version=every_version)
    return [row for row in rows if permitted(_target(row.promise))]


@router.post("", status_code=status.HTTP_201_CREATED, openapi_extra=_UPLOAD)
async def publish_promise(asking: Asking, request: Request) -> PublishedPromise:
    """Publish a revision: the body is the folder of the promise as a tar, gzipped or not."""
    async with unpacked(await request.body()) as directory:
        with named_as(directory, UPLOADED):
            promise = await asyncio.to_thread(load_promise, directory)
            asking.require("promise.publish", _target(promise.name))
            published = await asking.bond.promises.publish(directory)
            return published.changed(warnings=relative(published.warnings, directory))


@router.post("/validate", openapi_extra=_UPLOAD)
async def validate_promise(asking: Asking, request: Request) -> PromiseCheck:
    """Check a promise that is uploaded; nothing is published."""
    asking.require("promise.read")
    async with unpacked(await request.body()) as directory:
        with named_as(directory, UPLOADED):
            check = await asking.bond.promises.validate(directory)
            return check.changed(warnings=relative(check.warnings, directory))


@router.get("/{promise}", response_model=PromiseDocument)
async def show_promise(asking: Asking, promise: PromiseName, if_none_match: IfNoneMatch = "") -> Response:
    """Show a promise at the version that a request would get."""
    asking.require("promise.read", _target(promise))
    return tagged(await asking.bond.promises.get(promise), if_none_match)


@router.get("/{promise}/{version}", response_model=PromiseDocument)
async def show_revision(
    asking: Asking, promise: PromiseName, version: Version, if_none_match: IfNoneMatch = ""
) -> Response:
    """Show one revision."""
    asking.require("promise.read", _target(promise))
    return tagged(await asking.bond.promises.get(promise, version), if_none_match)


@router.post("/{promise}/{version}/deprecate")
async def deprecate_revision(asking: Asking, promise: PromiseName, version: Version, body: Because) -> PromiseRow:
    """Warn whoever requests a revision; it is no longer chosen by itself."""
    asking.require("promise.deprecate", _target(promise))
    return await asking.bond.promises.deprecate(promise, version, reason=body.reason)


@router.post("/{promise}/{version}/yank")
async def yank_revision(asking: Asking, promise: PromiseName, version: Version, body: Because) -> PromiseRow:
    """Refuse new services at a revision; services that use it stay."""
    asking.require("promise.yank", _target(promise))
    return await asking.bond.promises.yank(promise, version, reason=body.reason)


# Helpers ----------------------------------------------------------------------------------------------------


def _target(promise: str) -> Target:
    return Target(promise=promise, name=f"promise {promise}")
