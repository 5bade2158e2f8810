"""A query that a worker loses is sent once more, within the same bound."""

import asyncio
from types import SimpleNamespace

import pytest
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base.errors import NotFound, Unreachable
from bondstone.model.refusal import RefusalHour
from bondstone.temporal import calls

STATE = RefusalHour()


class Queries:
    """A workflow whose answers come as they are planned: a value, an error, or never."""

    def __init__(self, *plan: object) -> None:
        self.plan = list(plan)
        self.cancelled = 0

    def get_workflow_handle(self, _workflow_id):
        return SimpleNamespace(query=self.query)

    async def query(self, _name, **_options):
        answer = self.plan.pop(0)
        if answer is None:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


async def query(client: Queries) -> RefusalHour:
    async with asyncio.timeout(60):
        return await calls.query(client, "service/shop/cart", RefusalHour)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(calls, "SECOND_QUERY_SECONDS", 0.01)


async def test_a_query_that_a_worker_lost_is_sent_once_more():
    client = Queries(None, STATE)
    assert await query(client) is STATE
    await asyncio.sleep(0)
    assert (client.plan, client.cancelled) == ([], 1), "the lost one is waited for no longer"


async def test_a_query_with_an_answer_is_sent_once():
    client = Queries(STATE, RuntimeError("a second query"))
    assert await query(client) is STATE
    assert len(client.plan) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(RPCStatusCode.NOT_FOUND, NotFound), (RPCStatusCode.DEADLINE_EXCEEDED, Unreachable)]
)
async def test_what_temporal_refuses_is_not_asked_again(status, kind):
    client = Queries(RPCError("no", status, b""), RuntimeError("a second query"))
    with pytest.raises(kind):
        await query(client)
    assert len(client.plan) == 1
