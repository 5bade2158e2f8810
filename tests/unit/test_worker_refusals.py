"""What workers refuse callers without the API is counted; nothing else is, and no word of it is the caller's."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from bondstone.base.errors import AttestationInvalid, NotFound, PermitInvalid
from bondstone.base.settings import Settings
from bondstone.store.objects import Objects
from bondstone.store.refusal_record import MAX_OF_CALLER, RefusalRecord
from bondstone.store.refusals import Refusals as KeptRefusals
from bondstone.temporal.failures import to_failure
from bondstone.workers import refusals


async def record() -> RefusalRecord:
    return RefusalRecord(KeptRefusals(await Objects.open("memory:///")))


async def rows(kept: RefusalRecord) -> list:
    await asyncio.sleep(0)  # what was counted from threads arrives
    await kept.flush()
    now = datetime.now(UTC)
    return [row async for row in kept.kept.between(now - timedelta(hours=1), now)]


class Failing:
    """An activity that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def init(self, _outbound: object) -> None: ...

    async def execute_activity(self, _call: object) -> None:
        raise self.error


async def run(kept: RefusalRecord, error: Exception, *args: object) -> None:
    counting = refusals.WorkerRefusals(kept, asyncio.get_running_loop()).intercept_activity(Failing(error))
    with pytest.raises(type(error)):
        await ActivityEnvironment().run(counting.execute_activity, SimpleNamespace(args=args))


@pytest.mark.parametrize("sent", [PermitInvalid("of s3cr3t"), to_failure(PermitInvalid("of s3cr3t"))])
async def test_an_activity_without_a_permit_is_counted_with_its_service_and_without_words(sent):
    kept = await record()
    for _ in range(2):
        await run(kept, sent, SimpleNamespace(service="shop/cart"))
    [row] = await rows(kept)
    assert (row.by, row.means, row.message) == ("", "temporal", "")
    assert (row.code, row.count, row.target, row.team) == ("PERMIT_INVALID", 2, "shop/cart", "shop")
    assert row.verb.startswith("activity ")


async def test_a_made_up_service_is_no_word_of_the_record():
    kept = await record()
    for service in ("shop/<b>cart", "x" * 5000, "shop/cart/op/1; rm", None):
        await run(kept, AttestationInvalid("none"), SimpleNamespace(service=service))
    [row] = await rows(kept)
    assert (row.target, row.team, row.count) == ("", "", 4)


async def test_other_failures_are_not_counted():
    kept = await record()
    for error in (NotFound("no plan"), to_failure(NotFound("no plan")), ApplicationError("x"), ValueError("x")):
        await run(kept, error, SimpleNamespace(service="shop/cart"))
    assert await rows(kept) == []


async def test_a_stranger_cannot_fill_the_store():
    kept = await record()
    for number in range(3 * MAX_OF_CALLER):
        await run(kept, PermitInvalid("none"), SimpleNamespace(service=f"shop/s-{number}"))
    listed = await rows(kept)
    assert len(listed) == MAX_OF_CALLER + 1
    assert sum(row.count for row in listed) == 3 * MAX_OF_CALLER


async def test_nothing_is_kept_where_no_attestations_are_demanded(tmp_path):
    store = SimpleNamespace(refusals=KeptRefusals(await Objects.open("memory:///")))
    assert refusals.kept_refusals(store, Settings(data=tmp_path, attestation="local")) == []
    assert len(refusals.kept_refusals(store, Settings(data=tmp_path, attestation="required"))) == 1
