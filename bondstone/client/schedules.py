"""`Bondstone.schedules`: campaigns that start by themselves, again and again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bondstone.client.documents.schedule import ScheduleDocument, ScheduleRow
    from bondstone.model.campaign.schedule import Overlap, ScheduleEntry
    from bondstone.model.manifest import KeptPlatformManifest

DEFAULT_CATCH_UP: Final = timedelta(hours=1)
TIMES_SHOWN: Final = 5
"""How many of its next times a schedule is shown with."""


class Schedules(ABC):
    """Every verb that changes a schedule returns it as it is then, and raises `NotFound` when there is none."""

    @abstractmethod
    async def create(
        self,
        name: str,
        data: bytes,
        file: str = "strategy",
        *,
        cron: str,
        time_zone: str = "UTC",
        overlap: Overlap = "skip",
        jitter: timedelta = timedelta(0),
        catch_up: timedelta = DEFAULT_CATCH_UP,
        reason: str = "",
        paused: bool = False,
        applied: KeptPlatformManifest | None = None,
    ) -> ScheduleDocument:
        """Start a campaign from a strategy at every time that a cron line names.

        Args:
            name: Of the schedule; its campaigns are named `<name>-<yyyymmdd>-<hhmm>`, in UTC.
            data: The strategy, YAML or JSON.
            file: Its name, for messages.
            cron: Five fields, in local time.
            time_zone: IANA zone of the cron line.
            overlap: What happens to a run that is due while the one before is not over.
            jitter: Each run is late by a random part of this.
            catch_up: A run that was due while the platform was away starts at most this late.
            reason: Why its campaigns are done; default: that of the strategy.
            paused: Create it paused.
            applied: The manifest that it is of, for the next `bond apply`.

        Returns:
            The schedule.

        Raises:
            CampaignInvalid: with every mistake of strategy, cron line and zone in its place; nothing was made.
            AlreadyExists: there is one of that name.
        """

    @abstractmethod
    async def update(
        self,
        name: str,
        data: bytes | None = None,
        file: str = "strategy",
        *,
        cron: str = "",
        time_zone: str = "",
        overlap: Overlap | None = None,
        jitter: timedelta | None = None,
        catch_up: timedelta | None = None,
        reason: str = "",
        applied: KeptPlatformManifest | None = None,
        expected: str = "",
    ) -> ScheduleDocument:
        """Change what is given; the rest stays, and so do running campaigns. Arguments as for `create`.

        Args:
            name: Of the schedule.
            data: The strategy; None leaves it.
            file: Its name, for messages.
            cron: When it is due; empty leaves it, as below.
            time_zone: IANA zone of the cron line.
            overlap: What happens to a run that is due while the one before is not over.
            jitter: Each run is late by a random part of this.
            catch_up: A run that was due while the platform was away starts at most this late.
            reason: Why.
            applied: The manifest that it is of, for the next `bond apply`.
            expected: `version` of what the caller has read; empty changes the schedule as it is now.

        Returns:
            The schedule as it is then.

        Raises:
            Changed: somebody changed it since, also at the same moment.
            NotFound: there is no schedule of that name.
            CampaignInvalid: with every mistake of strategy, cron line and zone in its place; nothing was changed.
        """

    @abstractmethod
    async def list(self) -> list[ScheduleRow]:
        """Every schedule, by name.

        Returns:
            One row for each schedule.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def get(self, name: str, *, count: int = TIMES_SHOWN, time_zone: str = "") -> ScheduleDocument:
        """A schedule: when it is due, what it ran, what it missed, and who changed it.

        Args:
            name: Of the schedule.
            count: How many of its next times.
            time_zone: IANA zone in which times are given beside UTC and the schedule's own.

        Returns:
            The schedule, with its next times.

        Raises:
            NotFound: there is none of that name.
        """

    @abstractmethod
    async def history(self, name: str) -> Sequence[ScheduleEntry]:
        """All that was ever recorded of a schedule, oldest first, also when it is long gone.

        Args:
            name: Of the schedule.

        Returns:
            One entry for each change and run; none when there never was such a schedule.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def pause(self, name: str, *, reason: str) -> ScheduleDocument:
        """Start nothing automatically; it can still be triggered.

        Args:
            name: Of the schedule.
            reason: Why; the schedule shows it.

        Returns:
            The schedule as it is then.

        Raises:
            InvalidInput: the reason is empty.
        """

    @abstractmethod
    async def resume(self, name: str, *, reason: str = "") -> ScheduleDocument:
        """Start campaigns again. What was due meanwhile stays missed; `backfill` runs it.

        Args:
            name: Of the schedule.
            reason: Why; the schedule shows it.

        Returns:
            The schedule as it is then.

        Raises:
            NotFound: there is no schedule of that name.
        """

    @abstractmethod
    async def trigger(
        self, name: str, *, overlap: Overlap | None = None, reason: str = "", request_id: str = ""
    ) -> str:
        """Start a campaign now, also while the schedule is paused.

        Args:
            name: Of the schedule.
            overlap: Instead of the schedule's own.
            reason: Why, for the record.
            request_id: The same trigger under the same id is one; default: a new one.

        Returns:
            The campaign; empty when none was started within seconds, because another one runs.

        Raises:
            NotFound: there is no schedule of that name.
        """

    @abstractmethod
    async def backfill(
        self,
        name: str,
        begin: datetime,
        end: datetime,
        *,
        overlap: Overlap = "buffer-all",
        reason: str = "",
        request_id: str = "",
    ) -> tuple[datetime, ...]:
        """Start the campaigns of times that have passed, as if they were now.

        Args:
            name: Of the schedule.
            begin: The first instant.
            end: The last instant; it must have passed.
            overlap: `buffer-all` runs one after the other.
            reason: Why, for the record.
            request_id: The same backfill under the same id is one; default: a new one.

        Returns:
            The times that are run; one that has been run already is not run twice.

        Raises:
            InvalidInput: there is no such time, or too many.
        """

    @abstractmethod
    async def delete(self, name: str, *, reason: str = "") -> None:
        """Delete a schedule; its running campaigns are not touched, and its history stays.

        Args:
            name: Of the schedule.
            reason: Why, for the record.

        Raises:
            NotFound: there is no schedule of that name.
        """
