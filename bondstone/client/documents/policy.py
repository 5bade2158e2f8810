"""What programs read of policies: `bond policy … -o json`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from bondstone.base.models import Document
from bondstone.client.documents.step import DecisionDocument
from bondstone.model.manifest import KeptPlatformManifest

if TYPE_CHECKING:
    from bondstone.store.policies import PolicySetRef

Outcome = Literal["allow", "approval", "deny"]


class CheckedStep(Document):
    """What a policy set says of the last plan of one step."""

    step: str
    operation: str
    """TEAM/NAME/op/N that the plan is of"""
    plan: str
    """sha256 of the plan"""
    policy: DecisionDocument
    """By the policies that are checked"""
    in_force: Outcome | None = None
    """By the policies in force now; null when there are none"""


class CheckedService(Document):
    """One service: an element of `services` of `bond policy check -o json`."""

    service: str
    """TEAM/NAME"""
    promise: str
    outcome: Literal["allow", "warn", "approval", "deny", "unknown"]
    """The worst of its steps; warn: allowed with a warning; unknown: it has no plan that could be read"""
    newly: bool
    """Whether that is worse than by the policies in force now"""
    steps: tuple[CheckedStep, ...] = ()
    problem: str = ""
    """Why it is unknown"""


class PolicyCheck(Document):
    """`bond policy check -o json`."""

    modules: tuple[str, ...]
    """Files that were checked"""
    in_force: int | None
    """Number of the policy set in force now; null when there is none"""
    counts: dict[str, int]
    """Services by outcome; no zeros"""
    services: tuple[CheckedService, ...]
    """By id"""


class PolicySetRow(Document):
    """One policy set in a list: an element of `bond policy list -o json`."""

    version: int
    digest: str
    """sha256 over its files"""
    files: tuple[str, ...]
    published_at: datetime
    published_by: str
    applied: KeptPlatformManifest | None = None
    """The manifest that `bond apply` took it from; null when it was published by hand"""

    @classmethod
    def of(cls, ref: PolicySetRef) -> PolicySetRow:
        """From what is kept of it."""
        return cls(**set_fields(ref))


class PublishedPolicies(PolicySetRow):
    """A policy set that was published: `bond policy publish -o json`."""

    published: bool
    """False when that set was in force already"""


class RuleDocument(Document):
    """One rule of a policy set."""

    rule: str
    """Package and name"""
    level: str
    """deny, approval or warn"""
    file: str


class PolicySetDocument(PolicySetRow):
    """One policy set: `bond policy show -o json`."""

    rules: tuple[RuleDocument, ...]
    sources: dict[str, str]
    """The text of each file"""


def set_fields(ref: PolicySetRef) -> dict[str, Any]:
    """The fields of a row, from what is kept of a policy set."""
    return {
        "version": ref.version,
        "digest": ref.digest,
        "files": ref.modules,
        "published_at": ref.published_at,
        "published_by": ref.published_by,
        "applied": ref.applied,
    }


DOCUMENTS: Final[dict[str, Any]] = {
    "policy-list": list[PolicySetRow],
    "policy-show": PolicySetDocument,
    "policy-publish": PublishedPolicies,
    "policy-check": PolicyCheck,
}
"""Command to the type of its `-o json`."""
