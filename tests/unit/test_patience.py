"""Calls to a Temporal that is busy: tried again within a bound, and said; every other error counts at once."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from temporalio.service import RPCError, RPCStatusCode

from bondstone.temporal import patience
from bondstone.temporal.calls import as_ours


class Server:
    """Answers after it has refused some calls."""

    def __init__(
        self, refusals: int, status: RPCStatusCode, message: str = "namespace rate limit exceeded"
    ) -> None:
        self.refusals, self.status, self.message = refusals, status, message
        self.calls = 0

    async def call(self, question: str) -> str:
        self.calls += 1
        if self.calls <= self.refusals:
            raise RPCError(self.message, self.status, b"")
        return question.upper()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.001)


async def test_what_a_busy_server_refuses_is_asked_again_and_said_once():
    server = Server(3, RPCStatusCode.RESOURCE_EXHAUSTED)
    with capture_logs() as logs:
        assert await patience.patient(server.call)("hello") == "HELLO"
    assert server.calls == 4
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("Temporal is busy; trying again", "namespace rate limit exceeded")
    ]


async def test_a_server_that_stays_busy_is_an_error_in_words_once_the_time_is_over():
    server = Server(10**6, RPCStatusCode.RESOURCE_EXHAUSTED)
    with pytest.raises(RPCError) as caught:
        await patience.patient(server.call, seconds=0.05)("hello")
    assert 2 < server.calls < 100
    words = as_ours(caught.value, "service/payments/orders")
    assert "too busy" in words.message
    assert words.hint


FAILED_TASK = "Unable to perform workflow execution update due to Workflow Task in failed state."


async def test_a_workflow_whose_task_failed_is_asked_again_for_a_shorter_time():
    server = Server(3, RPCStatusCode.FAILED_PRECONDITION, FAILED_TASK)
    assert await patience.patient(server.call)("hello") == "HELLO"
    server = Server(10**6, RPCStatusCode.FAILED_PRECONDITION, FAILED_TASK)
    with pytest.raises(RPCError):
        await patience.patient(server.call, failed_task_seconds=0.05)("hello")
    assert 2 < server.calls < 100


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (RPCStatusCode.FAILED_PRECONDITION, "no poller seen for task queue recently"),
        (RPCStatusCode.UNAVAILABLE, "no connection"),
        (RPCStatusCode.INVALID_ARGUMENT, "no such field"),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (9 vs. 4)"),
    ],
)
async def test_any_other_error_counts_at_once(status, message):
    server = Server(1, status, message)
    with pytest.raises(RPCError):
        await patience.patient(server.call)("hello")
    assert server.calls == 1
