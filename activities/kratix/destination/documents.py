"""What is kept of a step with a destination: its record in the state log, and its plans. Both are sealed. Pure."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from bondstone.base.canonical import canonical
from bondstone.base.errors import ObjectCorrupt
from bondstone.base.models import Wire

D = TypeVar("D", "PushedRecord", "PushPlan")


class DestinationFolder(Wire):
    """A folder of a repository's branch or of a bucket that is the step's own."""

    url: str = ""
    branch: str = ""
    """Empty: it is a bucket."""
    folder: str = ""

    def __str__(self) -> str:
        """As people are told."""
        branch = f"branch {self.branch} of " if self.branch else ""
        return f"{self.folder} of {branch}{self.url}"


class PushRun(Wire):
    """The apply that came last, done or not: what tells an attempt that it continues its own work."""

    plan: str
    """Digest of the artefact."""
    base: int
    """Position of the log that the plan was made at."""
    done: bool = False


class PushedRecord(Wire):
    """What a step has pushed, or is about to: the state of the step."""

    format: Literal["bondstone-kratix-files 1"] = "bondstone-kratix-files 1"
    stands: bool = False
    """Something may have been pushed."""
    place: DestinationFolder = DestinationFolder()
    files: dict[str, str] = {}
    """Content by path below the folder, as it was last pushed."""
    listing: dict[str, str] = {}
    """Mode and object of each, as git names them; in a bucket the digest."""
    status: dict[str, Any] = {}
    """Of the object, as the pipelines had left it."""
    run: PushRun | None = None

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


class PushPlan(Wire):
    """The plan artefact: the files that there shall be, and what stood in their place when it was made."""

    format: Literal["bondstone-kratix-files 1"] = "bondstone-kratix-files 1"
    destroy: bool = False
    place: DestinationFolder = DestinationFolder()
    files: dict[str, str] = {}
    before: dict[str, str] = {}
    """Of each file that stood there, as in the record."""
    after: dict[str, str] = {}
    """Of each file of the plan, as in the record."""
    status: dict[str, Any] = {}

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


def read_pushed(payload: bytes | None) -> PushedRecord:
    """What the state log holds; empty when it holds nothing.

    Raises:
        ObjectCorrupt: when it is not what this executor wrote for a destination.
    """
    if payload is None:
        return PushedRecord()
    try:
        return _read(PushedRecord, payload)
    except ValueError:
        raise ObjectCorrupt(
            "the step's state is not one of files that were pushed",
            hint="did the step apply to a cluster before? Give the step with a destination an id of its own",
        ) from None


def pushed_addresses(payload: bytes) -> tuple[str, ...] | None:
    """The files of a record; None when some bytes are none."""
    try:
        record = _read(PushedRecord, payload)
    except ValueError:
        return None
    return tuple(sorted(record.files)) or ("files",) if record.stands else ()


def read_push_plan(artefact: bytes) -> PushPlan:
    """Take an artefact apart.

    Raises:
        ObjectCorrupt: when it is not one of files.
    """
    try:
        return _read(PushPlan, artefact)
    except ValueError:
        raise ObjectCorrupt("the plan artefact is not one of files to push", hint="plan again") from None


def _read(model: type[D], data: bytes) -> D:
    document = model.model_validate_json(data)
    if "format" not in document.model_fields_set:
        raise ValueError("it has no `format`, so its content is unknown")
    return document
