"""What is kept of a step: its record in the state log, and its plans. Both are kept sealed. Pure."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import ErrorInfo, ObjectCorrupt
from bondstone.base.models import Wire

D = TypeVar("D", "ContainerRecord", "ContainerPlan")


class ContainerJob(Wire):
    """What a container is told: all that a run is made of."""

    image: str = ""
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    inputs: dict[str, Any] = {}
    files: dict[str, str] = {}
    network: Literal["none", "pool"] = "none"
    cpus: float = 1
    memory_mib: int = 256
    processes: int = 256
    time_seconds: int = 600

    @property
    def told(self) -> str:
        """Digest of what it is told; its limits do not matter."""
        told = self.model_dump(mode="json", include={"image", "command", "env", "inputs", "files"})
        return digest(canonical(told))


class ContainerRun(Wire):
    """The apply that came last, done or not: what tells an attempt that it continues its own work."""

    plan: str
    """Digest of the artefact."""
    base: int
    """Position of the log that the plan was made at."""
    done: bool = False
    failed: ErrorInfo | None = None
    """How it ended, when it did not end well: the next attempt reports the same, and runs nothing."""

    @property
    def key(self) -> str:
        """The same for every attempt at it: the container is called so."""
        return digest(canonical([self.plan, self.base]))[:24]


class ContainerRecord(Wire):
    """What is known of what a step has made: the state of the step."""

    format: Literal["bondstone-container 1"] = "bondstone-container 1"
    stands: bool = False
    """Something may have been made."""
    run: ContainerRun | None = None
    told: str = ""
    """Digest of what the image was told when it was last done."""
    outputs: dict[str, Any] = {}
    """Everything that it gave then."""

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


class ContainerPlan(Wire):
    """The plan artefact: all that is needed to run exactly this, anywhere."""

    format: Literal["bondstone-container 1"] = "bondstone-container 1"
    action: Literal["apply", "destroy", "nothing"]
    destroy: bool = False
    job: ContainerJob = ContainerJob()
    shown: Any = None
    """The image's own plan, which its apply is handed."""

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


def read_record(payload: bytes | None) -> ContainerRecord:
    """What the state log holds; empty when it holds nothing.

    Raises:
        ObjectCorrupt: when it is not what this executor wrote.
    """
    if payload is None:
        return ContainerRecord()
    try:
        return _read(ContainerRecord, payload)
    except ValueError:
        raise ObjectCorrupt(
            "the step's record is not one of the container executor",
            hint="did another kind of step have this id before? Give the container step an id of its own",
        ) from None


def held(payload: bytes) -> tuple[str, ...] | None:
    """What a record stands for; None when some bytes are none."""
    try:
        record = _read(ContainerRecord, payload)
    except ValueError:
        return None
    return ("container",) if record.stands else ()


def read_plan(artefact: bytes) -> ContainerPlan:
    """Take an artefact apart.

    Raises:
        ObjectCorrupt: when it was not written by this executor.
    """
    try:
        return _read(ContainerPlan, artefact)
    except ValueError:
        raise ObjectCorrupt("the plan artefact is not one of the container executor", hint="plan again") from None


def _read(model: type[D], data: bytes) -> D:
    read = model.model_validate_json(data)
    if "format" not in read.model_fields_set:
        raise ValueError("it has no `format`, so its content is unknown")
    return read
