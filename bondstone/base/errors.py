"""Every way Bondstone says no.

The tree, with the stable code of each, the exit code of `bond` and the HTTP status it maps to::

    BondError                          INTERNAL               1  500
    ├── InvalidInput                   INVALID_INPUT          2  422   what was asked cannot be right
    │   ├── PromiseInvalid             PROMISE_INVALID        2  422
    │   ├── CampaignInvalid            CAMPAIGN_INVALID       2  422
    │   ├── ManifestInvalid            MANIFEST_INVALID       2  422
    │   ├── PolicyInvalid              POLICY_INVALID         2  422
    │   ├── ExpressionInvalid          EXPRESSION_INVALID     2  422
    │   ├── InputsInvalid              INPUTS_INVALID         2  422
    │   ├── KeyReused                  KEY_REUSED             2  422   a request id that another request has
    │   ├── AccessInvalid              ACCESS_INVALID         2  422
    │   ├── SettingsInvalid            SETTINGS_INVALID       2  422
    │   └── RequestInvalid             REQUEST_INVALID        2  400   an HTTP request that cannot be read
    │       ├── CursorInvalid          CURSOR_INVALID         2  400
    │       ├── MethodNotAllowed       METHOD_NOT_ALLOWED     2  405
    │       ├── BodyTooLarge           BODY_TOO_LARGE         2  413
    │       ├── AddressTooLong         ADDRESS_TOO_LONG       2  414
    │       ├── HeadersTooLarge        HEADERS_TOO_LARGE      2  431
    │       ├── RequestTooSlow         REQUEST_TOO_SLOW       2  408
    │       └── HostUnknown            HOST_UNKNOWN           2  421   sent to a name that is not ours
    ├── NotFound                       NOT_FOUND              3  404
    ├── Unauthenticated                UNAUTHENTICATED        4  401   the caller is not known
    │   ├── TokenInvalid               TOKEN_INVALID          4  401
    │   ├── TokenUnsigned              TOKEN_UNSIGNED         4  401
    │   ├── TokenForeign               TOKEN_FOREIGN          4  401   an issuer or a key that is not trusted
    │   ├── TokenAudience              TOKEN_AUDIENCE         4  401   made for another application
    │   ├── TokenExpired               TOKEN_EXPIRED          4  401
    │   ├── TokenNotYetValid           TOKEN_NOT_YET_VALID    4  401
    │   ├── TokenReplayed              TOKEN_REPLAYED         4  401   good once, and used already
    │   └── TokenRevoked               TOKEN_REVOKED          4  401
    ├── Refused                        REFUSED                4  409   right in form, not allowed now
    │   ├── AlreadyExists              ALREADY_EXISTS         4  409
    │   ├── KeyInUse                   KEY_IN_USE             4  409   the same request is being carried out
    │   ├── RevisionConflict           REVISION_CONFLICT      4  409
    │   ├── RevisionYanked             REVISION_YANKED        4  409
    │   ├── PolicyDenied               POLICY_DENIED          4  403
    │   ├── ApprovalRejected           APPROVAL_REJECTED      4  403
    │   ├── Forbidden                  FORBIDDEN              4  403   no role of the caller allows it
    │   ├── AttestationInvalid         ATTESTATION_INVALID    4  403   missing, foreign, expired, of another change
    │   ├── PermitInvalid              PERMIT_INVALID         4  403   an apply without a permit for that very plan
    │   ├── Changed                    CHANGED                4  412   not what the caller has read (`If-Match`)
    │   ├── VoteRefused                VOTE_REFUSED           4  403   a vote of a person who may not vote here
    │   ├── VoteStale                  VOTE_STALE             4  412   not the plan or the targets that wait now
    │   ├── OriginRefused              ORIGIN_REFUSED         4  403   a page of another site
    │   ├── TooManyRequests            TOO_MANY_REQUESTS      4  429
    │   └── PlatformBusy               PLATFORM_BUSY          4  409   a data directory or port in use
    ├── OperationFailed                OPERATION_FAILED       1  500   the work was tried and failed
    │   ├── ToolFailed                 TOOL_FAILED            1  500   the tool said no
    │   ├── ToolUnavailable            TOOL_UNAVAILABLE       1  503   the tool is not there or cannot start
    │   ├── ExtraMissing               EXTRA_MISSING          1  501   an optional part is not installed
    │   ├── StepTimedOut               STEP_TIMED_OUT         1  504
    │   ├── TryLater                   TRY_LATER              1  503   the tool asked to be run again after a time
    │   ├── OperationCancelled         OPERATION_CANCELLED    1  409
    │   ├── PlanStale                  PLAN_STALE             1  409   reality moved since the plan
    │   ├── Fenced                     FENCED                 1  409   another attempt holds the state now
    │   └── Unhealthy                  UNHEALTHY              1  500
    ├── StoreError                     STORE_ERROR            1  502
    │   ├── ObjectMissing              OBJECT_MISSING         1  500
    │   ├── ObjectCorrupt              OBJECT_CORRUPT         1  500
    │   ├── KeyMissing                 KEY_MISSING            1  500
    │   └── StoreUnavailable           STORE_UNAVAILABLE      6  503   transient: worth another try
    └── Unreachable                    UNREACHABLE            6  503   the platform does not answer

`transient` says whether the same call may go through later; only those are retried.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

from pydantic import ConfigDict

from bondstone.base.models import Model


class Problem(Model):
    """One finding, at one place: what a validator reports many of."""

    model_config = ConfigDict(frozen=True)

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ErrorInfo(Model):
    """An error as data: what crosses Temporal, the ledger and `-o json`."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    where: str = ""
    hint: str = ""
    problems: tuple[Problem, ...] = ()
    earlier_attempts: tuple[str, ...] = ()
    """Why attempts at the same work before this one ended, the first one first."""


class BondError(Exception):
    """Base of everything Bondstone raises on purpose.

    Args:
        message: What went wrong and why, in a sentence a person can act on.
        where: The thing it happened to: a file with line and column, a service, a step.
        hint: What to do next.
        problems: Single findings, when there are several.
    """

    code: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, where: str = "", hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.problems = tuple(problems)
        self.earlier_attempts: tuple[str, ...] = ()

    def info(self) -> ErrorInfo:
        """The error as data."""
        return ErrorInfo(
            code=self.code,
            message=self.message,
            where=self.where,
            hint=self.hint,
            problems=self.problems,
            earlier_attempts=self.earlier_attempts,
        )

    def masked(self, redact: Callable[[str], str]) -> Self:
        """The same error without secrets; raise it `from None`, or what it came from tells them after all.

        Args:
            redact: Takes the secrets out of a text.
        """
        masked = copy.copy(self)
        masked.message, masked.where, masked.hint = redact(self.message), redact(self.where), redact(self.hint)
        masked.problems = tuple(
            item.changed(message=redact(item.message), hint=redact(item.hint)) for item in self.problems
        )
        masked.args = (masked.message,)
        masked.__cause__ = masked.__context__ = None
        return masked

    def __str__(self) -> str:
        text = f"{self.message} [{self.where}]" if self.where else self.message
        return "\n".join([text, *(f"  {problem}" for problem in self.problems)])


class InvalidInput(BondError):
    """What was asked cannot be right, whenever it is asked."""

    code = "INVALID_INPUT"
    exit_code = 2
    http_status = 422


class PromiseInvalid(InvalidInput):
    """A promise that must not be published; `problems` names every place."""

    code = "PROMISE_INVALID"


class CampaignInvalid(InvalidInput):
    """A campaign or strategy that must not start; `problems` names every place."""

    code = "CAMPAIGN_INVALID"


class ManifestInvalid(InvalidInput):
    """What was to be applied cannot be right; `problems` says where and why."""

    code = "MANIFEST_INVALID"


class PolicyInvalid(InvalidInput):
    """A policy that does not parse, or uses syntax whose meaning would be silently wrong."""

    code = "POLICY_INVALID"


class ExpressionInvalid(InvalidInput):
    """A `${…}` that does not compile, or that failed when evaluated."""

    code = "EXPRESSION_INVALID"


class InputsInvalid(InvalidInput):
    """Inputs of a request that the promise's schema refuses; `problems` names each field."""

    code = "INPUTS_INVALID"


class KeyReused(InvalidInput):
    """A request id (`Idempotency-Key`) was used for another request before."""

    code = "KEY_REUSED"


class AccessInvalid(InvalidInput):
    """An access document that must not be published; `problems` names every place."""

    code = "ACCESS_INVALID"


class SettingsInvalid(InvalidInput):
    """A setting that is missing, malformed or contradicts another."""

    code = "SETTINGS_INVALID"


class RequestInvalid(InvalidInput):
    """An HTTP request that cannot be read."""

    code = "REQUEST_INVALID"
    http_status = 400


class CursorInvalid(RequestInvalid):
    """No cursor of the API, or one of another list."""

    code = "CURSOR_INVALID"


class MethodNotAllowed(RequestInvalid):
    """The address takes other methods."""

    code = "METHOD_NOT_ALLOWED"
    http_status = 405


class BodyTooLarge(RequestInvalid):
    """The body of a request is larger than the API takes."""

    code = "BODY_TOO_LARGE"
    http_status = 413


class AddressTooLong(RequestInvalid):
    """The path and query of a request are longer than the API takes."""

    code = "ADDRESS_TOO_LONG"
    http_status = 414


class HeadersTooLarge(RequestInvalid):
    """A request has more headers, or larger ones, than the API takes."""

    code = "HEADERS_TOO_LARGE"
    http_status = 431


class RequestTooSlow(RequestInvalid):
    """The body of a request did not arrive in time."""

    code = "REQUEST_TOO_SLOW"
    http_status = 408


class HostUnknown(RequestInvalid):
    """The request names a host that the API does not answer for."""

    code = "HOST_UNKNOWN"
    http_status = 421


class NotFound(BondError):
    """No such promise, revision, service, operation or object by that name."""

    code = "NOT_FOUND"
    exit_code = 3
    http_status = 404


class Unauthenticated(BondError):
    """The caller brought no credential, or one that is not accepted."""

    code = "UNAUTHENTICATED"
    exit_code = 4
    http_status = 401


class TokenInvalid(Unauthenticated):
    """The token is malformed, or its algorithm is not accepted."""

    code = "TOKEN_INVALID"


class TokenUnsigned(Unauthenticated):
    """The token has no signature (`alg: none`)."""

    code = "TOKEN_UNSIGNED"


class TokenForeign(Unauthenticated):
    """The token comes from an issuer, or is signed with a key, that the platform does not trust."""

    code = "TOKEN_FOREIGN"


class TokenAudience(Unauthenticated):
    """The token was issued for another application."""

    code = "TOKEN_AUDIENCE"


class TokenExpired(Unauthenticated):
    """The token, the session or the sign-in is over."""

    code = "TOKEN_EXPIRED"


class TokenNotYetValid(Unauthenticated):
    """The token begins to be valid in the future: a clock is off."""

    code = "TOKEN_NOT_YET_VALID"


class TokenReplayed(Unauthenticated):
    """The token or code is good once, and was used before."""

    code = "TOKEN_REPLAYED"


class TokenRevoked(Unauthenticated):
    """The API token was revoked."""

    code = "TOKEN_REVOKED"


class Refused(BondError):
    """Well-formed, but not allowed: by policy, by state, or by somebody else having been first."""

    code = "REFUSED"
    exit_code = 4
    http_status = 409


class AlreadyExists(Refused):
    """The name is taken by another request."""

    code = "ALREADY_EXISTS"


class KeyInUse(Refused):
    """The same request (`Idempotency-Key`) is being carried out; its answer is there soon."""

    code = "KEY_IN_USE"
    transient = True


class RevisionConflict(Refused):
    """The version is published with other content."""

    code = "REVISION_CONFLICT"


class RevisionYanked(Refused):
    """The revision takes no new services."""

    code = "REVISION_YANKED"


class PolicyDenied(Refused):
    """A policy denied the plan; `problems` carries its messages."""

    code = "POLICY_DENIED"
    http_status = 403


class ApprovalRejected(Refused):
    """People were asked about a plan, and said no, or nothing in time."""

    code = "APPROVAL_REJECTED"
    http_status = 403


class Forbidden(Refused):
    """No role of the caller allows this here; the message names the roles that would."""

    code = "FORBIDDEN"
    http_status = 403
    verb: str = ""
    """What was asked, as in `service.update`; for the record of refusals."""
    target: object = None
    """What it was about."""


class AttestationInvalid(Refused):
    """The change carries no attestation of who asked for it, or one that does not prove this very change."""

    code = "ATTESTATION_INVALID"
    http_status = 403


class PermitInvalid(Refused):
    """A step would change something without a permit of the control workers for that very plan."""

    code = "PERMIT_INVALID"
    http_status = 403


class Changed(Refused):
    """What is to be changed is not any more what the caller has read."""

    code = "CHANGED"
    http_status = 412


class VoteRefused(Refused):
    """The voter asked for this change, or is in none of the roles that it waits for."""

    code = "VOTE_REFUSED"
    http_status = 403


class VoteStale(Refused):
    """The vote names another plan, or other targets, than those that wait now."""

    code = "VOTE_STALE"
    http_status = 412


class OriginRefused(Refused):
    """A page of another site sent the request."""

    code = "ORIGIN_REFUSED"
    http_status = 403


class TooManyRequests(Refused):
    """The caller sends more requests than the API takes from one."""

    code = "TOO_MANY_REQUESTS"
    http_status = 429
    transient = True
    retry_after_seconds: int = 1
    """When to come back."""


class PlatformBusy(Refused):
    """A port or a data directory that somebody else is using."""

    code = "PLATFORM_BUSY"


class OperationFailed(BondError):
    """The work was tried and did not succeed."""

    code = "OPERATION_FAILED"


class ToolFailed(OperationFailed):
    """Terraform, Helm or another tool refused or failed; its diagnostics are in `problems`."""

    code = "TOOL_FAILED"


class ToolUnavailable(OperationFailed):
    """The tool is not installed, does not start, or cannot get what it needs just now."""

    code = "TOOL_UNAVAILABLE"
    http_status = 503
    transient = True


class ExtraMissing(OperationFailed):
    """An optional part of the distribution is not installed: `bondstone[worker]`, `bondstone[server]`."""

    code = "EXTRA_MISSING"
    http_status = 501


class StepTimedOut(OperationFailed):
    """A step ran longer than its promise allows."""

    code = "STEP_TIMED_OUT"
    http_status = 504


class TryLater(OperationFailed):
    """The tool asked to be run again after a time; Temporal keeps that time.

    Args:
        message: What it waits for.
        after_seconds: How long.
        where: The thing it happened to.
        hint: What to do next.
    """

    code = "TRY_LATER"
    http_status = 503
    transient = True

    def __init__(self, message: str, *, after_seconds: float = 0, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.after_seconds = after_seconds


class OperationCancelled(OperationFailed):
    """Somebody asked for the operation to stop, and it did."""

    code = "OPERATION_CANCELLED"
    http_status = 409


class PlanStale(OperationFailed):
    """The state moved after the plan was made, so the plan must not be applied."""

    code = "PLAN_STALE"
    http_status = 409


class Fenced(OperationFailed):
    """Another attempt has claimed the state: this one must stop and may not write."""

    code = "FENCED"
    http_status = 409


class Unhealthy(OperationFailed):
    """A health probe did not pass within its time."""

    code = "UNHEALTHY"


class StoreError(BondError):
    """The object store or the secret store failed."""

    code = "STORE_ERROR"
    http_status = 502


class ObjectMissing(StoreError):
    """An object that a record names is not in the store."""

    code = "OBJECT_MISSING"
    http_status = 500


class ObjectCorrupt(StoreError):
    """An object whose content does not match its digest or does not decrypt."""

    code = "OBJECT_CORRUPT"
    http_status = 500


class KeyMissing(StoreError):
    """The encryption key an object names is not in the key ring."""

    code = "KEY_MISSING"
    http_status = 500


class StoreUnavailable(StoreError):
    """The store did not answer, or is out of room; the same call may go through later."""

    code = "STORE_UNAVAILABLE"
    exit_code = 6
    http_status = 503
    transient = True


class Unreachable(BondError):
    """The platform (Temporal, a worker) does not answer."""

    code = "UNREACHABLE"
    exit_code = 6
    http_status = 503
    transient = True


def _tree(root: type[BondError]) -> Iterator[type[BondError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


BY_CODE: dict[str, type[BondError]] = {cls.code: cls for cls in _tree(BondError)}
"""Every error class by its stable code."""


def from_info(info: ErrorInfo) -> BondError:
    """The exception for an error that arrived as data; an unknown code becomes a plain `BondError`."""
    return BY_CODE.get(info.code, BondError)(
        info.message, where=info.where, hint=info.hint, problems=info.problems
    )
