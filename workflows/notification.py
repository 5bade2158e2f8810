"""One message to one receiver: tried again for a day, and then failed for all to see."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

from bondstone.base import names
from bondstone.model.notification import DeliverCall, Delivered

ATTEMPT_SECONDS: Final = 30
MAX_ATTEMPTS: Final = 9
RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=5,
    maximum_interval=timedelta(hours=10),
    maximum_attempts=MAX_ATTEMPTS,
)
"""5 s, 25 s, 2 min, 10 min, 52 min, 4 h, 10 h, 10 h: a receiver that is away for a night hears of it."""


@workflow.defn
class Notification:
    """Delivers one event to one subscription; the event is made of what is kept when it is sent."""

    @workflow.run
    async def run(self, call: DeliverCall) -> Delivered:
        """Deliver it."""
        delivered: Delivered = await workflow.execute_activity(
            names.NOTIFICATION_DELIVER,
            call,
            result_type=Delivered,
            task_queue=names.CONTROL_QUEUE,
            start_to_close_timeout=timedelta(seconds=ATTEMPT_SECONDS),
            retry_policy=RETRIES,
            summary=f"{call.source.kind} to {call.subscription}",
        )
        return delivered
