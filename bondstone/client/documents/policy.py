"""What programs read of a policy set that was asked about the fleet: `bond policy check -o json`."""

from __future__ import annotations

from typing import Literal

from bondstone.base.models import Document
from bondstone.client.documents.step import DecisionDocument

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
