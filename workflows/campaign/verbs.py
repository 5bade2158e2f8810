"""What people ask of a campaign: one update for each verb, refused in words where it has no place."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import workflow

from bondstone.base import names
from bondstone.model.campaign.events import (
    Abort,
    AnyVerb,
    Approve,
    NextWave,
    Pause,
    Reject,
    Resume,
    Retry,
    Rollback,
    SetConcurrency,
    Skip,
    Supersede,
)
from bondstone.model.campaign.run import CampaignDescription


class Verbs(ABC):
    """Base of `Campaign`. Every answer is the campaign as it is then, without what changes every second."""

    @abstractmethod
    def _check(self, verb: AnyVerb) -> None:
        """Refuse a verb that has no place now."""

    @abstractmethod
    async def _do(self, verb: AnyVerb) -> CampaignDescription:
        """Do it; once for each request id."""

    @workflow.update(name=names.UPDATE_PAUSE)
    async def pause(self, verb: Pause) -> CampaignDescription:
        """Start nothing more; what runs goes on."""
        return await self._do(verb)

    @pause.validator
    def _validate_pause(self, verb: Pause) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_RESUME)
    async def resume(self, verb: Resume) -> CampaignDescription:
        """Go on; after a broken budget, accept the failures so far."""
        return await self._do(verb)

    @resume.validator
    def _validate_resume(self, verb: Resume) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_ABORT)
    async def abort(self, verb: Abort) -> CampaignDescription:
        """Start nothing more, ever, and end."""
        return await self._do(verb)

    @abort.validator
    def _validate_abort(self, verb: Abort) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_SUPERSEDE)
    async def supersede(self, verb: Supersede) -> CampaignDescription:
        """End because another campaign takes over, once what runs has finished."""
        return await self._do(verb)

    @supersede.validator
    def _validate_supersede(self, verb: Supersede) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_SKIP)
    async def skip(self, verb: Skip) -> CampaignDescription:
        """Leave out a target that has not started."""
        return await self._do(verb)

    @skip.validator
    def _validate_skip(self, verb: Skip) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_SET_CONCURRENCY)
    async def set_concurrency(self, verb: SetConcurrency) -> CampaignDescription:
        """Set how many targets may run at once."""
        return await self._do(verb)

    @set_concurrency.validator
    def _validate_set_concurrency(self, verb: SetConcurrency) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_NEXT_WAVE)
    async def next_wave(self, verb: NextWave) -> CampaignDescription:
        """End the soak now; health is still probed."""
        return await self._do(verb)

    @next_wave.validator
    def _validate_next_wave(self, verb: NextWave) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_RETRY)
    async def retry(self, verb: Retry) -> CampaignDescription:
        """Take targets up again, each in its wave."""
        return await self._do(verb)

    @retry.validator
    def _validate_retry(self, verb: Retry) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_ROLLBACK)
    async def rollback(self, verb: Rollback) -> CampaignDescription:
        """Take targets back."""
        return await self._do(verb)

    @rollback.validator
    def _validate_rollback(self, verb: Rollback) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_APPROVE)
    async def approve(self, verb: Approve) -> CampaignDescription:
        """Take a person's word for a wave that waits at its gate."""
        return await self._do(verb)

    @approve.validator
    def _validate_approve(self, verb: Approve) -> None:
        self._check(verb)

    @workflow.update(name=names.UPDATE_REJECT)
    async def reject(self, verb: Reject) -> CampaignDescription:
        """Take a person's word against it: the campaign ends."""
        return await self._do(verb)

    @reject.validator
    def _validate_reject(self, verb: Reject) -> None:
        self._check(verb)
