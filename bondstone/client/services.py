"""`Bondstone.services`: instances of promises, from request to decommission."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

if TYPE_CHECKING:
    from bondstone.client.documents.service import ArchivedDocument, RecordDocument, ServiceDocument
    from bondstone.client.operations import Operation
    from bondstone.model.service import KeptManifest
    from bondstone.model.service_row import ServiceRow


class RequestOptions(TypedDict, total=False):
    """What every request of an operation takes beside its own arguments."""

    reason: str
    """Why, for the ledger."""
    request_id: str | None
    """The same id again returns the same operation; default: a new one."""
    dry_run: bool
    """Plan and ask the policies, and change nothing."""
    ask: bool
    """Let every plan that changes something wait for another person's approval."""
    applied: KeptManifest | None
    """The manifest that asks, which the service keeps: what `bond apply` compares the next one with."""


class Services(ABC):
    """Every verb that starts work returns when the request is *accepted*; `Operation.wait` waits for the rest.

    A service is named `TEAM/NAME`. Any verb can raise `Unreachable` when the platform does not answer, and the
    verbs that change something `NotFound` when there is no such service and `Refused` with the reason.
    """

    # Reading -----------------------------------------------------------------------------------------------------

    @abstractmethod
    async def get(self, service: str) -> ServiceDocument:
        """One service: phase, revision, inputs, outputs, its last operations. Secrets are masked.

        Args:
            service: `TEAM/NAME`.

        Returns:
            The service.

        Raises:
            NotFound: there is no such service (any more); `history` may still know it.
        """

    @abstractmethod
    async def outputs(self, service: str, *, reveal: bool = False) -> dict[str, Any]:
        """What a service gives.

        Args:
            service: `TEAM/NAME`.
            reveal: Fetch secret outputs from the secret store; they are masked otherwise.

        Returns:
            Value by name of the output.

        Raises:
            NotFound: there is no such service.
        """

    @abstractmethod
    async def history(self, service: str) -> list[RecordDocument]:
        """The ledger of a service, oldest first, also when it is long gone.

        Args:
            service: `TEAM/NAME`.

        Returns:
            One record for each operation, vote and change; none when there never was such a service.

        Raises:
            InvalidInput: that is not the name of a service.
            ObjectCorrupt: a record cannot be read.
        """

    @abstractmethod
    async def list_archive(self, service: str) -> list[ArchivedDocument]:
        """What was archived when services of this name ended, oldest first.

        Args:
            service: `TEAM/NAME`.

        Returns:
            One document for each archived object; none when there is nothing.

        Raises:
            InvalidInput: that is not the name of a service.
        """

    @abstractmethod
    async def read_archive(self, service: str, name: str) -> bytes:
        """One archived object, in plain.

        Args:
            service: `TEAM/NAME`.
            name: One of those that `list_archive` lists.

        Returns:
            Its content, decrypted.

        Raises:
            NotFound: there is none of that name.
        """

    @abstractmethod
    async def list(
        self,
        *,
        team: str = "",
        promise: str = "",
        phase: str = "",
        labels: Mapping[str, str] | None = None,
        ended: bool = False,
    ) -> list[ServiceRow]:
        """Services sorted by id. An answer may lag behind a change by a second.

        Args:
            team: Of this team only.
            promise: Of this promise only.
            phase: In this phase only.
            labels: Those that have all of these labels.
            ended: Also decommissioned ones, within Temporal's retention.

        Returns:
            One row for each service.

        Raises:
            InvalidInput: there is no such phase.
        """

    @abstractmethod
    async def wait(
        self, service: str, on_change: Callable[[ServiceDocument], None] | None = None
    ) -> ServiceDocument:
        """Wait until no operation of a service runs or is queued, or the one that runs waits for an approval.

        Args:
            service: `TEAM/NAME`.
            on_change: Called with the service whenever it has changed.

        Returns:
            The service as it was when the wait ended.

        Raises:
            NotFound: there is no such service.
        """

    # Asking for work ---------------------------------------------------------------------------------------------

    @abstractmethod
    async def request(
        self,
        promise: str,
        service: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        on_failure: Literal["keep", "destroy"] = "keep",
        **options: Unpack[RequestOptions],
    ) -> Operation:
        """Request a new service.

        Args:
            promise: Name of the promise.
            service: `TEAM/NAME`, which must be free.
            inputs: As the promise's schema says; secrets in plain, they are stored before anything is sent.
            version: Exact version; default: the newest.
            labels: Labels of the service.
            on_failure: Keep what was made when it fails, or destroy it.
            options: `reason`, `request_id`, `dry_run`, `ask`: see `RequestOptions`.

        Returns:
            The operation that provisions it.

        Raises:
            InputsInvalid: with each field named; nothing was started.
            AlreadyExists: the name is taken.
            NotFound: no such promise or version.
        """

    @abstractmethod
    async def adopt(
        self,
        promise: str,
        service: str,
        states: Mapping[str, bytes],
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        reason: str = "",
    ) -> Operation:
        """Request a new service that begins with existing Terraform states.

        The first plan must be empty, or it waits for an approval. If that is rejected the service stays, failed:
        `abandon` lets go of what it adopted, `decommission` destroys it. A refused request leaves nothing behind.

        Args:
            promise: Name of the promise.
            service: `TEAM/NAME`, which must be free.
            states: State files by step; under the empty name that of the only Terraform step.
            inputs: Those that the states were made with.
            version: Exact version; default: the newest.
            labels: Labels of the service.
            request_id: The same id again returns the same operation.
            reason: Why, for the ledger.

        Returns:
            The operation that provisions it.

        Raises:
            InvalidInput: a file is not a state, or belongs to no step.
            AlreadyExists: the name is taken.
        """

    @abstractmethod
    async def update(
        self, service: str, inputs: Mapping[str, Any], **options: Unpack[RequestOptions]
    ) -> Operation:
        """Change inputs at the same revision.

        Args:
            service: `TEAM/NAME`.
            inputs: What changes; objects are merged, null goes back to the default.
            options: See `RequestOptions`.

        Returns:
            The operation, accepted and perhaps still queued.

        Raises:
            InputsInvalid: with each field named; nothing was started.
        """

    @abstractmethod
    async def patch(self, service: str, *, to: str = "", **options: Unpack[RequestOptions]) -> Operation:
        """Move to a newer revision of the same major and minor version.

        Args:
            service: `TEAM/NAME`.
            to: Exact version; default: the newest that fits.
            options: See `RequestOptions`.

        Returns:
            The operation, accepted and perhaps still queued.

        Raises:
            NotFound: there is no such service.
            InvalidInput: there is no revision to patch to.
            Refused: the service cannot take it now, with the reason.
        """

    @abstractmethod
    async def upgrade(
        self,
        service: str,
        *,
        to: str = "",
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RequestOptions],
    ) -> Operation:
        """Move to a newer minor or major version; the promise transforms the inputs.

        Args:
            service: `TEAM/NAME`.
            to: Exact version; default: the newest.
            inputs: Override what the transformation gives.
            options: See `RequestOptions`.

        Returns:
            The operation, accepted and perhaps still queued.

        Raises:
            InputsInvalid: the inputs do not fit the new schema; nothing was started.
        """

    @abstractmethod
    async def rollback(self, service: str, **options: Unpack[RequestOptions]) -> Operation:
        """Go back to the last revision and inputs that were healthy.

        Args:
            service: `TEAM/NAME`.
            options: See `RequestOptions`.

        Returns:
            The operation, accepted and perhaps still queued.

        Raises:
            NotFound: there is no such service.
            Refused: there is no healthy state to go back to.
        """

    @abstractmethod
    async def reconcile(
        self, service: str, *, repair: bool = False, parts: bool = False, **options: Unpack[RequestOptions]
    ) -> Operation:
        """Check a service for drift.

        Args:
            service: `TEAM/NAME`.
            repair: Undo the drift.
            parts: Reconcile the parts that it owns too, and theirs, each before what uses it.
            options: See `RequestOptions`.

        Returns:
            The operation, accepted and perhaps still queued.

        Raises:
            NotFound: there is no such service.
            Refused: the service cannot take it now, with the reason.
        """

    @abstractmethod
    async def decommission(self, service: str, **options: Unpack[RequestOptions]) -> Operation:
        """Destroy what a service is made of; its name is free again once that has succeeded.

        Args:
            service: `TEAM/NAME`.
            options: See `RequestOptions`.

        Returns:
            The operation, accepted and perhaps still queued.

        Raises:
            NotFound: there is no such service.
            Refused: the service cannot take it now, with the reason.
        """

    @abstractmethod
    async def retry(self, service: str, *, reason: str = "", request_id: str | None = None) -> Operation:
        """Run the last failed operation again, from the step that failed.

        Args:
            service: `TEAM/NAME`.
            reason: Why, for the ledger.
            request_id: The same id again returns the same operation.

        Returns:
            The operation, accepted and perhaps still queued.

        Raises:
            NotFound: there is no such service.
            Refused: the last operation did not fail.
        """

    # Telling it --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def cancel(self, service: str, *, reason: str = "") -> Operation:
        """Cancel the operation that runs, else the next one in the queue.

        Args:
            service: `TEAM/NAME`.
            reason: Why, for the ledger.

        Returns:
            The operation that was told to stop.

        Raises:
            Refused: none runs or waits.
        """

    @abstractmethod
    async def pause(self, service: str, *, reason: str = "") -> ServiceDocument:
        """Let the service start nothing on its own; what people ask for still runs.

        Args:
            service: `TEAM/NAME`.
            reason: Why, for the ledger.

        Returns:
            The service as it is then.

        Raises:
            NotFound: there is no such service.
        """

    @abstractmethod
    async def resume(self, service: str, *, reason: str = "") -> ServiceDocument:
        """Let a paused service work on its own again.

        Args:
            service: `TEAM/NAME`.
            reason: Why, for the ledger.

        Returns:
            The service as it is then.

        Raises:
            NotFound: there is no such service.
        """

    @abstractmethod
    async def abandon(self, service: str, *, reason: str) -> ServiceDocument:
        """Forget a service and destroy nothing; the ledger keeps what it consisted of.

        Args:
            service: `TEAM/NAME`.
            reason: Why, for the ledger.

        Returns:
            The service as it was last.

        Raises:
            InvalidInput: the reason is empty.
        """

    @abstractmethod
    async def set_labels(
        self,
        service: str,
        labels: Mapping[str, str],
        *,
        remove: Sequence[str] = (),
        applied: KeptManifest | None = None,
    ) -> dict[str, str]:
        """Set and remove labels.

        Args:
            service: `TEAM/NAME`.
            labels: To set.
            remove: Keys to remove.
            applied: The manifest that asks, which the service keeps.

        Returns:
            All labels that the service has then.

        Raises:
            NotFound: there is no such service.
            InvalidInput: a label is not one, or there are too many.
        """
