"""What programs read of promises: `bond promise … -o json`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import AliasChoices, Field

from bondstone.base.errors import Problem
from bondstone.base.models import Document

if TYPE_CHECKING:
    from bondstone.executors.promise_tests import CaseReport
    from bondstone.promise.request_kinds import RequestKind
    from bondstone.store.revisions import RevisionInfo

RevisionStatus = Literal["active", "deprecated", "yanked"]


class PromiseRow(Document):
    """One revision in a list: an element of `bond promise list -o json`."""

    promise: str
    version: str
    digest: str
    """sha256 of the bundle"""
    status: RevisionStatus
    reason: str = ""
    """Why it was deprecated or yanked"""
    title: str = ""
    owner: str = ""
    published_at: datetime | None = None
    published_by: str = ""

    @property
    def revision(self) -> str:
        """`PROMISE@VERSION`."""
        return f"{self.promise}@{self.version}"

    @classmethod
    def of(cls, info: RevisionInfo) -> PromiseRow:
        """From what is kept of it."""
        return cls(**row_fields(info))


class InputDocument(Document):
    """One declared input; of nested ones each leaf, by its dotted path."""

    name: str
    type: str | list[str]
    required: bool
    default: Any = None
    secret: bool
    values: list[Any] = []
    """Those that are allowed, where the schema lists them"""
    title: str = ""
    description: str = ""


class OutputDocument(Document):
    """One declared output."""

    name: str
    type: str
    secret: bool
    description: str = ""


class PromiseStepDocument(Document):
    """One step, as the promise declares it."""

    id: str
    executor: str
    needs: tuple[str, ...] = ()
    """Steps that come before it"""
    description: str = ""


class RequestKindDocument(Document):
    """A kind of object, of Kratix, whose manifests `bond apply` takes as requests of the promise."""

    api_version: str
    """As in `marketplace.kratix.io/v1alpha1`"""
    kind: str
    fields: dict[str, str] = {}
    """Field of the object, as in `spec.job-name`, to the input that it gives"""

    @classmethod
    def of(cls, kind: RequestKind) -> RequestKindDocument:
        """From what a step says of it."""
        return cls(api_version=kind.api_version, kind=kind.kind, fields=dict(kind.fields))


class VersionDocument(Document):
    """One version of a promise."""

    version: str
    status: RevisionStatus


class PromiseDocument(PromiseRow):
    """One revision: `bond promise show -o json`."""

    description: str = ""
    labels: dict[str, str] = {}
    inputs: tuple[InputDocument, ...] = ()
    outputs: tuple[OutputDocument, ...] = ()
    steps: tuple[PromiseStepDocument, ...] = ()
    request_kinds: tuple[RequestKindDocument, ...] = ()
    """Kinds of objects that request a service of it, beside the manifest of a Service"""
    input_schema: dict[str, Any] = Field(
        default={}, validation_alias=AliasChoices("schema", "input_schema"), serialization_alias="schema"
    )
    """JSON schema of the inputs, as published"""
    versions: tuple[VersionDocument, ...] = ()
    """Every version, newest first"""


class PromiseCheck(Document):
    """A promise that may be published: `bond promise validate -o json`."""

    promise: str
    version: str
    digest: str
    """sha256 of the bundle"""
    warnings: tuple[Problem, ...] = ()


class PublishedPromise(PromiseCheck):
    """A promise that was published: `bond promise publish -o json`."""

    published: bool
    """False when the same content was published before"""


class CaseDocument(Document):
    """One test case that has been run."""

    name: str
    file: str
    passed: bool
    differences: tuple[str, ...] = ()
    """What is other than expected, in words"""
    seconds: float

    @classmethod
    def of(cls, report: CaseReport) -> CaseDocument:
        """From the report of a case."""
        return cls(
            name=report.name,
            file=report.file,
            passed=report.passed,
            differences=report.differences,
            seconds=report.seconds,
        )


class PromiseTestReport(Document):
    """The test cases of a promise: `bond promise test -o json`."""

    promise: str
    version: str
    passed: int
    failed: int
    seconds: float
    cases: tuple[CaseDocument, ...]


def row_fields(info: RevisionInfo) -> dict[str, Any]:
    """The fields of a row, from what is kept of a revision."""
    return {
        "promise": info.ref.promise,
        "version": info.ref.version,
        "digest": info.ref.digest,
        "status": info.status,
        "reason": info.reason,
        "title": info.title,
        "owner": info.owner,
        "published_at": info.published_at,
        "published_by": info.published_by,
    }


DOCUMENTS: Final[dict[str, Any]] = {
    "promise-list": list[PromiseRow],
    "promise-show": PromiseDocument,
    "promise-validate": PromiseCheck,
    "promise-publish": PublishedPromise,
    "promise-test": PromiseTestReport,
}
"""Command to the type of its `-o json`; deprecate and yank answer as one element of `promise-list`."""
