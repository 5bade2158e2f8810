"""Plans, their change sets, and what policies decided of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bondstone.base.change_counts import COUNTED, Counts
from bondstone.base.models import Wire

Action = Literal["create", "update", "replace", "delete", "forget", "move", "import"]
"""`forget`: the object stays and is managed no more. `move`: it gets another address. `import`: it stands already,
and is managed from now on. What is moved or imported and changed besides counts as its change."""


class Change(Wire):
    """One object that a plan would touch. Sensitive values are already masked in `before` and `after`."""

    address: str
    """Where the tool finds it: `module.db.aws_db_instance.main[0]`, `apps/v1/Deployment/shop/web`."""
    action: Action
    type: str = ""
    """What it is: `aws_db_instance`, `Deployment`."""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    moved_from: str = ""
    """Its address before, where that was another."""
    import_id: str = ""
    """By which the tool finds it, where it is there and not managed yet."""
    unknown: tuple[str, ...] = ()
    """Attributes whose value is known only after apply."""
    fingerprints: dict[str, str] = {}
    """Digest of each planned value by its path, of the values as they are, unmasked: tells whether two plans want
    the same. Null and unknown ones are left out. Kept sealed and shown nowhere: a short secret can be guessed."""


class ChangeCounts(Counts, Wire):
    """How many objects a plan creates, updates, replaces and deletes, and what else it does to them."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0
    forget: int = 0
    move: int = 0
    imports: int = 0
    """Actions `import`, which is a keyword of Python."""

    @property
    def total(self) -> int:
        """All of them; 0 means that the plan changes no object."""
        return sum(getattr(self, name) for name in COUNTED)

    @classmethod
    def of(cls, changes: Iterable[Change]) -> ChangeCounts:
        """Count the actions of a change set."""
        return cls.of_actions(Counter(change.action for change in changes))

    @classmethod
    def of_actions(cls, counts: Mapping[Action, int]) -> ChangeCounts:
        """From how often each action is there."""
        return cls(**{"imports" if action == "import" else action: count for action, count in counts.items()})


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
    failed_checks: tuple[str, ...] = ()
    """What the tool's own checks found wrong, which stops nothing: `check.name: words`."""


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
    details: dict[str, Any] = {}
    """What else the rule's object says beside its message, secrets masked; nothing when it is long."""


class Decision(Wire):
    """What the policies said of one plan, with the digests that prove what was looked at."""

    outcome: Literal["allow", "approval", "deny"]
    findings: tuple[Finding, ...] = ()
    input_digest: str = ""
    policies_digest: str = ""
    engine: str = ""
    """What evaluated the policies, with its version: `opa 1.22.4`, `regorus 0.13.0`."""
    saw_secrets: tuple[Literal["organisation", "promise"], ...] = ()
    """Whose policies looked at the plan with its secret values, because they say that they need them."""


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
    failed_checks: Sequence[str] = ()
    """What the tool's own checks found wrong, which stops nothing; secrets masked."""
