"""What is kept of a step: its record in the state log, and its plans. Both are kept sealed. Pure."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import ObjectCorrupt
from bondstone.base.models import Wire

D = TypeVar("D", "PlaybookRecord", "AnsiblePlan")


class PlaybookRun(Wire):
    """The apply that came last, done or not: what tells an attempt that it continues its own work."""

    plan: str
    """Digest of the artefact."""
    base: int
    """Position of the log that the plan was made at."""
    done: bool = False


class PlaybookRecord(Wire):
    """What is known of what a step has set up: the state of the step."""

    format: Literal["bondstone-ansible 1"] = "bondstone-ansible 1"
    hosts: tuple[str, ...] = ()
    """Where its playbook has run, or is about to; none when all is taken down."""
    run: PlaybookRun | None = None
    statistics: dict[str, Any] = {}
    """What the last whole run has set by `set_stats`."""
    declared: str = ""
    """Digest of what the section said of outputs then."""
    warnings: tuple[str, ...] = ()
    """What the check after the last run has found: an attempt that only sees its end tells it, too."""

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


class Expected(Wire):
    """One change that the plan shows: nothing else may happen."""

    address: str
    action: str
    values: str = ""
    """Digest of what would be there afterwards."""


class AnsiblePlan(Wire):
    """The plan artefact: all that is needed to run exactly this, anywhere."""

    format: Literal["bondstone-ansible 1"] = "bondstone-ansible 1"
    destroy: bool = False
    empty: bool = False
    playbook: str = ""
    """Which one; empty when none is to be run."""
    inventory: str | dict[str, Any] = ""
    variables: dict[str, Any] = {}
    known_hosts: str = ""
    private_key: str = ""
    vault_password: str = ""
    forks: int = 5
    checked: bool = True
    """Made by check mode, which is asked again before anything is changed."""
    hosts: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = ()

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


def declared(outputs: dict[str, Any]) -> str:
    """Digest of what a section says of outputs."""
    return digest(canonical(sorted(outputs)))


def read_record(payload: bytes | None) -> PlaybookRecord:
    """What the state log holds; empty when it holds nothing.

    Raises:
        ObjectCorrupt: when it is not what this executor wrote.
    """
    if payload is None:
        return PlaybookRecord()
    try:
        return _read(PlaybookRecord, payload)
    except ValueError:
        raise ObjectCorrupt(
            "the step's record is not one of the ansible executor",
            hint="did another kind of step have this id before? Give the ansible step an id of its own",
        ) from None


def record_hosts(payload: bytes) -> tuple[str, ...] | None:
    """The hosts of a record; None when some bytes are none."""
    try:
        return _read(PlaybookRecord, payload).hosts
    except ValueError:
        return None


def read_plan(artefact: bytes) -> AnsiblePlan:
    """Take an artefact apart.

    Raises:
        ObjectCorrupt: when it was not written by this executor.
    """
    try:
        return _read(AnsiblePlan, artefact)
    except ValueError:
        raise ObjectCorrupt("the plan artefact is not one of the ansible executor", hint="plan again") from None


def _read(model: type[D], data: bytes) -> D:
    read = model.model_validate_json(data)
    if "format" not in read.model_fields_set:
        raise ValueError("it has no `format`, so its content is unknown")
    return read
