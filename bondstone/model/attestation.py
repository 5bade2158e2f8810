"""Attestations and permits: signed statements that workers check before they believe anything.

An *attestation* is the signature of the API (or of whoever holds the data directory) under who asked for what. A
*permit* is the signature of a control worker under what an executor may do. Both are Ed25519 over the statement's
canonical JSON. Workflows may import this module: nothing here reads a clock, a file or the network.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import AttestationInvalid, BondError, PermitInvalid
from bondstone.base.models import Wire
from bondstone.model.identity import Means, approver_roles

LEEWAY: Final = timedelta(seconds=60)
"""How far the clocks of the API and of Temporal may differ."""

NOT_ATTESTED: Final = frozenset({"attestation", "trace", "carried", "previous"})
"""Fields of an argument that its digest leaves out."""

Keys = Mapping[str, bytes]
"""Key id to the 32 bytes of an Ed25519 public key."""


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The public keys of a platform: of those who attest (the API), and of those who permit (control workers)."""

    attestation: Keys = field(default_factory=dict)
    permit: Keys = field(default_factory=dict)

    def of(self, statement: Statement) -> Keys:
        """Those that may have signed a statement: what a part is asked for is attested by control workers."""
        return getattr(self, use_of(statement))  # type: ignore[no-any-return] # one of the two above


class Attestation(Wire):
    """Who asked for one change, as the API has checked it."""

    subject: str = Field(max_length=256)
    means: Means
    issuer: str = ""
    token_id: str = ""
    roles: tuple[str, ...] = ()
    """Every role that the subject had for the target, `approver:dba` written out."""
    verb: str
    """`<noun>.<verb>` of `docs/reference/access.md`."""
    target: str
    """What the change is about: `payments/orders-db`, `payments/orders-db/op/7`, `campaign/cve-2026-1234`."""
    arguments: str
    """sha256 of the change's canonical JSON: the attestation is of nothing else."""
    issued_at: datetime
    expires_at: datetime
    """Until when the change must have been accepted."""
    nonce: str = Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")
    key_id: str = ""
    signature: str = ""


class Attestable(Wire):
    """A change that may carry the attestation of who asked for it; requests of a campaign carry the campaign's."""

    attestation: Attestation | None = None


class Permit(Wire):
    """What executors may do: plan and look for the steps of one operation, or apply one plan."""

    kind: Literal["operation", "apply"]
    team: str
    service: str
    operation: int
    request: str = ""
    """Id of the accepted request (`acceptance_id`); empty for a service's own look for drift."""
    by: str = ""
    """Who asked for the operation."""
    operation_kind: str = ""
    bases: tuple[str, ...] = ()
    """Digests of the revisions with inputs that its steps may be rendered from, see `basis_digest`."""
    labels: str = ""
    """Digest of the service's labels."""
    changes: bool = False
    """Whether anything may be applied at all: not by a dry run, nor by a mere look for drift."""
    destroys: tuple[str, ...] = ()
    """Steps that may be taken down; `*` for all."""
    asks: tuple[str, ...] = ()
    """Why each plan that changes something waits for an approval, whatever the policies say."""
    step: str = ""
    plan: str = ""
    """Of an apply: the digest of the plan."""
    position: int = 0
    """Of an apply: the position of the state that the plan was made at."""
    issued_at: datetime
    key_id: str = ""
    signature: str = ""


Statement = Attestation | Permit

_DOMAINS: Final[Mapping[type[BaseModel], bytes]] = {
    Attestation: b"bondstone attestation v1\n",
    Permit: b"bondstone permit v1\n",
}
"""What stands before the signed bytes, so that no statement can pass for one of another kind."""


def signed_bytes(statement: BaseModel) -> bytes:
    """What the signature of a statement is of. Defaults are left out, so that later fields change nothing."""
    content = statement.model_dump(mode="json", exclude={"signature"}, exclude_defaults=True)
    return _DOMAINS[type(statement)] + canonical(content)


def arguments_digest(call: Attestable) -> str:
    """The digest of a change, as an attestation names it: of all that is asked, without its attestation."""
    return digest(canonical(call.model_dump(mode="json", exclude=set(NOT_ATTESTED), exclude_defaults=True)))


def basis_digest(revision_digest: str, inputs: Mapping[str, Any]) -> str:
    """The digest of what a step is rendered from: a revision and the service's inputs, secrets by reference."""
    return digest(canonical([revision_digest, dict(inputs)]))


def acceptance_id(attestation: Attestation, request_id: str) -> str:
    """The id under which an accepted request is kept: a campaign's attestation stands behind many."""
    return digest(canonical([attestation.nonce, request_id]))


def json_digest(value: Any) -> str:
    """The digest of a JSON value."""
    return digest(canonical(value))


def use_of(statement: Statement) -> Literal["attestation", "permit"]:
    """Which kind of key signs a statement."""
    permits = isinstance(statement, Permit) or statement.means == "part"
    return "permit" if permits else "attestation"


def check_signature(statement: Statement, keys: Keys) -> None:
    """Refuse a statement that no key of the platform has signed.

    Raises:
        AttestationInvalid, PermitInvalid: by the kind of the statement.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - clients do not check
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    kind: type[BondError] = AttestationInvalid if isinstance(statement, Attestation) else PermitInvalid
    name = "attestation" if isinstance(statement, Attestation) else "permit"
    key = keys.get(statement.key_id)
    if key is None:
        raise kind(
            f"the {name} is signed with the key {statement.key_id[:40]!r}, which is not a key of this platform",
            hint="a key that was added just now is known everywhere within half a minute",
        )
    try:
        signature = base64.b64decode(statement.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed_bytes(statement))
    except (InvalidSignature, ValueError, binascii.Error):
        raise kind(f"the signature of the {name} does not match: it was changed or forged") from None


def check_attestation(
    call: Attestable,
    keys: PublicKeys | Keys,
    *,
    verb: str,
    target: str,
    by: str,
    now: datetime | None,
) -> Attestation:
    """The attestation of a change, when it proves this very change.

    Args:
        call: The change.
        keys: Public keys of the platform, or those of the attestation's kind.
        verb: What the change does.
        target: What it does that to.
        by: Who the change says it is from.
        now: The time at which it is accepted; None where that was checked before.

    Raises:
        AttestationInvalid: in words that say what does not fit.
    """
    attestation = call.attestation
    if attestation is None:
        raise AttestationInvalid(
            "the change carries no attestation of who asks for it",
            where=target,
            hint="ask through the API (`bond login`), or attach what `bond attest` prints",
        )
    check_signature(attestation, keys.of(attestation) if isinstance(keys, PublicKeys) else keys)
    if attestation.verb != verb or attestation.target != target:
        raise AttestationInvalid(
            f"the attestation is for {attestation.verb} of {attestation.target}, not for {verb} of {target}",
            where=target,
        )
    if attestation.subject != by:
        raise AttestationInvalid(
            f"the change says it is from {by[:100]}, its attestation is of {attestation.subject}"
        )
    if attestation.arguments != arguments_digest(call):
        raise AttestationInvalid("the attestation is of the same change with other arguments", where=target)
    if now is not None:
        check_times(attestation, now)
    return attestation


def check_times(attestation: Attestation, now: datetime) -> None:
    """Refuse an attestation that is over, or not yet.

    Raises:
        AttestationInvalid: with both times.
    """
    if now > attestation.expires_at + LEEWAY:
        raise AttestationInvalid(
            f"the attestation expired at {attestation.expires_at:%Y-%m-%dT%H:%M:%SZ}, and it is "
            f"{now:%Y-%m-%dT%H:%M:%SZ}",
            where=attestation.target,
            hint="ask again",
        )
    if now < attestation.issued_at - LEEWAY:
        raise AttestationInvalid(
            f"the attestation is from {attestation.issued_at:%Y-%m-%dT%H:%M:%SZ}, which is in the future",
            where=attestation.target,
            hint="the clocks of the API and of Temporal differ",
        )


def check_vote_roles(attestation: Attestation, roles: tuple[str, ...]) -> None:
    """Refuse a vote in roles that its attestation does not name.

    Raises:
        AttestationInvalid: naming the first.
    """
    held = approver_roles(attestation.roles)
    extra = sorted(set(roles) - set(held))
    if extra:
        raise AttestationInvalid(
            f"{attestation.subject} is not attested to be an approver:{extra[0]}", where=attestation.target
        )
