"""Requests: what is asked of a service, and what it becomes once its promise is resolved."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from bondstone.base.canonical import canonical, digest
from bondstone.base.models import Wire
from bondstone.base.names import REQUEST_ID_PATTERN
from bondstone.model.attestation import Attestable
from bondstone.model.plan import Pins
from bondstone.model.secret import REF_KEY, replace_refs
from bondstone.model.service.kinds import OperationKind, RevisionRef, ServiceId
from bondstone.model.service.steps import DayTwo, StepSpec


class Dependant(Wire):
    """A service that another one is a part of: what the part knows of its parent."""

    service: ServiceId
    alias: str
    """What the parent's promise calls the part."""
    versions: str = ">=0"
    """Versions of the part's promise that the parent accepts."""
    owns: bool = False
    """The part was made for this parent, or given to it, and changes with it."""
    adopted: bool = False
    """The part existed before and was given to this parent: it may outlive it."""


class KeptManifest(Wire):
    """What a manifest said of a service when `bond apply` last changed it: the base of the next comparison."""

    version: str = ""
    """Empty when the manifest leaves the version alone."""
    inputs: dict[str, Any] = {}
    """As written; a secret is the reference that stands in the manifest, never its value."""
    labels: dict[str, str] = {}


class Options(Wire):
    """How an operation is to run: asked with the request, kept in the queue, given to the operation's workflow.

    The three inherit it, so that their JSON holds these fields beside their own.
    """

    on_failure: Literal["keep", "destroy"] = "keep"
    """What to do with what was made when a provision fails."""
    repair: bool = False
    """A reconcile applies what it takes to undo the drift."""
    recheck: bool = False
    """A reconcile plans every step and asks the policies in force; it fails where they deny."""
    with_parts: bool = False
    """A reconcile goes into the parts that the service owns, and theirs, each in its place among the steps."""
    ask: bool = False
    """Every plan that changes something waits for another person's approval."""
    adopt: dict[str, str] = {}
    """Of a provision: step to the key of a sealed object, the Terraform state that the step begins with."""
    pins: Pins | None = None
    """Every plan that goes beyond these waits for another person's approval."""

    def options(self) -> dict[str, Any]:
        """These fields alone, to hand them on."""
        return {name: getattr(self, name) for name in Options.model_fields}


class Conditional(Attestable):
    """A change of a service that may depend on what its caller has read."""

    expected_state: str = Field("", max_length=64)
    """`state_digest` of the state that the caller has read: the service refuses the change in any other state."""


class Request(Options, Conditional):
    """What somebody asks of a service: the argument of the update `request_operation`.

    A writeOnly input must already be a reference (`{"$secret": …}`): the client stores the value first, so that
    it never enters a history.
    """

    request_id: str = Field(pattern=REQUEST_ID_PATTERN)
    """Chosen by who asks; the same id again returns the same operation."""
    kind: OperationKind = OperationKind.PROVISION
    promise: str = ""
    version: str = ""
    """Exact version; empty means the newest that fits and is neither yanked nor deprecated."""
    inputs: dict[str, Any] = {}
    """All inputs of a provision; what to change of them for the others, with null to go back to the default."""
    labels: dict[str, str] = {}
    retry: bool = False
    """Run the last failed operation again, from the step that failed."""
    dry_run: bool = False
    """Plan and ask the policies, change nothing."""
    requested_by: str = "unknown"
    reason: str = ""
    campaign: str = ""
    """The campaign that asks, for lists; empty for people."""
    trace: str = Field("", max_length=64)
    """Where in a trace it is asked, a W3C `traceparent`; empty when nobody traces."""
    parent: Dependant | None = None
    """The service that asks for this one as its part."""
    cause: str = Field("", max_length=200)
    """Id of the operation that led to this request; empty when a person or a program asked by itself."""
    applied: KeptManifest | None = None
    """The manifest that asks, kept with the service once the operation has changed it."""

    @property
    def verb(self) -> str:
        """What it needs, as access documents name it: `service.upgrade`."""
        if self.retry:
            return "service.retry"
        if self.adopt:
            return "service.adopt"
        return f"service.{'request' if self.kind is OperationKind.PROVISION else self.kind}"


def request_digest(request: Request) -> str:
    """Tells a request from another under the same id.

    Values of secrets do not count, nor who asks; nor the version of a provision or an upgrade, which clients
    choose where nobody named one: the same request may find a newer one.
    """
    content = request.model_dump(mode="json", include=_OF_A_REQUEST)
    content["inputs"] = replace_refs(content["inputs"], lambda _: REF_KEY)
    content["adopt"] = sorted(request.adopt)
    if request.with_parts:  # digests of earlier requests, which lack it, must not change
        content["with_parts"] = True
    if request.kind in {OperationKind.PROVISION, OperationKind.UPGRADE}:
        content["version"] = ""
    return digest(canonical(content))


_OF_A_REQUEST: Final = {
    "kind", "promise", "version", "inputs", "labels", "retry", "dry_run", "repair", "ask", "on_failure", "reason",
}  # fmt: skip


class Resolved(Wire):
    """A request checked against its revision: what an operation runs."""

    revision: RevisionRef
    inputs: dict[str, Any] = {}
    """With defaults filled in and secrets by reference."""
    steps: tuple[StepSpec, ...] = ()
    """In an order in which every step comes after those it needs."""
    health_seconds: int = 0
    """Longest time that the probes of `spec.health` take together; 0 when there are none."""
    day_two: DayTwo = DayTwo()
    warnings: tuple[str, ...] = ()

    def same(self, other: Resolved) -> bool:
        """Whether both are the same revision with the same inputs."""
        return self.revision == other.revision and self.inputs == other.inputs


class ResolveCall(Wire):
    """Input of `promise.resolve`."""

    service: ServiceId
    request: Request
    current: RevisionRef | None = None
    """The revision the service stands on, for every kind but the first provision."""
    current_inputs: dict[str, Any] = {}
    first: bool = False
    """Nobody lives at this name: continue the numbers and the ledger chain of whoever did."""
    dependants: tuple[Dependant, ...] = ()
    """Services that it is a part of: it moves within the versions that they accept."""


class Resolution(Wire):
    """What `promise.resolve` returns."""

    resolved: Resolved
    last_number: int = 0
    """Number of the last operation of an earlier service of the same name; numbers are never used twice."""
    ledger_digest: str = ""
    """Digest of that service's last ledger record."""


class Accepted(Wire):
    """Answer of `request_operation`: the operation exists and will run."""

    service: ServiceId
    number: int
    kind: OperationKind
    revision: RevisionRef
    warnings: tuple[str, ...] = ()
    repeated: bool = False
    """The request id was seen before; this is the operation it made then."""

    @property
    def id(self) -> str:
        """`TEAM/NAME/op/N`."""
        return f"{self.service}/op/{self.number}"
