"""Campaign: one workflow for one operation over a fleet; what it is told goes to its machine.

`bondstone.campaign.decider` says how it is driven: whatever happens is an event, each event goes through `decide`,
one after the other, and `machine.py` carries out the commands that follow. After some hundred targets the workflow
continues as new with the machine's state: neither history nor memory grow with the fleet.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow

from bondstone.base import names
from bondstone.model.campaign.events import (
    Abort,
    Approve,
    NextWave,
    Pause,
    Reject,
    Resume,
    Retry,
    RollbackTargets,
    SetConcurrency,
    Skip,
    Supersede,
)
from bondstone.model.campaign.run import CampaignDescription, CampaignInput, Reply
from bondstone.model.campaign.state import CampaignState
from bondstone.workflows.campaign.machine import CampaignMachine


@workflow.defn(name=names.CAMPAIGN_WORKFLOW)
class Campaign:
    """One operation over a selected fleet, in waves, under a failure budget, inside windows."""

    @workflow.init
    def __init__(self, start: CampaignInput) -> None:
        self._machine = CampaignMachine(start)

    @workflow.run
    async def run(self, start: CampaignInput) -> CampaignDescription:
        """Live until the last target is done; how it stands then is the result.

        Cancelling the workflow aborts the campaign, and lets what runs finish.
        """
        del start  # taken by __init__, which updates that arrive with the start need
        life = asyncio.create_task(self._machine.live())
        while True:
            try:
                return await asyncio.shield(life)
            except asyncio.CancelledError:
                if life.done() or life.cancelling():
                    raise  # the worker drops the workflow from its cache, which cancels every task of it
                self._machine.add(
                    Abort(request_id="cancelled", by="temporal", reason="the workflow was cancelled")
                )

    # What it is told ---------------------------------------------------------------------------------------

    @workflow.signal(name=names.SIGNAL_REPLY)
    def reply(self, reply: Reply) -> None:
        """What a service says of a submission."""
        self._machine.add(reply.said)

    @workflow.signal(name=names.SIGNAL_CALENDAR)
    def calendar_changed(self) -> None:
        """A freeze was made or ended: look at once."""
        self._machine.ask_calendar()

    @workflow.signal(name=names.SIGNAL_MOVE)
    def move(self) -> None:
        """Another build has taken over: the workflow task that this makes says so, and a quiet campaign moves."""

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> CampaignDescription:
        """The campaign as people see it."""
        return self._machine.description(whole=True)

    @workflow.query(name=names.QUERY_STATE)
    def state(self) -> CampaignState | None:
        """All of it, one character for each target; nothing before its targets are frozen."""
        return self._machine.state

    # What people ask: one update for each verb, refused where it has no place. Each answer is the campaign as it
    # stands then, without what changes every second.

    @workflow.update(name=names.UPDATE_PAUSE)
    async def pause(self, verb: Pause) -> CampaignDescription:
        """Start nothing more; what runs continues."""
        return await self._machine.perform(verb)

    @pause.validator
    def _validate_pause(self, verb: Pause) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_RESUME)
    async def resume(self, verb: Resume) -> CampaignDescription:
        """Continue; after a broken budget, accept the failures so far."""
        return await self._machine.perform(verb)

    @resume.validator
    def _validate_resume(self, verb: Resume) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_ABORT)
    async def abort(self, verb: Abort) -> CampaignDescription:
        """Start nothing more, ever, and end."""
        return await self._machine.perform(verb)

    @abort.validator
    def _validate_abort(self, verb: Abort) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_SUPERSEDE)
    async def supersede(self, verb: Supersede) -> CampaignDescription:
        """End because another campaign takes over, once what runs has finished."""
        return await self._machine.perform(verb)

    @supersede.validator
    def _validate_supersede(self, verb: Supersede) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_SKIP)
    async def skip(self, verb: Skip) -> CampaignDescription:
        """Leave out a target that has not started."""
        return await self._machine.perform(verb)

    @skip.validator
    def _validate_skip(self, verb: Skip) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_SET_CONCURRENCY)
    async def set_concurrency(self, verb: SetConcurrency) -> CampaignDescription:
        """Set how many targets may run at once."""
        return await self._machine.perform(verb)

    @set_concurrency.validator
    def _validate_set_concurrency(self, verb: SetConcurrency) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_NEXT_WAVE)
    async def next_wave(self, verb: NextWave) -> CampaignDescription:
        """End the soak now; health is still probed."""
        return await self._machine.perform(verb)

    @next_wave.validator
    def _validate_next_wave(self, verb: NextWave) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_RETRY)
    async def retry(self, verb: Retry) -> CampaignDescription:
        """Take targets up again, each in its wave."""
        return await self._machine.perform(verb)

    @retry.validator
    def _validate_retry(self, verb: Retry) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_ROLLBACK)
    async def rollback(self, verb: RollbackTargets) -> CampaignDescription:
        """Take targets back."""
        return await self._machine.perform(verb)

    @rollback.validator
    def _validate_rollback(self, verb: RollbackTargets) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_APPROVE)
    async def approve(self, verb: Approve) -> CampaignDescription:
        """Record a person's approval of a wave that waits at its gate."""
        return await self._machine.perform(verb)

    @approve.validator
    def _validate_approve(self, verb: Approve) -> None:
        self._machine.validate(verb)

    @workflow.update(name=names.UPDATE_REJECT)
    async def reject(self, verb: Reject) -> CampaignDescription:
        """Record a person's rejection: the campaign ends."""
        return await self._machine.perform(verb)

    @reject.validator
    def _validate_reject(self, verb: Reject) -> None:
        self._machine.validate(verb)
