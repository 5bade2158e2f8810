"""Which role each verb needs: the one table that the API, the pages, the docs and the tests read.

A verb is `<noun>.<verb>`. To add one, add a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bondstone.model.identity import ADMIN, APPROVER, AUDITOR, DEVELOPER, OPERATOR, PUBLISHER, VIEWER

_ALL: Final = (VIEWER, DEVELOPER, OPERATOR, PUBLISHER, APPROVER, AUDITOR)
_OWNERS: Final = (DEVELOPER, OPERATOR)


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be asked of the platform."""

    name: str
    does: str
    roles: tuple[str, ...]
    """Roles that allow it, `admin` left out: it allows everything."""
    where: Literal["scope", "any"] = "scope"
    """`scope`: a role counts where its grant covers the target. `any`: a role counts wherever it was granted."""
    changes: bool = True
    """Whether it changes anything, so that it is attested and written to the audit log."""

    def allows(self, role: str) -> bool:
        """Whether a role, without what it is for, allows the verb."""
        return role == ADMIN or role in self.roles

    def needs(self) -> str:
        """The roles in words: `developer or admin`."""
        shown = [f"{role}:<role>" if role == APPROVER else role for role in (*self.roles, ADMIN)]
        return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _read(name: str, does: str, roles: tuple[str, ...] = _ALL, where: Literal["scope", "any"] = "scope") -> Verb:
    return Verb(name, does, roles, where, changes=False)


def _catalogue() -> Iterator[Verb]:
    yield _read(
        "platform.read", "see whether the platform is healthy, and its settings without secrets", where="any"
    )

    yield _read("promise.read", "list promises, show one, validate a folder", where="any")
    yield Verb("promise.publish", "publish a revision of a promise", (PUBLISHER,))
    yield Verb("promise.deprecate", "mark a revision as deprecated", (PUBLISHER,))
    yield Verb("promise.yank", "keep new services from a revision", (PUBLISHER,))

    yield _read("policy.read", "list, show and check policies", where="any")
    yield Verb("policy.publish", "publish the organisation's policies", (PUBLISHER,))

    yield _read("access.read", "show access documents, and what others may do", (AUDITOR,), "any")
    yield _read("access.can", "ask what you may do", where="any")
    yield Verb("access.publish", "publish the access document", ())
    yield _read("refusal.read", "read who was refused what", (OPERATOR, AUDITOR))


def _services() -> Iterator[Verb]:
    yield _read("service.read", "list services, show one, follow its events")
    yield _read("service.history", "read the records of a service")
    yield _read("service.reveal", "read secret outputs in plain", _OWNERS)
    yield Verb("service.request", "request a service", (DEVELOPER,))
    yield Verb("service.adopt", "request a service around a Terraform state that exists", (DEVELOPER,))
    yield Verb("service.update", "change the inputs", (DEVELOPER,))
    yield Verb("service.patch", "move to a newer patch of the revision", (DEVELOPER,))
    yield Verb("service.upgrade", "move to another minor or major version", (DEVELOPER,))
    yield Verb("service.rollback", "go back to the last healthy revision and inputs", _OWNERS)
    yield Verb("service.decommission", "take the service down", (DEVELOPER,))
    yield Verb("service.label", "set and remove labels", (DEVELOPER,))
    yield Verb("service.reconcile", "check for drift, and repair it", _OWNERS)
    yield Verb("service.retry", "run the last failed operation again", _OWNERS)
    yield Verb("service.cancel", "cancel an operation", _OWNERS)
    yield Verb("service.pause", "keep the service from starting anything by itself", _OWNERS)
    yield Verb("service.resume", "let the service work by itself again", _OWNERS)
    yield Verb("service.bind", "make a service a part of another one", (DEVELOPER,))
    yield Verb("service.release", "detach a part from its parent", (DEVELOPER,))
    yield Verb("service.abandon", "forget a service and destroy nothing", (OPERATOR,))

    yield _read("operation.read", "list operations, show one, wait for it")
    yield _read("operation.plan", "read what a step would change")
    yield _read("operation.logs", "read what the tools printed")

    yield _read("approval.read", "list plans that wait for approval")
    yield Verb("approval.approve", "approve one exact plan", (APPROVER,))
    yield Verb("approval.reject", "reject one exact plan", (APPROVER,))


def _fleet() -> Iterator[Verb]:
    yield _read("campaign.read", "list campaigns, show one, read its report")
    yield _read("campaign.preview", "see which services a campaign would select, in which waves")
    yield Verb("campaign.plan", "plan every target of a campaign without changing it", (OPERATOR,))
    for name, does in (
        ("run", "start a campaign"),
        ("pause", "start no further target"),
        ("resume", "start targets again"),
        ("abort", "end the campaign"),
        ("supersede", "end the campaign in favour of another"),
        ("skip", "leave a target out"),
        ("set-concurrency", "change how many targets run at once"),
        ("next-wave", "begin the next wave now"),
        ("retry", "run failed targets again"),
        ("rollback", "undo what the campaign changed"),
    ):
        yield Verb(f"campaign.{name}", does, (OPERATOR,))
    yield Verb("campaign.approve", "open the gate of a wave", (APPROVER,))
    yield Verb("campaign.reject", "close the gate of a wave", (APPROVER,))

    yield _read("freeze.read", "list freezes", where="any")
    yield Verb("freeze.create", "declare a time in which campaigns start nothing", (OPERATOR,))
    yield Verb("freeze.delete", "end a freeze", (OPERATOR,))

    yield _read("schedule.read", "list schedules, show one", where="any")
    yield Verb("schedule.create", "start campaigns by the clock", (OPERATOR,))
    yield Verb("schedule.update", "change a schedule", (OPERATOR,))
    yield Verb("schedule.pause", "keep a schedule from starting campaigns", (OPERATOR,))
    yield Verb("schedule.resume", "let a schedule start campaigns again", (OPERATOR,))
    yield Verb("schedule.trigger", "start a schedule's campaign now", (OPERATOR,))
    yield Verb("schedule.backfill", "start the campaigns that were due in a past period", (OPERATOR,))
    yield Verb("schedule.delete", "delete a schedule", (OPERATOR,))


def _platform() -> Iterator[Verb]:
    yield _read("state.log", "list the versions of a step's state", (OPERATOR, AUDITOR))
    yield Verb("state.pull", "read a state, which holds secrets in plain", (OPERATOR,))
    yield Verb("state.push", "replace a state", (OPERATOR,))

    yield _read("worker.read", "list pools and builds", where="any")
    yield Verb("worker.promote", "move services to another build of the workers", ())
    yield Verb("worker.evict", "move services off a build", ())

    yield _read("token.read", "list your own API tokens", where="any")
    yield Verb("token.create", "create an API token with roles that you have", _ALL, "any")
    yield Verb("token.revoke", "revoke your own API token", _ALL, "any")
    yield Verb("token.manage", "list and revoke the API tokens of others", ())

    yield _read("ledger.read", "read, verify and export the ledger", (AUDITOR,))
    yield Verb("ledger.anchor", "record the last entry of every chain of the ledger", ())

    yield _read(
        "notification.read", "list where notifications go, and their deliveries", (OPERATOR, AUDITOR), "any"
    )
    yield Verb("notification.test", "send a test notification", (OPERATOR,), "any")
    yield Verb("notification.retry", "resend a notification that did not arrive", (OPERATOR,), "any")
    yield Verb("notification.manage", "say where notifications go", ())


VERBS: Final[dict[str, Verb]] = {
    verb.name: verb for part in (_catalogue, _services, _fleet, _platform) for verb in part()
}
"""Every verb by its name."""
