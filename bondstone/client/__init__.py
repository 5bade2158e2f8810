"""The Python client: the same verbs as the `bond` command, typed, over Temporal directly.

async with Bondstone.connect() as bond:
operation = await bond.request("sqlite-database", "payments/orders-db", inputs={"size": "small"})
await operation.result()
"""

from __future__ import annotations

from bondstone.client.bondstone import Bondstone
from bondstone.client.operation import Operation
from bondstone.temporal.listing import OperationRow, ServiceRow
from bondstone.temporal.service_ids import service_id

__all__ = ["Bondstone", "Operation", "OperationRow", "ServiceRow", "service_id"]
