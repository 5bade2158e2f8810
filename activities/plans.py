"""The control activity `plan.covered`."""

from __future__ import annotations

from temporalio import activity

from bondstone.activities.failures import speaks_failures
from bondstone.base import names
from bondstone.model.plan_coverage import carried_out, uncovered
from bondstone.model.step import Cover, CoverCall
from bondstone.store import Store

MAX_REASONS = 20


class PlanActivities:
    """What the control worker does with stored plans."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=names.PLAN_COVERED)
    @speaks_failures
    async def covered(self, call: CoverCall) -> Cover:
        """Whether the new plan does nothing but what the approved one would have done."""
        approved = await self._store.plans.changes(call.approved)
        new = await self._store.plans.changes(call.new)
        reasons = uncovered(approved, new)
        return Cover(
            covered=not reasons, reasons=tuple(reasons[:MAX_REASONS]), carried_out=carried_out(approved, new)
        )
