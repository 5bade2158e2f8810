"""Who asks: the caller of a request, and the access document that says what callers may do.

Workflows may import this module: it does no I/O and knows no provider.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from bondstone.base.models import Manifest, Wire
from bondstone.base.names import LABEL_KEY_PATTERN
from bondstone.model.promise import Name

Means = Literal["local", "oidc", "token", "workload", "part", "backstage"]
"""How a caller proved who it is: the data directory's token, a sign-in, an API token, a JWT of a workload. `part`:
a control worker asks a part for what an operation of its parent needs, in the name of who asked for that.
`backstage`: a plugin of Backstage calls, on behalf of a person who is signed in there or of nobody."""

VIEWER: Final = "viewer"
DEVELOPER: Final = "developer"
OPERATOR: Final = "operator"
PUBLISHER: Final = "publisher"
APPROVER: Final = "approver"
AUDITOR: Final = "auditor"
ADMIN: Final = "admin"
ROLES: Final = {
    VIEWER: "reads services, operations and campaigns in its scope; never secrets or states",
    DEVELOPER: "requests, changes and decommissions services in its scope",
    OPERATOR: "runs campaigns, freezes and schedules, retries and cancels, in its scope",
    PUBLISHER: "publishes, deprecates and yanks promises; publishes policies",
    APPROVER: "approves and rejects plans and gates that ask for its role: written `approver:<role>`",
    AUDITOR: "reads what a viewer reads, the whole ledger and the access document; changes nothing",
    ADMIN: "may do everything, and says who may do what",
}
"""Every role with what it is for."""

ROLE_PATTERN: Final = r"viewer|developer|operator|publisher|auditor|admin|approver:[a-z]([a-z0-9-]{0,46}[a-z0-9])?"
_ROLE: Final = re.compile(ROLE_PATTERN)
MAX_GRANTS: Final = 1_000
EVERYTHING: Final = "everything"
"""Scope of a grant that holds everywhere."""


def _role(text: str) -> str:
    if not _ROLE.fullmatch(text):
        known = ", ".join(f"{role}:<role>" if role == APPROVER else role for role in ROLES)
        raise PydanticCustomError(
            "role", "{text} is not a role; roles are {known}", {"text": text, "known": known}
        )
    return text


Item = TypeVar("Item")


def _some(items: tuple[Item, ...]) -> tuple[Item, ...]:
    if not items:
        raise PydanticCustomError("none", "name at least one")
    return items


Role = Annotated[str, AfterValidator(_role)]


def base_role(role: str) -> str:
    """The role without what it is for: `approver` of `approver:dba`."""
    return role.partition(":")[0]


def approver_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """The roles in which a holder may approve, as promises and policies name them: `dba` of `approver:dba`."""
    return tuple(sorted({role.partition(":")[2] for role in roles if base_role(role) == APPROVER}))


# What an access document says ----------------------------------------------------------------------------


class Target(Wire):
    """What a verb is about. All empty: the platform as a whole, which only an unscoped grant reaches."""

    team: str = ""
    promise: str = ""
    labels: dict[str, str] = {}
    name: str = ""
    """For messages: `payments/orders-db`, `promise postgres`."""

    def __str__(self) -> str:
        return self.name or (f"team {self.team}" if self.team else "the platform")


class Scope(Manifest):
    """Where a grant holds: all that are named must fit; of several teams or promises any one.

    A target that has no team is outside every scope that names teams; the same goes for promises and labels.
    """

    teams: tuple[Name, ...] = ()
    promises: tuple[Name, ...] = ()
    labels: dict[Annotated[str, Field(pattern=LABEL_KEY_PATTERN)], str] = {}

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if not (self.teams or self.promises or self.labels):
            raise PydanticCustomError(
                "scope", "a scope names teams, promises or labels; or write `scope: everything`"
            )
        return self

    def covers(self, target: Target) -> bool:
        """Whether the target lies inside."""
        return (
            (not self.teams or target.team in self.teams)
            and (not self.promises or target.promise in self.promises)
            and all(target.labels.get(key) == value for key, value in self.labels.items())
        )

    def contains(self, other: Scope) -> bool:
        """Whether everything inside the other scope is inside this one."""
        return (
            (not self.teams or (bool(other.teams) and set(other.teams) <= set(self.teams)))
            and (not self.promises or (bool(other.promises) and set(other.promises) <= set(self.promises)))
            and all(other.labels.get(key) == value for key, value in self.labels.items())
        )

    def __str__(self) -> str:
        parts = [f"team {team}" for team in self.teams] + [f"promise {promise}" for promise in self.promises]
        return ", ".join(parts + [f"label {key}={value}" for key, value in self.labels.items()])


class ClaimSubject(Manifest):
    """A claim of a token that must have this value; a claim that is a list must contain it."""

    issuer: str = Field(min_length=1)
    """Issuer of the token: claims mean something only beside who says them."""
    name: str = Field(min_length=1)
    value: str = Field(min_length=1)


class Subject(Manifest):
    """Who a grant is for: exactly one of `user`, `group`, `token`, `claim` and `anyone`."""

    user: str = ""
    """The subject of a person or a workload, as `bond whoami` prints it."""
    group: str = ""
    """A group that the sign-in says the person is in."""
    token: str = ""
    """Name of an API token."""
    claim: ClaimSubject | None = None
    anyone: bool = False
    """Everybody who has signed in."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.user, self.group, self.token, self.claim, self.anyone))) != 1:
            raise PydanticCustomError(
                "subject", "a subject is exactly one of user, group, token, claim and anyone"
            )
        return self

    def matches(self, principal: Principal) -> bool:
        """Whether the caller is this subject."""
        if self.user:
            return principal.means != "token" and principal.subject == self.user
        if self.group:
            return self.group in principal.groups
        if self.token:
            return principal.means == "token" and principal.subject == f"token:{self.token}"
        if self.claim is not None:
            claim = principal.claims.get(self.claim.name)
            values = claim if isinstance(claim, list | tuple) else [claim]
            return principal.issuer == self.claim.issuer and self.claim.value in [str(value) for value in values]
        return True

    def __str__(self) -> str:
        if self.claim is not None:
            return f"claim {self.claim.name}={self.claim.value} of {self.claim.issuer}"
        return (
            "anyone"
            if self.anyone
            else f"user {self.user}"
            if self.user
            else (f"group {self.group}" if self.group else f"token {self.token}")
        )


def _everything(value: Any) -> Any:
    if isinstance(value, str) and value != EVERYTHING:
        raise PydanticCustomError(
            "scope", "{text} is not a scope; write `everything`, or a mapping", {"text": value}
        )
    return None if value == EVERYTHING else value


class Roles(Manifest):
    """Roles, and where they hold."""

    roles: Annotated[tuple[Role, ...], AfterValidator(_some)]
    scope: Annotated[Scope | None, BeforeValidator(_everything)]
    """None, written `everything`: everywhere."""

    def covers(self, target: Target) -> bool:
        """Whether the roles hold for the target."""
        return self.scope is None or self.scope.covers(target)

    def where(self) -> str:
        """The scope in words."""
        return "everywhere" if self.scope is None else f"in {self.scope}"


class Grant(Roles):
    """One line of an access document: these subjects have these roles in this scope."""

    subjects: Annotated[tuple[Subject, ...], AfterValidator(_some)]


class AccessMetadata(Manifest):
    """What an access document says of itself."""

    reason: str = Field("", max_length=1000)
    """Why it was changed, for the record."""


class AccessSpec(Manifest):
    """What an access document grants. Nobody has what it does not say."""

    grants: tuple[Grant, ...] = Field(max_length=MAX_GRANTS)


class AccessDocument(Manifest):
    """Who may do what, where: kind `Access`."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["Access"]
    metadata: AccessMetadata = AccessMetadata()
    spec: AccessSpec


# Who asks ------------------------------------------------------------------------------------------------


class Principal(Wire):
    """A caller whose credential was checked."""

    subject: str
    """The name for records and for access documents: `ada@example.com`, `token:ci`, `local:ada`."""
    means: Means
    issuer: str = ""
    """Who vouches for the subject: the issuer's URL; empty for `local` and `token`."""
    groups: tuple[str, ...] = ()
    claims: dict[str, Any] = {}
    """Claims of the token that access documents may refer to."""
    token_id: str = ""
    """Of an API token: its id, for the record and for revoking it."""
    display_name: str = ""
    grants: tuple[Roles, ...] = ()
    """What the credential itself brings: the roles of an API token, `admin` of the local token."""
    expires_at: datetime | None = None
    """When the credential ends."""
    reads_only: bool = False
    """Whether the credential changes nothing, whatever roles it has: no person stands behind it."""

    @property
    def may_assert(self) -> bool:
        """Whether the caller may act under other names and roles (`--as`, `--role`): the owner of the platform."""
        return self.means in {"local", "part"}
