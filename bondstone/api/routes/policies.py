"""`/api/v1/policies` and `/api/v1/access`: the organisation's rules, and who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import APIRouter, Query, status
from fastapi import Path as PathParameter
from pydantic import Field
from starlette.responses import Response

from bondstone.api.parameters import MAX_LABELS
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking, CallSession, IfNoneMatch, tagged
from bondstone.api.uploads import named_as
from bondstone.base.errors import NotFound
from bondstone.base.models import Document, Manifest
from bondstone.client.documents.policy import PolicyCheck, PolicySetDocument, PolicySetRow, PublishedPolicies
from bondstone.identity.document import read_access
from bondstone.model.identity import AccessDocument, Target
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.store.access import AccessRef, PublishedAccess

router = APIRouter(route_class=ApiRoute)

FILE_PATTERN = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,98}/){0,5}[A-Za-z0-9_][A-Za-z0-9_.-]{0,98}\.(rego|json|ya?ml)$"
Files = dict[Annotated[str, Field(pattern=FILE_PATTERN)], Annotated[str, Field(max_length=500_000)]]
ExpectedNumber = Annotated[int | None, Field(ge=0, le=99_999_999)]
SetNumber = Annotated[int, PathParameter(ge=1, le=99_999_999)]


class PoliciesBody(Manifest):
    """Policies: the text of each file."""

    files: Files = Field(min_length=1, max_length=500)
    applied: KeptPlatformManifest | None = None
    """The manifest that they are of; null when they are published by hand"""
    expected: ExpectedNumber = None
    """The number of the set that must be in force, 0 for none; null for any"""


class CheckBody(Manifest):
    """Policies that are tried; none for those in force."""

    files: Files = Field({}, max_length=500)


class AccessBody(Manifest):
    """An access document."""

    source: str = Field(max_length=900_000)
    """Its text, YAML or JSON"""
    applied: KeptPlatformManifest | None = None
    """The manifest that it is; null when it is published by hand"""
    expected: ExpectedNumber = None
    """The number of the document that must be in force, 0 for none; null for any"""


class PublishedAccessDocument(Document):
    """An access document that was published."""

    access: AccessRef
    published: bool
    """False when it was in force already"""


class AccessCheck(Document):
    """An access document that may be published."""

    grants: int


class MayDocument(Document):
    """Whether a caller may do one thing."""

    allowed: bool
    verb: str
    target: str
    roles: tuple[str, ...]
    """Every role that the caller has for it"""
    message: str
    hint: str = ""


@router.get("/policies", tags=["policies"])
async def list_policies(asking: Asking) -> list[PolicySetRow]:
    """List policy sets, the newest first; that one is in force."""
    asking.require("policy.read")
    return await asking.bond.policies.list()


@router.post("/policies", tags=["policies"], status_code=status.HTTP_201_CREATED)
async def publish_policies(asking: Asking, body: PoliciesBody) -> PublishedPolicies:
    """Check policies and put them in force."""
    asking.require("policy.publish")
    async with _folder(body) as directory:
        return await asking.bond.policies.publish(directory, applied=body.applied, expected=body.expected)


@router.post("/policies/check", tags=["policies"])
async def check_policies(asking: Asking, body: CheckBody) -> PolicyCheck:
    """Evaluate policies, or those in force, on the last plan of every service, and change nothing."""
    asking.require("policy.read")
    asking.require("operation.plan")
    if not body.files:
        return await asking.bond.policies.check()
    async with _folder(body) as directory:
        return await asking.bond.policies.check(directory)


@router.get("/policies/current", tags=["policies"], response_model=PolicySetDocument)
async def show_current_policies(asking: Asking, if_none_match: IfNoneMatch = "") -> Response:
    """Show the policy set in force."""
    asking.require("policy.read")
    return tagged(await asking.bond.policies.get(), if_none_match)


@router.get("/policies/{version:int}", tags=["policies"], response_model=PolicySetDocument)
async def show_policies(asking: Asking, version: SetNumber, if_none_match: IfNoneMatch = "") -> Response:
    """Show one policy set."""
    asking.require("policy.read")
    return tagged(await asking.bond.policies.get(version), if_none_match)


@router.get("/access", tags=["access"])
async def list_access(asking: Asking) -> list[AccessRef]:
    """List access documents, the newest first; that one is in force."""
    asking.require("access.read")
    return await asking.state.store.access.list()


@router.post("/access", tags=["access"], status_code=status.HTTP_201_CREATED)
async def publish_access(asking: Asking, body: AccessBody) -> PublishedAccessDocument:
    """Check an access document and put it in force."""
    asking.require("access.publish")
    document = _read(asking, body)
    by = asking.allowed.principal.subject
    ref, new = await asking.state.store.access.publish(
        document, source=body.source, by=by, applied=body.applied, expected=body.expected
    )
    return PublishedAccessDocument(access=ref, published=new)


@router.post("/access/validate", tags=["access"])
async def validate_access(asking: Asking, body: AccessBody) -> AccessCheck:
    """Check an access document; nothing is published."""
    asking.require("access.can")
    return AccessCheck(grants=len(_read(asking, body).spec.grants))


@router.get("/access/can", tags=["access"])
async def may(
    asking: Asking,
    verb: Annotated[str, Query(max_length=60, description="As in `service.update`; the docs list them")],
    *,
    team: Annotated[str, Query(max_length=48)] = "",
    promise: Annotated[str, Query(max_length=48)] = "",
    label: Annotated[list[str], Query(max_length=MAX_LABELS)] = [],  # noqa: B006 - FastAPI copies it
) -> MayDocument:
    """Say whether the caller may do something."""
    asking.require("access.can")
    labels = {key: value for key, equals, value in (text.partition("=") for text in label) if equals}
    decision = asking.allowed.decide(verb, Target(team=team, promise=promise, labels=labels))
    return MayDocument(
        allowed=decision.allowed,
        verb=decision.verb,
        target=str(decision.target),
        roles=decision.roles,
        message=decision.message,
        hint=decision.hint,
    )


@router.get("/access/current", tags=["access"], response_model=PublishedAccess)
async def show_current_access(asking: Asking, if_none_match: IfNoneMatch = "") -> Response:
    """Show the access document in force."""
    asking.require("access.read")
    published = await asking.state.store.access.current()
    if published is None:
        raise NotFound("no access document is published", hint="`bond access publish FILE` puts one in force")
    return tagged(published, if_none_match)


@router.get("/access/{version:int}", tags=["access"], response_model=PublishedAccess)
async def show_access(asking: Asking, version: SetNumber, if_none_match: IfNoneMatch = "") -> Response:
    """Show one access document."""
    asking.require("access.read")
    return tagged(await asking.state.store.access.get(version), if_none_match)


# Helpers ----------------------------------------------------------------------------------------------------


def _read(asking: CallSession, body: AccessBody) -> AccessDocument:
    admins = bool(asking.state.settings.admins)
    return read_access(body.source.encode(), "access.yaml", needs_admin=not admins).require()


@asynccontextmanager
async def _folder(body: PoliciesBody | CheckBody) -> AsyncIterator[Path]:
    """The files in a folder of their own; problems name the files only."""
    with TemporaryDirectory(prefix="bond-policies-") as directory:
        for name, source in body.files.items():
            path = Path(directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        with named_as(Path(directory), "policies"):
            yield Path(directory)
