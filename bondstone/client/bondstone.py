"""`Bondstone`: one platform, as programs use it. A noun is an attribute, a verb a method of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.base.settings import Settings
    from bondstone.client.access import AccessRules
    from bondstone.client.approvals import Approvals
    from bondstone.client.campaigns import Campaigns
    from bondstone.client.freezes import Freezes
    from bondstone.client.ledger import Ledger
    from bondstone.client.logs import Logs
    from bondstone.client.operations import Operation, Operations
    from bondstone.client.policies import Policies
    from bondstone.client.promises import Promises
    from bondstone.client.schedules import Schedules
    from bondstone.client.services import Services
    from bondstone.client.state import State
    from bondstone.client.workers import Workers


class Bondstone(ABC):
    """A client of one platform, made by `bondstone.client.connect`.

    Each noun is an abstract class in a module of its own, documented there; a transport implements all of them.
    `bondstone.client.http` is the transport over the HTTP API, `bondstone.client.direct` the one over Temporal and
    the object store.
    """

    by: str
    """Who asks: recorded with every change."""
    settings: Settings
    """What it connects with."""

    @abstractmethod
    def acting_as(self, by: str) -> Bondstone:
        """The same connection with another person's name on what it asks for.

        Args:
            by: Who asks.

        Returns:
            Another client; this one stays as it is. Nothing is sent.
        """

    def operation(self, operation: str) -> Operation:
        """A handle on one operation. Nothing is sent, and it need not exist.

        Args:
            operation: `TEAM/NAME/op/N`.

        Returns:
            The handle: its verbs are those of `operations` for this one.

        Raises:
            InvalidInput: that is not an operation's id.
        """
        from bondstone.client.operations import Operation  # noqa: PLC0415 - keeps `import bondstone.client` light

        return Operation(self, operation)

    @property
    @abstractmethod
    def services(self) -> Services:
        """Instances of promises: requested, changed, decommissioned."""

    @property
    @abstractmethod
    def operations(self) -> Operations:
        """Runs of work on services."""

    @property
    @abstractmethod
    def approvals(self) -> Approvals:
        """Plans that wait for people."""

    @property
    @abstractmethod
    def campaigns(self) -> Campaigns:
        """One operation over a selected fleet."""

    @property
    @abstractmethod
    def schedules(self) -> Schedules:
        """Campaigns that start by themselves."""

    @property
    @abstractmethod
    def freezes(self) -> Freezes:
        """Times in which campaigns start nothing."""

    @property
    @abstractmethod
    def promises(self) -> Promises:
        """What the platform offers."""

    @property
    @abstractmethod
    def policies(self) -> Policies:
        """The organisation's rules."""

    @property
    @abstractmethod
    def access(self) -> AccessRules:
        """Who may do what."""

    @property
    @abstractmethod
    def state(self) -> State:
        """The Terraform state of a step."""

    @property
    @abstractmethod
    def logs(self) -> Logs:
        """What the tools printed."""

    @property
    @abstractmethod
    def ledger(self) -> Ledger:
        """The permanent record of what was done."""

    @property
    @abstractmethod
    def workers(self) -> Workers:
        """Builds of the control workers, and who polls which queue."""
