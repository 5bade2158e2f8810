"""`/api/v1/state`, `/workers`, `/tokens`, `/whoami`: the platform itself, and who asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, status
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bondstone import __version__
from bondstone.api.parameters import MAX_REASON_CHARS, Name, Team
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking
from bondstone.api.state import Caller, State
from bondstone.base.errors import Forbidden
from bondstone.base.models import Document, Manifest
from bondstone.base.names import NAME_PATTERN
from bondstone.client.documents.state import Pushed, StateEntryDocument
from bondstone.client.documents.worker import BuildDocument, EvictedDocument, QueueDocument
from bondstone.model.identity import Means, Role, Roles, Scope, Target
from bondstone.store.tokens import TokenRecord

router = APIRouter(route_class=ApiRoute)

MAX_DAYS = 3650
StepQuery = Annotated[str, Query(pattern=f"^$|{NAME_PATTERN}", description="Whose state")]
Build = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", description="The build")]
TokenName = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$", description="Its name or id")]


class CallerDocument(Document):
    """Who the platform takes the caller for."""

    subject: str
    means: Means
    issuer: str = ""
    display_name: str = ""
    groups: tuple[str, ...] = ()
    grants: tuple[Roles, ...] = ()
    """Roles, and where they hold"""
    expires_at: datetime | None = None
    version: str
    """Of the platform"""


class ProviderDocument(Document):
    """Where people sign in, and as which client of it."""

    name: str
    """What people know it as"""
    issuer: str
    client_id: str
    scopes: tuple[str, ...]


def _named(scope: object) -> object:
    if scope is None:
        raise PydanticCustomError(
            "scope", "it does not say where the roles hold: name teams, promises or labels, or write `everything`"
        )
    return scope


class TokenGrant(Manifest):
    """Roles that a token is to bring, and where they hold."""

    roles: tuple[Role, ...] = Field(min_length=1)
    scope: Annotated[Scope | Literal["everything"], BeforeValidator(_named)]

    @property
    def granted(self) -> Roles:
        """As access is decided by."""
        return Roles.model_validate(dict(self))


class TokenBody(Manifest):
    """An API token that is made."""

    name: str = Field(pattern=NAME_PATTERN)
    grants: tuple[TokenGrant, ...] = Field(min_length=1, max_length=20)
    """Roles it brings: such as the caller has"""
    days: int | None = Field(90, ge=1, le=MAX_DAYS)
    """How long it is good for; null for ever"""


class TokenDocument(Document):
    """One API token, without its secret."""

    id: str
    name: str
    status: str
    """active, revoked or expired"""
    grants: tuple[Roles, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute"""
    revoked_by: str = ""

    @classmethod
    def of(cls, record: TokenRecord) -> TokenDocument:
        """From what is kept of it."""
        fields = record.model_dump(
            include={"id", "name", "created_by", "created_at", "expires_at", "last_used_at"}
        )
        return cls(
            **fields,
            grants=record.grants,
            status=record.status(datetime.now(UTC)),
            revoked_by=record.revoked.by if record.revoked else "",
        )


class NewTokenDocument(TokenDocument):
    """An API token that was made."""

    token: str
    """Shown this once"""


class PromoteBody(Manifest):
    """A build that gets new work."""

    percent: float | None = Field(None, gt=0, le=100)
    """The part of new services; null for all"""


@router.get("/openapi.json", include_in_schema=False)
async def description(request: Request, _caller: Caller) -> JSONResponse:
    """Describe the API, by OpenAPI 3.1."""
    return JSONResponse(request.app.openapi())


@router.get("/providers", tags=["access"], openapi_extra={"security": []})
async def list_providers(state: State) -> list[ProviderDocument]:
    """List where people sign in, for `bond login`; needs no credential."""
    return [
        ProviderDocument(name=each.name, issuer=each.issuer, client_id=each.client_id, scopes=each.scopes)
        for each in state.settings.issuers
        if each.for_people
    ]


@router.get("/whoami", tags=["access"])
async def whoami(asking: Asking) -> CallerDocument:
    """Say who the caller is, and what they may do."""
    principal = asking.allowed.principal
    return CallerDocument(
        **principal.model_dump(include={"subject", "means", "issuer", "display_name", "groups", "expires_at"}),
        grants=asking.allowed.grants,
        version=__version__,
    )


@router.get("/state/{team}/{name}", tags=["state"], response_class=Response)
async def pull_state(asking: Asking, team: Team, name: Name, step: StepQuery = "") -> Response:
    """Read the newest Terraform state of a step. It holds secrets in plain."""
    service = f"{team}/{name}"
    asking.require("state.pull", _target(asking, service))
    state = await asking.bond.state.pull(service, step=step)
    headers = {"Bond-Step": state.step}
    if state.archived_at is not None:
        headers |= {"Bond-Archived-As": state.archived_as, "Bond-Archived-At": state.archived_at.isoformat()}
    return Response(state.content, media_type="application/octet-stream", headers=headers)


@router.put(
    "/state/{team}/{name}",
    tags=["state"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def push_state(
    asking: Asking,
    request: Request,
    team: Team,
    name: Name,
    *,
    step: StepQuery = "",
    force: bool = False,
    force_lineage: bool = False,
    reason: Annotated[str, Query(max_length=MAX_REASON_CHARS)] = "",
) -> Pushed:
    """Replace a step's Terraform state; waits for an operation that holds it."""
    service = f"{team}/{name}"
    asking.require("state.push", _target(asking, service))
    return await asking.bond.state.push(
        service, await request.body(), step=step, force=force, force_lineage=force_lineage, reason=reason
    )


@router.get("/state/{team}/{name}/log", tags=["state"])
async def show_state_log(asking: Asking, team: Team, name: Name, step: StepQuery = "") -> list[StateEntryDocument]:
    """Show the state log of a step."""
    service = f"{team}/{name}"
    asking.require("state.log", _target(asking, service))
    return await asking.bond.state.log(service, step=step)


@router.get("/workers", tags=["workers"])
async def list_builds(asking: Asking) -> list[BuildDocument]:
    """List the builds of the control workers."""
    asking.require("worker.read")
    return await asking.bond.workers.list()


@router.get("/workers/queues", tags=["workers"])
async def list_queues(
    asking: Asking, pool: Annotated[tuple[str, ...], Query(max_length=50)] = ()
) -> list[QueueDocument]:
    """List who polls the queues of the control workers and of pools; by default those of the settings."""
    asking.require("worker.read")
    return await asking.bond.workers.queues(pool or asking.state.settings.pools)


@router.post("/workers/{build}/promote", tags=["workers"])
async def promote_build(asking: Asking, build: Build, body: PromoteBody) -> list[BuildDocument]:
    """Give a build all new work, or a part of it."""
    asking.require("worker.promote")
    return await asking.bond.workers.promote(build, percent=body.percent)


@router.post("/workers/{build}/evict", tags=["workers"])
async def evict_build(asking: Asking, build: Build) -> EvictedDocument:
    """Move all that a build holds to the current one."""
    asking.require("worker.evict")
    return await asking.bond.workers.evict(build)


@router.get("/tokens", tags=["tokens"])
async def list_tokens(asking: Asking, *, every: bool = False) -> list[TokenDocument]:
    """List one's own API tokens, or everybody's."""
    asking.require("token.manage" if every else "token.read")
    caller = asking.allowed.principal.subject
    records = await asking.state.store.tokens.list()
    return [TokenDocument.of(record) for record in records if every or record.created_by == caller]


@router.post("/tokens", tags=["tokens"], status_code=status.HTTP_201_CREATED)
async def create_token(asking: Asking, body: TokenBody) -> NewTokenDocument:
    """Make an API token with roles that one has oneself; its text is shown this once."""
    asking.require("token.create")
    grants = tuple(grant.granted for grant in body.grants)
    refused = asking.allowed.may_grant(grants)
    if refused is not None:
        raise Forbidden(
            f"you may not pass on {', '.join(refused.roles)} {refused.where()}",
            hint="a token has at most what you have yourself",
        )
    access = await asking.state.authenticator.access()
    if access.grants_to_token(body.name) and not asking.allowed.decide("token.manage").allowed:
        raise Forbidden(
            f"the access document grants something to the token {body.name!r}: only an administrator may make it",
            where=body.name,
            hint="choose another name",
        )
    lifetime = timedelta(days=body.days) if body.days else None
    record, text = await asking.state.store.tokens.create(
        body.name, grants, by=asking.allowed.principal.subject, now=datetime.now(UTC), lifetime=lifetime
    )
    return NewTokenDocument(**dict(TokenDocument.of(record)), token=text)


@router.delete("/tokens/{token}", tags=["tokens"])
async def revoke_token(asking: Asking, token: TokenName) -> TokenDocument:
    """Revoke one's own API token, or, for administrators, anybody's."""
    record = await asking.state.store.tokens.named(token)
    is_own = record.created_by == asking.allowed.principal.subject
    asking.require("token.revoke" if is_own else "token.manage")
    by = asking.allowed.principal.subject
    return TokenDocument.of(await asking.state.store.tokens.revoke(record.id, by=by, now=datetime.now(UTC)))


def _target(asking: Asking, service: str) -> Target:
    entry = asking.state.services.get(service)
    return entry.target if entry is not None else Target(team=service.partition("/")[0], name=service)
