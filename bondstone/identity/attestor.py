"""Signing who asked for a change: what the API, or the holder of the data directory, puts under each.

The API makes one `Attestor` for each request it serves, of a caller whose permission it has decided on; what the
caller's client then sends to Temporal carries its attestations (`bondstone.temporal.attesting`)::

    temporal = attesting_client(client, Attestor(signer, principal, permissions))
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from bondstone.base.errors import Forbidden
from bondstone.identity.access import Access, Permissions, permissions_of
from bondstone.identity.local_token import local_principal
from bondstone.identity.verbs import VERBS
from bondstone.model.attestation import Attestable, Attestation, arguments_digest
from bondstone.model.identity import APPROVER, Principal, base_role
from bondstone.store.signing import Signer

PARTS: Final = "bondstone"
LIFETIME: Final = timedelta(minutes=5)
"""A change must have been accepted within it."""

Change = TypeVar("Change", bound=Attestable)


class Attestor:
    """Attests changes in the name of one caller.

    Args:
        signer: Signs, with a key of attestations.
        principal: The caller.
        permissions: What the caller may do. Whoever asks for an attestation has decided on them; what is attested
            are the roles that they rest on. A vote's roles must have been restricted to its target before, see
            `bondstone.identity.access.votes_as`.
    """

    def __init__(self, signer: Signer, principal: Principal, permissions: Permissions) -> None:
        self._signer = signer
        self._principal = principal
        self._permissions = permissions

    @classmethod
    def local(cls, signer: Signer, name: str = "") -> Attestor:
        """For whoever holds the data directory: asks under any name and in any role.

        Args:
            signer: Of the data directory.
            name: Default: the user of the operating system.
        """
        principal = local_principal(name)
        return cls(signer, principal, permissions_of(Access(), principal))

    @classmethod
    def for_parts(cls, signer: Signer) -> Attestor:
        """For a control worker that has checked the permit of a parent's operation, and asks its parts.

        Args:
            signer: Of permits.
        """
        principal = local_principal(PARTS).changed(means="part")
        return cls(signer, principal, permissions_of(Access(), principal))

    def attest(
        self,
        change: Change,
        *,
        verb: str,
        target: str,
        by: str,
        roles: tuple[str, ...] = (),
        lifetime: timedelta = LIFETIME,
    ) -> Change:
        """The change with the caller's attestation.

        Args:
            change: What is asked for.
            verb: What it does.
            target: What it does that to.
            by: Who it says it is from.
            roles: Of a vote: the roles that it says.
            lifetime: Until when it must have been accepted.

        Raises:
            Forbidden: it is from somebody else, or says a role that the caller does not have.
        """
        who = self._principal
        if not who.may_assert and by != who.subject:
            raise Forbidden(f"{who.subject} cannot ask in the name of {by}", where=target)
        now = datetime.now(UTC)
        attestation = self._signer.sign(
            Attestation(
                subject=by,
                means=who.means,
                issuer=who.issuer,
                token_id=who.token_id,
                roles=self._roles(verb, roles, target),
                verb=verb,
                target=target,
                arguments=arguments_digest(change),
                issued_at=now,
                expires_at=now + lifetime,
                nonce=secrets.token_urlsafe(24),
            )
        )
        return change.changed(attestation=attestation)

    def _roles(self, verb: str, claimed: tuple[str, ...], target: str) -> tuple[str, ...]:
        """The caller's roles that allow the verb; of approvers only those that the vote says."""
        held = {role for grant in self._permissions.grants for role in grant.roles}
        voting = {f"{APPROVER}:{role}" for role in claimed}
        if not self._principal.may_assert and (extra := sorted(voting - held)):
            raise Forbidden(f"{self._principal.subject} is no {extra[0]}", where=target)
        rule = VERBS[verb]
        allowing = {role for role in held if base_role(role) != APPROVER and rule.allows(base_role(role))}
        return tuple(sorted(allowing | voting))
