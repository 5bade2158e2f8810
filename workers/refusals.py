"""What this worker refuses those who came to Temporal without the API: on record, as the API keeps its own.

Such a caller has no name. What is kept is which update or activity was refused, of which service, with which code,
and how often: bounded as in `bondstone.store.refusal_record`, and no word of it is the caller's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import structlog
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from bondstone.base.errors import AttestationInvalid, BondError, PermitInvalid, StoreError, from_info
from bondstone.base.names import SERVICE_PATTERN
from bondstone.base.settings import Settings
from bondstone.store import Store
from bondstone.store.refusal_record import RefusalRecord
from bondstone.temporal.failures import info_of

MEANS: Final = "temporal"
"""How the caller came."""
REFUSES: Final = (AttestationInvalid, PermitInvalid)
MAX_NAME_CHARS: Final = 80
_COUNT: Final = "bondstone_refused"
_OF_SERVICE: Final = re.compile(f"service/({SERVICE_PATTERN.strip('^$')})(?:/op/[0-9]+)?")

log = structlog.get_logger(__name__)


def kept_refusals(store: Store, settings: Settings) -> list[WorkerRefusals]:
    """What counts a worker's refusals; nothing where no attestations are demanded, so that none is refused."""
    if settings.attestation != "required":
        return []
    return [WorkerRefusals(RefusalRecord(store.refusals), asyncio.get_running_loop())]


class WorkerRefusals(Interceptor):
    """Counts what validators and activities of a worker refuse for want of an attestation or a permit.

    Args:
        record: Where it is counted.
        loop: Of the worker; validators run in threads of their own.
    """

    def __init__(self, record: RefusalRecord, loop: asyncio.AbstractEventLoop) -> None:
        self._record = record
        self._loop = loop

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Count what activities refuse."""
        return _Activities(next, self._count)

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        """Count what validators of updates refuse."""
        input.unsafe_extern_functions[_COUNT] = self._count
        return _Validators

    async def keep(self) -> None:
        """Write now and again what was counted, until cancelled; then once more."""
        try:
            await self._record.keep()
        finally:
            with suppress(StoreError):
                await self._record.flush()

    def _count(self, message: str, about: str, error: BondError) -> None:
        match = _OF_SERVICE.fullmatch(about)
        service = match[1] if match else ""
        log.warning("refused", message=message[:MAX_NAME_CHARS], service=service, code=error.code)
        with suppress(RuntimeError):  # the worker ends
            self._loop.call_soon_threadsafe(self._note, message[:MAX_NAME_CHARS], error, service)

    def _note(self, message: str, error: BondError, service: str) -> None:
        self._record.count(None, message, error, service, means=MEANS)


Count = Callable[[str, str, BondError], None]


class _Activities(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, count: Count) -> None:
        super().__init__(following)
        self._count = count

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the interface's name
        call = input.args[0] if input.args else None
        with _counted(self._count, lambda: f"activity {activity.info().activity_type}", lambda: _service_of(call)):
            return await super().execute_activity(input)


class _Validators(WorkflowInboundInterceptor):
    def handle_update_validator(self, input: HandleUpdateInput) -> None:  # noqa: A002 - the interface's name
        count: Count = workflow.extern_functions()[_COUNT]
        with _counted(count, lambda: f"update {input.update}", lambda: workflow.info().workflow_id):
            super().handle_update_validator(input)


def _service_of(call: Any) -> str:
    """Which service an activity's argument says that it is about."""
    service = getattr(call, "service", None) or getattr(getattr(call, "call", None), "service", "")
    return f"service/{service}"


@contextmanager
def _counted(count: Count, message: Callable[[], str], about: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except (ApplicationError, BondError) as error:
        ours = from_info(info_of(error))
        if isinstance(ours, REFUSES):
            count(message(), about(), ours)
        raise
