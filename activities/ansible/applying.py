"""The verb that changes the world: what check mode has shown, and nothing beyond it.

Ansible keeps no state. So check mode is asked again just before the playbook runs: what it reports must be in the
plan. That is the recovery, too: after an attempt that died half-way the playbook runs again from its first task,
and what is done already is no longer reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bondstone.activities.ansible.changes import is_change, planned_changes, unexpected
from bondstone.activities.ansible.documents import (
    AnsiblePlan,
    PlaybookRecord,
    PlaybookRun,
    declared,
    read_plan,
    read_record,
)
from bondstone.activities.ansible.events import PlaybookTranscript
from bondstone.activities.ansible.session import PlaybookSession
from bondstone.activities.tooling.claims import claimed
from bondstone.base.canonical import digest
from bondstone.base.errors import BondError, Fenced, PlanStale, StoreUnavailable, ToolFailed
from bondstone.executors.protocol import Outcome, Output

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim

_NAMED: int = 5
"""Deviations from a plan that an error names."""
_KEPT: int = 20
"""Warnings that the record keeps; the log has all."""


async def apply(session: PlaybookSession, artefact: bytes, position: int) -> Outcome:
    """Apply the plan in the artefact, made at that position of the state log."""
    plan, run = read_plan(artefact), PlaybookRun(plan=digest(artefact), base=position)
    async with claimed(session, session.context.state) as claim:
        record = read_record(claim.snapshot.payload)
        if record.run == run.changed(done=True):  # an attempt before this one was done, and could not say so
            await claim.release()
            return _outcome(session, record)
        if claim.snapshot.position != position and record.run != run:
            await claim.release()
            raise PlanStale(
                f"the step's record has moved since the plan was made (from entry {position} of its log to "
                f"{claim.snapshot.position})",
                where=session.where,
                hint="plan again",
            )
        if record.run == run:
            session.log("an attempt before this one was interrupted: the playbook runs again from its first task")
        return await _Work(session, claim, plan, record, run).through()


class _Work:
    """One plan on its way to the hosts."""

    def __init__(
        self,
        session: PlaybookSession,
        claim: StateClaim,
        plan: AnsiblePlan,
        record: PlaybookRecord,
        run: PlaybookRun,
    ) -> None:
        self._session = session
        self._claim = claim
        self._plan = plan
        self._before = record
        self._run = run
        self._warnings: tuple[str, ...] = ()

    async def through(self) -> Outcome:
        session, plan = self._session, self._plan
        if plan.empty or not plan.playbook:
            record = self._done(self._before.statistics)
            await self._claim.release(record.pack() if record != self._before else None)
            return _outcome(session, record)
        try:
            expected = await self._compared()
            await self._claim.append(self._begun().pack())
            if session.context.trial:
                transcript = await session.play(plan, "check")
            else:
                transcript = await self._play("apply", expected)
                self._warnings = await self._verify(expected)
            record = self._done(transcript.statistics)
            outcome = _outcome(session, record)
        except BaseException as error:
            await self._keep(error)
            raise
        await self._claim.release(record.pack())
        return outcome

    async def _compared(self) -> int:
        """Refuse a plan that is overtaken by what happened on the hosts; how many results a run has."""
        if not self._plan.checked or self._session.context.trial:
            return 0
        transcript = await self._play("check")
        now = planned_changes(transcript.results, self._session.context.redact)
        words = unexpected(self._plan.expected, now)
        if words:
            more = f", and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
            raise PlanStale(
                f"the hosts have changed since the plan was made: {', '.join(words[:_NAMED])}{more}",
                where=self._session.where,
                hint="plan again",
            ).masked(self._session.context.redact)
        return len(transcript.results)

    async def _verify(self, expected: int) -> tuple[str, ...]:
        """What would change again, in words: a playbook whose tasks are not idempotent."""
        session = self._session
        if not (session.section.verify and self._plan.checked):
            return ()
        transcript = await self._play("check", expected)
        again = [item.address for item in transcript.results if is_change(item) and not item.is_open]
        words = [
            f"{address} is not idempotent: check mode says that it would change something again"
            for address in again
        ]
        for each in words:
            session.log(f"warning: {each}")
        return tuple(words[:_KEPT])

    async def _play(self, mode: str, total: int = 0) -> PlaybookTranscript:
        transcript = await self._session.play(
            self._plan, "apply" if mode == "apply" else "check", total=total, lost=self._claim.lost
        )
        self._still_held()
        return transcript

    def _still_held(self) -> None:
        if self._claim.lost.is_set():
            raise StoreUnavailable(
                "the claim on the step's record was lost or not renewed in time, so the playbook was stopped",
                where=self._session.where,
                hint="see why the worker could not reach the store, or stood still; another attempt continues",
            )

    def _begun(self) -> PlaybookRecord:
        """Written before the first task runs: hosts that may have been changed are known from here on."""
        hosts = {*self._before.hosts, *self._plan.hosts}
        return self._before.changed(hosts=tuple(sorted(hosts)), run=self._run)

    def _done(self, statistics: dict[str, object]) -> PlaybookRecord:
        run = self._run.changed(done=True)
        if self._plan.destroy:
            return PlaybookRecord(run=run, warnings=self._warnings)
        return PlaybookRecord(
            hosts=tuple(sorted(self._plan.hosts)),
            run=run,
            statistics={**self._before.statistics, **statistics},
            declared=declared(self._session.section.outputs),
            warnings=self._warnings,
        )

    async def _keep(self, error: BaseException) -> None:
        """Before an error is raised again: release the record, if it is still this attempt's."""
        if isinstance(error, Fenced):
            return
        try:
            await self._claim.release()
        except BondError as other:
            self._session.log(f"the record could not be released: {other.message}; the one before stands")


def _outcome(session: PlaybookSession, record: PlaybookRecord) -> Outcome:
    """The outputs of a step, as its playbook has set them.

    Raises:
        ToolFailed: when the playbook set one of them never.
    """
    if not record.hosts:
        return Outcome({}, warnings=record.warnings)
    declared_outputs = session.section.outputs
    missing = sorted(set(declared_outputs) - set(record.statistics))
    if missing:
        raise ToolFailed(
            f"the playbook set no statistic {', '.join(map(repr, missing))}, which the step declares as outputs",
            where=session.where,
            hint="set it by `ansible.builtin.set_stats: {data: {NAME: value}}` in a task that runs on a host",
        )
    return Outcome(
        {
            name: Output(record.statistics[name], sensitive=output.sensitive)
            for name, output in declared_outputs.items()
        },
        warnings=record.warnings,
    )
