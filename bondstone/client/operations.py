"""`Bondstone.operations`: runs of work on services; and `Operation`, a handle on one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from bondstone.client.approvals import Approvals
    from bondstone.client.documents.log import LogLine
    from bondstone.client.documents.service import OperationDocument
    from bondstone.client.documents.step import ApprovalDocument, PlanDocument
    from bondstone.client.logs import Logs
    from bondstone.model.rows import OperationRow

PATIENCE_SECONDS: Final = 180.0
"""How long a platform that does not answer is waited for."""

OnChange = Callable[["OperationDocument"], None]


class Operations(ABC):
    """An operation is named `TEAM/NAME/op/N`. Any verb can raise `Unreachable`."""

    @abstractmethod
    async def get(self, operation: str) -> OperationDocument:
        """One operation as it is now, or as it ended.

        Args:
            operation: `TEAM/NAME/op/N`.

        Returns:
            The operation, with its steps and how it ended.

        Raises:
            NotFound: there never was such an operation.
        """

    @abstractmethod
    async def plans(self, operation: str, *, step: str = "") -> list[PlanDocument]:
        """The plans of an operation with every change, in the order of its steps. Secrets are masked.

        Args:
            operation: `TEAM/NAME/op/N`.
            step: Of this step only.

        Returns:
            One document for each plan.

        Raises:
            NotFound: there is no such operation or step, or it has no plan (yet).
        """

    @abstractmethod
    async def cancel(self, operation: str, *, reason: str = "") -> OperationDocument:
        """Cancel an operation that runs or waits. A running tool is told to stop and keeps what it made.

        Args:
            operation: `TEAM/NAME/op/N`.
            reason: Why, for the ledger.

        Returns:
            The operation as it was when it was told.

        Raises:
            Refused: it has ended.
        """

    @abstractmethod
    async def wait(
        self,
        operation: str,
        on_change: OnChange | None = None,
        *,
        through_approvals: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> OperationDocument:
        """Wait until an operation has ended, however it ended, or waits for an approval.

        A platform that restarts meanwhile is waited for.

        Args:
            operation: `TEAM/NAME/op/N`.
            on_change: Called with the operation whenever it has changed, for live views.
            through_approvals: Continue to wait while it waits for an approval.
            patience_seconds: How long the platform may not answer.

        Returns:
            The operation as it was when the wait ended; `status` says whether it waits for an approval.

        Raises:
            NotFound: there never was such an operation.
            Unreachable: the platform did not answer for that long; the operation itself is not affected.
        """

    @abstractmethod
    async def list(self, service: str = "") -> list[OperationRow]:
        """Operations within Temporal's retention, newest first.

        Args:
            service: Of this service only: `TEAM/NAME`.

        Returns:
            One row for each operation.

        Raises:
            InvalidInput: that is not the name of a service.
            Unreachable: the platform does not answer.
        """


class OperationNouns(Protocol):
    """What a handle on an operation speaks through: three nouns of a client."""

    @property
    def operations(self) -> Operations:
        """Runs of work on services."""

    @property
    def approvals(self) -> Approvals:
        """Plans that wait for people."""

    @property
    def logs(self) -> Logs:
        """What the tools printed."""


class Operation:
    """A handle on one operation; it need not exist, or may have ended long ago.

    Args:
        bond: The client.
        operation: `TEAM/NAME/op/N`.
        warnings: What the platform remarked when it accepted the request.
    """

    def __init__(self, bond: OperationNouns, operation: str, warnings: Sequence[str] = ()) -> None:
        from bondstone.base.names import parse_operation  # noqa: PLC0415 - keeps `import bondstone.client` light

        self._bond = bond
        self.team, self.name, self.number = parse_operation(operation)
        self.warnings = tuple(warnings)
        """What the platform remarked when it accepted the request."""

    @property
    def id(self) -> str:
        """`TEAM/NAME/op/N`."""
        return f"{self.service}/op/{self.number}"

    @property
    def service(self) -> str:
        """`TEAM/NAME`."""
        return f"{self.team}/{self.name}"

    async def get(self) -> OperationDocument:
        """The operation as it is now; see `Operations.get`.

        Returns:
            The operation, with its steps and how it ended.

        Raises:
            NotFound: there never was such an operation.
        """
        return await self._bond.operations.get(self.id)

    async def plans(self, *, step: str = "") -> list[PlanDocument]:
        """Its plans; see `Operations.plans`.

        Args:
            step: Of this step only.

        Returns:
            One document for each plan.

        Raises:
            NotFound: it has no such step, or no plan (yet).
        """
        return await self._bond.operations.plans(self.id, step=step)

    async def wait(
        self,
        on_change: OnChange | None = None,
        *,
        through_approvals: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> OperationDocument:
        """Wait until it has ended or waits for an approval; arguments as for `Operations.wait`.

        Returns:
            The operation as it was when the wait ended.

        Raises:
            NotFound: there never was such an operation.
            Unreachable: the platform did not answer for that long; the operation itself is not affected.
        """
        return await self._bond.operations.wait(
            self.id, on_change, through_approvals=through_approvals, patience_seconds=patience_seconds
        )

    async def result(self, on_change: OnChange | None = None) -> OperationDocument:
        """Wait until it has succeeded, through every approval.

        Args:
            on_change: Called with the operation whenever it has changed.

        Returns:
            The operation, which has succeeded.

        Raises:
            OperationFailed: or whichever error it failed with, of `bondstone.base.errors`.
        """
        from bondstone.base.errors import OperationFailed, from_info  # noqa: PLC0415 - pydantic, which a start spares

        document = await self.wait(on_change, through_approvals=True)
        if document.status == "succeeded":
            return document
        if document.error is None:
            raise OperationFailed(f"the operation ended {document.status}", where=self.id)
        raise from_info(document.error.changed(where=document.error.where or self.id))

    async def cancel(self, *, reason: str = "") -> OperationDocument:
        """Cancel it; see `Operations.cancel`.

        Args:
            reason: Why, for the ledger.

        Returns:
            The operation as it was when it was told.

        Raises:
            Refused: it has ended.
        """
        return await self._bond.operations.cancel(self.id, reason=reason)

    async def approve(
        self, digest: str, *, step: str = "", roles: Sequence[str] = (), comment: str = ""
    ) -> ApprovalDocument:
        """Approve one of its plans; arguments as for `Approvals.approve`.

        Returns:
            The gate after the vote.

        Raises:
            InvalidInput: that is not a digest, or too few characters of one.
            Refused: no such plan waits, or the vote does not count, with the reason.
        """
        return await self._bond.approvals.approve(self.id, digest, step=step, roles=roles, comment=comment)

    async def reject(
        self, digest: str, *, reason: str, step: str = "", roles: Sequence[str] = ()
    ) -> ApprovalDocument:
        """Reject one of its plans; arguments as for `Approvals.reject`.

        Returns:
            The gate after the vote.

        Raises:
            InvalidInput: that is not a digest, or too few characters of one.
            Refused: no such plan waits, or the vote does not count, with the reason.
        """
        return await self._bond.approvals.reject(self.id, digest, reason=reason, step=step, roles=roles)

    def logs(self, *, step: str = "", follow: bool = False) -> AsyncIterator[LogLine]:
        """What its tools printed; arguments as for `Logs.read`.

        Returns:
            The lines, secrets masked, each with its step and attempt.

        Raises:
            NotFound: there is no such operation or step.
        """
        return self._bond.logs.read(self.id, step=step, follow=follow)
