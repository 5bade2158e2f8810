"""What `bond doctor` looks at: Temporal, the database, the disk, the store, its keys, access, ledgers, stuck work.

Nothing is changed. Each check stands alone: one that finds a problem, or cannot be made, stops no other.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import BondError
from bondstone.client.documents.platform import CheckResult
from bondstone.identity.document import read_access
from bondstone.model.attestation import PublicKeys
from bondstone.store import Store, object_keys
from bondstone.store.backup import DATABASE, check_database
from bondstone.store.ledger_verification import verify
from bondstone.store.objects import Objects
from bondstone.store.signing import PlatformKeys
from bondstone.temporal.connection import POLLER_FRESH_SECONDS, connect, pollers, silence_core

if TYPE_CHECKING:
    from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
    from temporalio.client import Client

    from bondstone.base.settings import Settings

LITTLE_ROOM_BYTES: Final = 1024**3
MAX_OPERATIONS: Final = 500
"""Most running operations that are looked into."""
MANY_ATTEMPTS: Final = 5
"""From so many attempts of one activity on, an operation is called stuck."""
MANY_TASKS: Final = 3
"""From so many failed workflow tasks in a row on, its worker cannot go on with a workflow."""
AT_ONCE: Final = 16


async def examine(settings: Settings, *, quiet: bool = False) -> list[CheckResult]:
    """Every check of a platform, in order.

    Args:
        settings: Which platform.
        quiet: Keep what the Temporal SDK's native core prints off standard error, for the whole process.
    """
    if quiet:
        silence_core()
    findings = [_database(settings), _disk(settings)]
    client, finding = await _temporal(settings)
    findings.append(finding)
    store, more = await _store(settings)
    findings += more
    if store is None:
        findings += [_skipped(check, "the store, or its keys, cannot be read") for check in ("access", "ledger")]
    else:
        findings += await _guarded("access", lambda: access(store))
        findings += await _guarded("ledger", lambda: _ledgers(store))
    if client is None:
        findings.append(_skipped("operations", "Temporal does not answer"))
    else:
        findings += await _guarded("operations", lambda: _operations(client))
    return findings


# Checks -----------------------------------------------------------------------------------------------------


def _database(settings: Settings) -> CheckResult:
    database = settings.data / DATABASE
    if not database.is_file():
        return _skipped("database", f"no embedded platform has its data in {settings.data}")
    try:
        check_database(database)
    except BondError as error:
        return _problem("database", error)
    return _ok("database", f"{database} is sound")


def _disk(settings: Settings) -> CheckResult:
    if not settings.data.is_dir():
        return _skipped("disk", f"there is no directory {settings.data}")
    free = shutil.disk_usage(settings.data).free
    words = f"{free // 2**20} MiB are free"
    if free < LITTLE_ROOM_BYTES:
        hint = "free some space: the platform does not start with less than 256 MiB"
        return CheckResult(check="disk", status="warning", message=words, hint=hint)
    return _ok("disk", words)


async def _temporal(settings: Settings) -> tuple[Client | None, CheckResult]:
    try:
        client = await connect(settings)
        fresh = datetime.now(UTC) - timedelta(seconds=POLLER_FRESH_SECONDS)
        control = await pollers(client, names.CONTROL_QUEUE, workflows=True)
    except BondError as error:
        return None, _problem("temporal", error)
    except RPCError as error:
        return None, CheckResult(check="temporal", status="problem", message=f"Temporal answered: {error.message}")
    if not any(poller.last_seen > fresh for poller in control):
        hint = "start one, or look into its log: `bond status`"
        return client, CheckResult(
            check="temporal", status="problem", message="no control worker polls", hint=hint
        )
    return client, _ok("temporal", f"it answers at {client.service_client.config.target_host}")


async def _store(settings: Settings) -> tuple[Store | None, list[CheckResult]]:
    try:
        await (await Objects.open(settings.store_url)).list(object_keys.KEY_IDS)
    except BondError as error:
        return None, [_problem("store", error), _skipped("keys", "the store cannot be read")]
    listed = _ok("store", f"it can be listed: {settings.store_url}")
    try:
        store = await Store.open(settings)
    except BondError as error:
        return None, [listed, _problem("keys", error)]
    where = f"{settings.key_file} is the key ring of this store, with {store.active_key} active"
    return store, [listed, _ok("keys", where)]


async def access(store: Store) -> list[CheckResult]:
    """Whether the access document in force would be taken today.

    One that was published by an earlier version may say less than it grants: an empty `scope:` held everywhere.

    Args:
        store: Where it is.

    Raises:
        BondError: it cannot be read.
    """
    published = await store.access.current()
    if published is None:
        return [_ok("access", "no access document is published")]
    document = f"document {published.ref.version}"
    read = read_access(published.source.encode(), document, needs_admin=False) if published.source else None
    if read is None or not read.problems:
        return [_ok("access", f"{document} is in force")]
    hint = "write its words anew: `bond access show`, correct what that prints, `bond access publish FILE`"
    return [
        CheckResult(check="access", status="problem", message=str(problem), hint=hint) for problem in read.problems
    ]


async def _ledgers(store: Store) -> list[CheckResult]:
    known = PlatformKeys(store.objects)
    keys = PublicKeys(attestation=await known.all("attestation"), permit=await known.all("permit"))
    result = await verify(store.objects, keys)
    hint = "Bondstone never changes a ledger, so another program did: see `bond ledger verify`, and a backup"
    if not result.breaks:
        return [_ok("ledger", f"{result.chains} chains of {result.records} records are whole")]
    return [
        CheckResult(
            check="ledger", status="problem", message=f"{each.chain}: {each.why} ({each.record})", hint=hint
        )
        for each in result.breaks
    ]


async def _operations(client: Client) -> list[CheckResult]:
    types = ", ".join(f"'{name}'" for name in (*names.OPERATION_WORKFLOWS.values(), names.CAMPAIGN_WORKFLOW))
    query = f"WorkflowType IN ({types}) AND ExecutionStatus = 'Running'"
    running = [execution.id async for execution in client.list_workflows(query, limit=MAX_OPERATIONS)]
    limit = asyncio.Semaphore(AT_ONCE)

    async def look(workflow_id: str) -> list[str]:
        async with limit:
            described = await client.get_workflow_handle(workflow_id).describe()
        return stuck(described.raw_description)

    reports = zip(running, await asyncio.gather(*map(look, running)), strict=True)
    findings = [
        CheckResult(
            check="operations",
            status="problem",
            message=f"{workflow_id.removeprefix('service/')}: {sentence}",
            hint="`bond operation show` and `bond operation logs` say more; `bond service cancel` stops it",
        )
        for workflow_id, sentences in reports
        for sentence in sentences
    ]
    queues = {names.pool_queue(pool): pool for pool in await _pools(client, running)}
    fresh = datetime.now(UTC) - timedelta(seconds=POLLER_FRESH_SECONDS)
    for queue, pool in sorted(queues.items()):
        if all(poller.last_seen <= fresh for poller in await pollers(client, queue)):
            words = f"no worker serves pool {pool}, and operations wait for one"
            hint = f"start an executor worker with BOND_POOLS={pool}"
            findings.append(CheckResult(check="operations", status="problem", message=words, hint=hint))
    return findings or [_ok("operations", f"{len(running)} run or wait for people, and none is stuck")]


async def _pools(client: Client, running: list[str]) -> set[str]:
    """The pools for which activities of running operations wait without having been begun."""
    pools: set[str] = set()
    for workflow_id in running:
        described = (await client.get_workflow_handle(workflow_id).describe()).raw_description
        for activity in described.pending_activities:
            queue = activity.activity_options.task_queue.name
            if not activity.HasField("last_started_time") and queue.startswith(names.pool_queue("")):
                pools.add(queue.removeprefix(names.pool_queue("")))
    return pools


def stuck(described: DescribeWorkflowExecutionResponse) -> list[str]:
    """What keeps a running workflow from getting on, as Temporal sees it; a sentence each.

    Args:
        described: Temporal's description of it.
    """
    sentences = [
        f"{activity.activity_type.name} is in attempt {activity.attempt}: {activity.last_failure.message[:200]}"
        for activity in described.pending_activities
        if activity.attempt >= MANY_ATTEMPTS
    ]
    attempt = described.pending_workflow_task.attempt
    if attempt >= MANY_TASKS:
        sentences.append(f"its control worker has failed {attempt - 1} times in a row; see the worker's log")
    return sentences


# Helpers ----------------------------------------------------------------------------------------------------


async def _guarded(check: str, work: Callable[[], Awaitable[list[CheckResult]]]) -> list[CheckResult]:
    """A check whose own failure is a finding."""
    try:
        return await work()
    except BondError as error:
        return [_problem(check, error)]
    except RPCError as error:
        return [CheckResult(check=check, status="problem", message=f"Temporal answered: {error.message[:200]}")]


def _ok(check: str, message: str) -> CheckResult:
    return CheckResult(check=check, status="ok", message=message)


def _skipped(check: str, message: str) -> CheckResult:
    return CheckResult(check=check, status="skipped", message=message)


def _problem(check: str, error: BondError) -> CheckResult:
    where = f" ({error.where})" if error.where else ""
    return CheckResult(check=check, status="problem", message=f"{error.message}{where}", hint=error.hint)
