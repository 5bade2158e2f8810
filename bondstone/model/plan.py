"""Plans, their change sets, and what policies decided of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bondstone.base.models import Wire

Action = Literal["create", "update", "replace", "delete"]


class Change(Wire):
    """One object that a plan would touch. Sensitive values are already masked in `before` and `after`."""

    address: str
    """Where the tool finds it: `module.db.aws_db_instance.main[0]`, `apps/v1/Deployment/shop/web`."""
    action: Action
    type: str = ""
    """What it is: `aws_db_instance`, `Deployment`."""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    unknown: tuple[str, ...] = ()
    """Attributes whose value is known only after apply."""
    fingerprints: dict[str, str] = {}
    """Digest of each planned value by its path, of the values as they are, unmasked: tells whether two plans want
    the same. Null and unknown ones are left out. Kept sealed and shown nowhere: a short secret can be guessed."""


class ChangeCounts(Wire):
    """How many objects a plan creates, updates, replaces and deletes."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0

    @property
    def total(self) -> int:
        """All of them; 0 means that the plan changes no object."""
        return self.create + self.update + self.replace + self.delete

    @classmethod
    def of(cls, changes: Iterable[Change]) -> ChangeCounts:
        """Count the actions of a change set."""
        counts = {"create": 0, "update": 0, "replace": 0, "delete": 0}
        for change in changes:
            counts[change.action] += 1
        return cls(**counts)

    def __str__(self) -> str:
        """As people read plans: `+3 ~0 ±1 -0` (create, update, replace, delete)."""
        return f"+{self.create} ~{self.update} ±{self.replace} -{self.delete}"


class PlanRef(Wire):
    """A stored plan: its digest, where it is, and how much it changes."""

    digest: str
    """sha256 of the plan artefact, hex. Approvals name it, apply checks it."""
    key: str
    """Object-store prefix that holds the artefact, the policy document and the change set."""
    counts: ChangeCounts = ChangeCounts()
    empty: bool = False
    """Nothing to apply: no object changes and no output does."""
    destroy: bool = False
    position: int = 0
    """Position in the step's state log that the plan was made at; 0 before any."""
    tool: str = ""
    """Which tool made it, with its version: `terraform 1.15.5`."""
    log: str = ""
    """Key of the log of the run that made it."""


class Pins(Wire):
    """The plans that somebody has seen before: what goes beyond them waits for an approval."""

    preview: str
    """Digest of the preview that they are of."""
    plans: dict[str, PlanRef] = {}
    """By step; whatever another step would change goes beyond."""


class Finding(Wire):
    """One message of one policy rule."""

    level: Literal["deny", "approval", "warn"]
    message: str
    policy: str = ""
    """The package and rule it comes from: `main.deny` of `organisation` or `promise`."""
    roles: tuple[str, ...] = ()
    count: int = 1
    allow_requester: bool = False
    """Whether who asked for the operation may vote."""
    expires_seconds: int = 0
    """An approval not given within this time is a rejection; 0 waits for ever."""


class Decision(Wire):
    """What the policies said of one plan, with the digests that prove what was looked at."""

    outcome: Literal["allow", "approval", "deny"]
    findings: tuple[Finding, ...] = ()
    input_digest: str = ""
    policies_digest: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What an executor's `plan` and `plan_destroy` give: stored sealed, before anything else happens to it."""

    artefact: bytes
    """What `apply` will be handed back, byte for byte."""
    document: Mapping[str, Any]
    """What policies see as `input.plan`, in the shape conftest users of the tool expect."""
    changes: Sequence[Change]
    """The normalised change set, sensitive values masked."""
    empty: bool
    """There is nothing at all to apply."""
    position: int
    """Position in the step's state log that the plan was made at."""
    tool: str
    """Tool and version: `terraform 1.15.5`."""
