"""A real Temporal server that limits its rate: calls of the client wait for their turn and do not fail."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bondstone.temporal.patience import make_patient
from harness.servers.process import LOOPBACK, Server, free_port, listens

pytestmark = pytest.mark.integration
CALLS = 30


@pytest.fixture
def address(tmp_path):
    """Of a server that answers five calls a second to visibility."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("temporal")), "server", "start-dev", "--headless"]
    command += ["--ip", LOOPBACK, "--port", str(port)]
    for limit in ("frontend.namespaceRPS.visibility", "frontend.globalNamespaceRPS.visibility"):
        command += ["--dynamic-config-value", f"{limit}=5"]
    server = Server("temporal", command, tmp_path / "temporal.log", listens(port))
    server.start()
    try:
        yield f"{LOOPBACK}:{port}"
    finally:
        server.kill()


async def test_raw_calls_wait_for_their_turn(address):
    client = await Client.connect(address)
    request = CountWorkflowExecutionsRequest(namespace="default")

    async def count() -> None:
        await client.workflow_service.count_workflow_executions(request)

    answers = await asyncio.gather(*(count() for _ in range(CALLS)), return_exceptions=True)
    errors = {error.status for error in answers if isinstance(error, RPCError)}
    assert errors == {RPCStatusCode.RESOURCE_EXHAUSTED}, "the server does limit its rate"
    make_patient(client)
    await asyncio.gather(*(count() for _ in range(CALLS)))
