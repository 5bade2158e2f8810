"""Parts of addresses and bodies that several nouns have in common."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path, params
from fastapi.dependencies.utils import get_flat_params
from pydantic import Field
from starlette.requests import Request

from bondstone.base.errors import InvalidInput
from bondstone.base.models import Manifest
from bondstone.base.names import LABEL_KEY_PATTERN, NAME_PATTERN
from bondstone.documents.yaml_places import did_you_mean
from bondstone.model.service import KeptManifest

MAX_REASON_CHARS: Final = 1000
VERSION_PATTERN: Final = r"^$|^\d{1,9}\.\d{1,9}\.\d{1,9}([-+][0-9A-Za-z.+-]{1,64})?$"
DIGEST_PATTERN: Final = r"^(sha256:)?[0-9a-fA-F]{12,64}$"
MAX_LABELS: Final = 32
MAX_ROLES: Final = 20

Team = Annotated[str, Path(pattern=NAME_PATTERN, description="Team that owns the service")]
Name = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of the service in its team")]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the operation")]
PromiseName = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of the promise")]
Version = Annotated[str, Path(pattern=VERSION_PATTERN, min_length=1, description="Version of the promise")]
ThingName = Annotated[str, Path(pattern=NAME_PATTERN, description="Its name")]

Reason = Annotated[str, Field(max_length=MAX_REASON_CHARS, description="Why, for the record")]
RequiredReason = Annotated[
    str, Field(min_length=1, max_length=MAX_REASON_CHARS, description="Why, for the record")
]
Step = Annotated[str, Field(pattern=f"^$|{NAME_PATTERN}", description="Whose; may be left out where there is one")]
Labels = Annotated[
    dict[Annotated[str, Field(pattern=LABEL_KEY_PATTERN)], Annotated[str, Field(max_length=128)]],
    Field(max_length=MAX_LABELS),
]


RoleNames = Annotated[tuple[Annotated[str, Field(pattern=NAME_PATTERN)], ...], Field(max_length=MAX_ROLES)]
Inputs = dict[str, Any]
TargetVersion = Annotated[str, Field(max_length=80, description="Exact version; default: the newest")]


async def known_query(request: Request) -> None:
    """Refuse query parameters that the address does not have: a typing error must not go unnoticed.

    Raises:
        InvalidInput: naming them.
    """
    route = request.scope["route"]
    declared = get_flat_params(route.dependant)
    known = {field.alias for field in declared if isinstance(field.field_info, params.Query)}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise InvalidInput(
            f"there is no query parameter {unknown[0][:80]!r} here",
            where=f"{request.method} {request.url.path}",
            hint=did_you_mean(unknown[0], known) or "it has " + (", ".join(sorted(known)) or "none"),
        )


class Why(Manifest):
    """A change that needs no more than a reason."""

    reason: Reason = ""


class Because(Manifest):
    """A change that must not be made without a reason."""

    reason: RequiredReason


class OperationBody(Manifest):
    """What every request of an operation may say."""

    reason: Reason = ""
    dry_run: bool = False
    """Plan and ask the policies, and change nothing"""
    ask: bool = False
    """Let every plan that changes something wait for another person's approval"""
    applied: KeptManifest | None = None
    """The manifest that asks, which the service keeps: what the next one is compared with"""
