"""The Python client: the verbs of the `bond` command, typed.

    async with connect() as bond:
        operation = await bond.services.request("sqlite-database", "payments/orders-db", {"size": "small"})
        await operation.result()

Each noun is an attribute of `Bondstone` and an abstract class here. Arguments and answers are the documents that
`-o json` prints (`bondstone.client.documents`); errors are those of `bondstone.base.errors`. Importing this
package imports no transport.
"""

from __future__ import annotations

from bondstone.client.access import AccessRules
from bondstone.client.approvals import Approvals
from bondstone.client.bondstone import Bondstone
from bondstone.client.campaigns import Campaigns
from bondstone.client.connecting import connect
from bondstone.client.freezes import Freezes
from bondstone.client.ledger import Ledger
from bondstone.client.logs import Logs
from bondstone.client.operations import Operation, Operations
from bondstone.client.policies import Policies
from bondstone.client.promises import Promises
from bondstone.client.schedules import Schedules
from bondstone.client.services import RequestOptions, Services
from bondstone.client.state import State
from bondstone.client.workers import Workers

__all__ = [
    "AccessRules",
    "Approvals",
    "Bondstone",
    "Campaigns",
    "Freezes",
    "Ledger",
    "Logs",
    "Operation",
    "Operations",
    "Policies",
    "Promises",
    "RequestOptions",
    "Schedules",
    "Services",
    "State",
    "Workers",
    "connect",
]
