"""A server whose clock moves only when a test says so; `test_time` says what it cannot do."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from bondstone.temporal.connection import SEARCH_ATTRIBUTE_TYPES
from bondstone.temporal.payloads import DATA_CONVERTER


@asynccontextmanager
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server of one's own, with our search attributes."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(Path(sys.executable).with_name("temporal-test-server")),
        data_converter=DATA_CONVERTER,
    ) as environment:
        # It cannot list search attributes, which `ensure_search_attributes` would begin with.
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace="default", search_attributes=SEARCH_ATTRIBUTE_TYPES)
        )
        yield environment
