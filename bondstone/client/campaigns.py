"""`Bondstone.campaigns`: one operation over a selected fleet, in waves, under a failure budget, inside windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from bondstone.client.documents.campaign import (
        CampaignCheck,
        CampaignDocument,
        CampaignRow,
        PreviewDocument,
    )
    from bondstone.client.documents.campaign_plan import PlannedTarget
    from bondstone.model.campaign.events import Which
    from bondstone.model.campaign.report import CampaignReport

PLANS_AT_ONCE: Final = 4
"""Dry runs at once of a preview with plans: as many tools as a worker of the default size runs."""


class Campaigns(ABC):
    """What changes a campaign works at any time; the same `request_id` again has no further effect.

    Every verb that changes a campaign returns it as it is then, and raises `NotFound` when there is none of that
    name and `Refused` with the reason.
    """

    # Before it starts --------------------------------------------------------------------------------------------

    @abstractmethod
    async def validate(self, data: bytes, file: str = "campaign", *, name: str = "") -> CampaignCheck:
        """Check a campaign's file on its own; no platform is asked. `preview` checks it against the fleet too.

        Args:
            data: The file's content, YAML or JSON.
            file: Its name, for messages.
            name: Of the campaign, instead of the name in the file.

        Returns:
            Name, operation and number of waves.

        Raises:
            CampaignInvalid: with every mistake at its line and column.
        """

    @abstractmethod
    async def preview(
        self,
        data: bytes,
        file: str = "campaign",
        *,
        name: str = "",
        time_zone: str = "",
        plan: bool = False,
        at_once: int = PLANS_AT_ONCE,
        on_target: Callable[[PlannedTarget, int, int], None] | None = None,
    ) -> PreviewDocument:
        """What a campaign would do, to which services and when. Nothing is started.

        Args:
            data: The file's content, YAML or JSON.
            file: Its name, for messages.
            name: Of the campaign, instead of the name in the file.
            time_zone: IANA zone in which times are given beside UTC and the zones of the windows.
            plan: Plan every target too, by a dry run, and keep the plans under a digest.
            at_once: How many dry runs at once.
            on_target: Called with each target that is planned, how many are, and how many there are in all.

        Returns:
            Targets by wave, times in UTC, and the digest of the plans where they were made.

        Raises:
            CampaignInvalid: with every mistake at its line and column.
            AlreadyExists: the name is, or was, that of another campaign.
        """

    @abstractmethod
    async def run(
        self,
        data: bytes,
        file: str = "campaign",
        *,
        name: str = "",
        reason: str = "",
        supersedes: str = "",
        pinned: str = "",
    ) -> CampaignDocument:
        """Start a campaign; returns once its targets are chosen.

        Args:
            data: The file's content, YAML or JSON.
            file: Its name, for messages.
            name: Of the campaign, instead of the name in the file.
            reason: Why, instead of the reason in the file.
            supersedes: A campaign that this one takes over from, and that ends.
            pinned: Digest of a preview with plans, or its beginning: a plan that goes beyond it asks first.

        Returns:
            The campaign, with its targets.

        Raises:
            CampaignInvalid: with every mistake at its line and column; nothing was started.
            AlreadyExists: the name is, or was, that of another campaign.
        """

    # Reading -----------------------------------------------------------------------------------------------------

    @abstractmethod
    async def list(self) -> list[CampaignRow]:
        """Campaigns within Temporal's retention, newest first.

        Returns:
            One row for each campaign.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def get(self, name: str) -> CampaignDocument:
        """A campaign as it is now, or as it ended, however long ago.

        Args:
            name: Of the campaign.

        Returns:
            The campaign, with its waves and the targets that need a look.

        Raises:
            NotFound: there never was one of that name.
            BondError: it could not begin, in the words of its workflow.
        """

    @abstractmethod
    async def wait(
        self,
        name: str,
        on_change: Callable[[CampaignDocument], None] | None = None,
        *,
        through_approvals: bool = False,
    ) -> CampaignDocument:
        """Wait until a campaign has ended, or until it cannot continue without people.

        That is: a wave waits for an approval, or a broken budget has paused it and nothing runs.

        Args:
            name: Of the campaign.
            on_change: Called with the campaign whenever it has changed.
            through_approvals: Wait until it has ended, whatever it waits for meanwhile.

        Returns:
            The campaign as it was when the wait ended.

        Raises:
            NotFound: there never was one of that name.
            Unreachable: the platform did not answer for minutes; the campaign itself is not affected.
            BondError: the campaign could not begin, in the words of its workflow.
        """

    @abstractmethod
    async def report(self, name: str, *, evidence: bool = True) -> CampaignReport:
        """What an auditor reads: who, what, why, and what became of each target.

        Args:
            name: Of the campaign.
            evidence: Read the ledger of every target too: its plans, the decisions on them, the approvals.

        Returns:
            The report; times are in UTC.

        Raises:
            NotFound: there never was one of that name.
        """

    # Steering ----------------------------------------------------------------------------------------------------

    @abstractmethod
    async def pause(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        """Start nothing more; targets that run finish.

        Args:
            name: Of the campaign.
            reason: Why, for the record.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: there is no campaign of that name.
            Refused: it has ended, or cannot be changed so now, with the reason.
        """

    @abstractmethod
    async def resume(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        """Continue; after a broken budget this accepts the failures so far.

        Args:
            name: Of the campaign.
            reason: Why, for the record.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: there is no campaign of that name.
            Refused: it has ended, or cannot be changed so now, with the reason.
        """

    @abstractmethod
    async def abort(
        self, name: str, *, cancel: bool = False, reason: str = "", request_id: str = ""
    ) -> CampaignDocument:
        """End a campaign: targets that run finish first.

        Args:
            name: Of the campaign.
            cancel: Cancel what runs instead of letting it finish.
            reason: Why, for the record.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: there is no campaign of that name.
            Refused: it has ended, or cannot be changed so now, with the reason.
        """

    @abstractmethod
    async def skip(self, name: str, service: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        """Leave out a target that has not started.

        Args:
            name: Of the campaign.
            service: The target: `TEAM/NAME`.
            reason: Why, for the record.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: the service is not a target of the campaign.
        """

    @abstractmethod
    async def set_concurrency(
        self, name: str, most: int, *, reason: str = "", request_id: str = ""
    ) -> CampaignDocument:
        """Change how many targets run at once, from now on.

        Args:
            name: Of the campaign.
            most: Number of targets at once.
            reason: Why, for the record.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: there is no campaign of that name.
            Refused: it has ended, or cannot be changed so now, with the reason.
        """

    @abstractmethod
    async def next_wave(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        """End a wave's soak now; the health of its targets is still probed.

        Args:
            name: Of the campaign.
            reason: Why, for the record.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: there is no campaign of that name.
            Refused: it has ended, or cannot be changed so now, with the reason.
        """

    @abstractmethod
    async def approve(
        self,
        name: str,
        wave: str,
        *,
        digest: str = "",
        roles: Iterable[str] = (),
        reason: str = "",
        request_id: str = "",
    ) -> CampaignDocument:
        """Approve a wave that waits at its gate.

        Args:
            name: Of the campaign.
            wave: Name of the wave.
            digest: sha256 of the targets that were looked at, or its beginning; default: the campaign's targets.
            roles: In which you act, as asserted.
            reason: A comment for the record.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: there is no campaign of that name.
            VoteStale: the targets are others.
            Refused: no such wave waits, or the vote does not count.
        """

    @abstractmethod
    async def reject(
        self,
        name: str,
        wave: str,
        *,
        reason: str,
        digest: str = "",
        roles: Iterable[str] = (),
        request_id: str = "",
    ) -> CampaignDocument:
        """Reject a wave that waits at its gate: the campaign ends.

        Args:
            name: Of the campaign.
            wave: Name of the wave.
            reason: Why, for the record.
            digest: sha256 of the targets that were looked at, or its beginning; default: the campaign's targets.
            roles: In which you act, as asserted.
            request_id: The same id again has no further effect.

        Returns:
            The campaign as it is then.

        Raises:
            NotFound: there is no campaign of that name.
            VoteStale: the targets are others.
            Refused: no such wave waits, or the vote does not count.
        """

    @abstractmethod
    async def retry(
        self, name: str, which: Which = "failed", *, reason: str = "", request_id: str = "", new_name: str = ""
    ) -> CampaignDocument:
        """Run targets again; after the end in a new campaign that is linked to the old one.

        Args:
            name: Of the campaign.
            which: Which targets.
            reason: Why, for the record.
            request_id: The same id again has no further effect.
            new_name: Of the linked campaign; default: the name with `-retry`, and a number when that is taken.

        Returns:
            The campaign, or the linked one that runs the targets.

        Raises:
            NotFound: there is no campaign of that name.
            Refused: no target is to be run again.
        """

    @abstractmethod
    async def rollback(
        self,
        name: str,
        which: Literal["failed", "wave", "all"],
        *,
        reason: str = "",
        request_id: str = "",
        new_name: str = "",
    ) -> CampaignDocument:
        """Roll targets back; after the end in a new campaign that is linked to the old one.

        Args:
            name: Of the campaign.
            which: Which targets.
            reason: Why, for the record.
            request_id: The same id again has no further effect.
            new_name: Of the linked campaign; default: the name with `-rollback`, and a number when that is taken.

        Returns:
            The campaign, or the linked one that rolls the targets back.

        Raises:
            NotFound: there is no campaign of that name.
            Refused: no target can be rolled back.
        """
