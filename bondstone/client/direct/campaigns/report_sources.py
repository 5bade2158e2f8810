"""What the report of a campaign is made of, read from the platform's stores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from temporalio.client import Client

from bondstone.base import names
from bondstone.campaign.report.content import Kept, last_records
from bondstone.documents.yaml_places import read
from bondstone.model.campaign.run import CampaignDescription
from bondstone.model.campaign.state import CampaignState
from bondstone.model.ledger import LedgerRecord
from bondstone.store import Store
from bondstone.temporal import calls
from bondstone.temporal.service_ids import service_id

READS_AT_ONCE: Final = 16


async def gather(store: Store, temporal: Client, description: CampaignDescription, *, evidence: bool) -> Kept:
    """Everything that is kept of a campaign.

    Args:
        store: The platform's stores.
        temporal: The connection to Temporal.
        description: The campaign as it stands.
        evidence: Read the ledger of every target too.
    """
    name, kept = description.name, store.campaigns
    header, targets, batches, state = await asyncio.gather(
        kept.header(name), kept.targets(name), kept.ledger(name), kept.end(name)
    )
    if state is None and description.frozen:
        workflow_id = names.campaign_workflow_id(name)
        state = await calls.query(temporal, workflow_id, CampaignState, names.QUERY_STATE)
    records = last_records(description, batches).values()
    wanted = [record.operation_id for record in records if record.operation_id] if evidence else []
    return Kept(
        header=header,
        manifest=header.start.document or read(header.start.source.encode(), header.start.file).data,
        description=description,
        state=state,
        targets=targets,
        batches=batches,
        left=await kept.left_out(name) if description.frozen else (),
        operations=await _operations(store, wanted),
    )


async def _operations(store: Store, wanted: Iterable[str]) -> dict[str, LedgerRecord]:
    """The ledger's records of operations, by id; of some there may be none (yet)."""
    limit = asyncio.Semaphore(READS_AT_ONCE)

    async def one(operation: str) -> LedgerRecord | None:
        team, name, number = names.parse_operation(operation)
        async with limit:
            return await store.ledger.operation(service_id(f"{team}/{name}"), number)

    ids = list(dict.fromkeys(wanted))
    records = await asyncio.gather(*map(one, ids))
    return {name: record for name, record in zip(ids, records, strict=True) if record is not None}
