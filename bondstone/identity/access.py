"""Deciding whether a caller may: pure functions on the access document.

The API calls `permissions_of(access, principal)` once a request, then `decide(verb, target)` for one thing or
`filter(verb)` for a list::

    permissions = permissions_of(access, principal)
    target = Target(team="payments", promise="postgres", name="payments/orders-db")
    permissions.decide("service.update", target).require()

    permitted = permissions.filter("service.read")
    shown = [row for row in rows if permitted(row.target)]

Nothing matches: refused, in words that name the missing role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bondstone.base.errors import Forbidden, InvalidInput
from bondstone.documents.yaml_places import did_you_mean
from bondstone.identity.verbs import VERBS, Verb
from bondstone.model.identity import (
    ADMIN,
    APPROVER,
    AccessDocument,
    Principal,
    Roles,
    Subject,
    Target,
    approver_roles,
    base_role,
)

PLATFORM: Final = Target()
"""The platform as a whole: what only a grant with `scope: everything` covers."""


@dataclass(frozen=True, slots=True)
class Access:
    """What is in force: the published document, and the administrators that the settings name.

    Args:
        document: The newest access document; None before the first.
        admins: Subjects that are administrators whatever the document says (`BOND_ADMINS`).
        version: Number of the document; 0 when there is none.
    """

    document: AccessDocument | None = None
    admins: tuple[Subject, ...] = ()
    version: int = 0

    def grants_to_token(self, name: str) -> bool:
        """Whether the document grants anything to the API token of a name: whoever makes it would get that."""
        grants = self.document.spec.grants if self.document else ()
        return any(subject.token == name for grant in grants for subject in grant.subjects)


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """Whether a caller may do one thing, and why."""

    allowed: bool
    verb: str
    target: Target
    roles: tuple[str, ...]
    """Every role that the caller has for the target, `approver:dba` written out."""
    message: str
    hint: str = ""

    def require(self) -> AccessDecision:
        """Itself when allowed.

        Raises:
            Forbidden: naming the missing role.
        """
        if not self.allowed:
            refusal = Forbidden(self.message, where=str(self.target), hint=self.hint)
            refusal.verb, refusal.target = self.verb, self.target
            raise refusal
        return self

    @property
    def approver_roles(self) -> tuple[str, ...]:
        """The roles in which a vote of the caller counts here, as policies name them: `dba`."""
        return approver_roles(self.roles)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one caller may do: the grants that are theirs."""

    principal: Principal
    grants: tuple[Roles, ...]

    def decide(self, verb: str, target: Target = PLATFORM) -> AccessDecision:
        """Whether the caller may do this to that.

        Raises:
            InvalidInput: there is no such verb.
        """
        rule = verb_named(verb)
        roles = self.roles(target)
        if self.principal.reads_only and rule.changes:
            return AccessDecision(
                False,
                verb,
                target,
                roles,
                f"{rule.name} is not allowed for {self.principal.subject}: nobody is signed in, so it only reads",
                "sign in where the request comes from, and send it again",
            )
        counted = self._anywhere() if rule.where == "any" else roles
        if any(rule.allows(base_role(role)) for role in counted):
            return AccessDecision(True, verb, target, roles, f"{self.principal.subject} may {verb} {target}")
        where = "" if rule.where == "any" else f" on {target}"
        held = "; ".join(f"{', '.join(grant.roles)} {grant.where()}" for grant in self.grants)
        return AccessDecision(
            False,
            verb,
            target,
            roles,
            f"{rule.name}{where} is not allowed for {self.principal.subject}: it needs the role {rule.needs()}",
            f"you have {held}" if held else "no access document grants you anything; ask an administrator",
        )

    def decide_all(self, verb: str, targets: Iterable[Target]) -> AccessDecision:
        """Whether the caller may do this to all of those: the first refusal, else the last permission.

        No targets at all count as the whole platform, so an empty selection gives nothing away.
        """
        decision = None
        for target in targets:
            decision = self.decide(verb, target)
            if not decision.allowed:
                return decision
        return decision or self.decide(verb)

    def require_somewhere(self, verb: str) -> None:
        """Refuse a caller to whom `filter` would show nothing, whatever there is.

        Raises:
            Forbidden: naming the missing role.
        """
        if not self.somewhere(verb):
            self.decide(verb).require()

    def somewhere(self, verb: str) -> bool:
        """Whether any grant of the caller, whatever its scope, allows a verb."""
        rule = verb_named(verb)
        return any(rule.allows(base_role(role)) for role in self._anywhere())

    def teams(self, verb: str, promise: str = "") -> tuple[str, ...] | None:
        """The teams for which the caller may do something that is not there yet, sorted; None for every team.

        Args:
            verb: As in `service.request`.
            promise: Of what is to be there; empty for a thing of no promise.
        """
        rule = verb_named(verb)
        if self.principal.reads_only and rule.changes:
            return ()
        teams: set[str] = set()
        for grant in self.grants:
            if not any(rule.allows(base_role(role)) for role in grant.roles):
                continue
            if grant.covers(Target(promise=promise)):
                return None
            named = grant.scope.teams if grant.scope else ()
            teams.update(team for team in named if grant.covers(Target(team=team, promise=promise)))
        return tuple(sorted(teams))

    def filter(self, verb: str) -> Callable[[Target], bool]:
        """A test for many targets: what a list may show. Cheap enough for 10,000 rows."""
        rule = verb_named(verb)
        counting = [grant for grant in self.grants if any(rule.allows(base_role(role)) for role in grant.roles)]
        if rule.where == "any" or any(grant.scope is None for grant in counting):
            return lambda _: bool(counting)
        return lambda target: any(grant.covers(target) for grant in counting)

    def roles(self, target: Target = PLATFORM) -> tuple[str, ...]:
        """Every role that holds for a target, sorted."""
        return tuple(sorted({role for grant in self.grants if grant.covers(target) for role in grant.roles}))

    def may_grant(self, wanted: Sequence[Roles]) -> Roles | None:
        """The first of these roles that the caller may not pass on to a token; None when all may be.

        An administrator may pass on everything; everybody else what they have themselves, in that scope or a part
        of it.
        """
        return next((grant for grant in wanted if not all(self._has(role, grant) for role in grant.roles)), None)

    def _has(self, role: str, wanted: Roles) -> bool:
        for mine in self.grants:
            inside = mine.scope is None or (wanted.scope is not None and mine.scope.contains(wanted.scope))
            if inside and (role in mine.roles or ADMIN in mine.roles):
                return True
        return False

    def _anywhere(self) -> set[str]:
        return {role for grant in self.grants for role in grant.roles}


def permissions_of(access: Access, principal: Principal) -> Permissions:
    """The grants of a caller: those of the document, of the settings, and of the credential itself."""
    grants: list[Roles] = list(principal.grants)
    if any(subject.matches(principal) for subject in access.admins):
        grants.append(Roles(roles=(ADMIN,), scope=None))
    grants += [
        Roles(roles=grant.roles, scope=grant.scope)
        for grant in (access.document.spec.grants if access.document else ())
        if any(subject.matches(principal) for subject in grant.subjects)
    ]
    return Permissions(principal, tuple(grants))


def decide(access: Access, principal: Principal, verb: str, target: Target = PLATFORM) -> AccessDecision:
    """Whether a caller may do one thing; see `Permissions` for several.

    Args:
        access: What is in force.
        principal: The caller.
        verb: `<noun>.<verb>` of `bondstone.identity.verbs.VERBS`.
        target: What it is about; by default the platform as a whole.

    Raises:
        InvalidInput: there is no such verb.
    """
    return permissions_of(access, principal).decide(verb, target)


def verb_named(name: str) -> Verb:
    """The verb of that name.

    Raises:
        InvalidInput: there is none.
    """
    verb = VERBS.get(name)
    if verb is None:
        raise InvalidInput(f"there is no verb {name!r}", hint=did_you_mean(name, VERBS))
    return verb


def votes_as(decision: AccessDecision, asserted: Sequence[str] = ()) -> tuple[str, ...]:
    """The roles that a vote is recorded with.

    Args:
        decision: Of `approval.approve` or a verb like it, allowed.
        asserted: Roles that the caller named; a caller may use fewer than all.

    Raises:
        Forbidden: a named role is not among the caller's.
    """
    held = decision.approver_roles
    missing = sorted(set(asserted) - set(held))
    if missing:
        raise Forbidden(
            f"the vote names the role {missing[0]}, which needs {APPROVER}:{missing[0]}",
            where=str(decision.target),
            hint=f"you have {', '.join(held)}" if held else "leave the role out, or ask for it",
        )
    return tuple(asserted) or held
