"""The verbs that change the world: upgrade or install exactly one plan, uninstall and see all of it gone."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bondstone.activities.clusters.api import Cluster
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.outputs import outputs_digest, read_outputs
from bondstone.activities.clusters.status import stuck_reason
from bondstone.activities.helm.artefact import Artefact, Header, ReleaseRecord, unpack
from bondstone.activities.helm.dialects import merged, pinned, waiting
from bondstone.activities.helm.history import history, newest
from bondstone.activities.helm.planning import opened
from bondstone.activities.helm.recovery import delete, take_back
from bondstone.activities.helm.release import ATTEMPT_LABEL, OWNER_LABEL, Release, is_of, mark_of, owner_of
from bondstone.activities.helm.session import HelmSession
from bondstone.activities.helm.version import HelmVersion
from bondstone.activities.helm.watch import Watch
from bondstone.activities.tooling.claims import claimed
from bondstone.activities.tooling.process import Exit
from bondstone.base.errors import BondError, PlanStale, Problem, StoreUnavailable, ToolFailed
from bondstone.executors.protocol import Outcome, Output
from bondstone.model.promise import seconds

if TYPE_CHECKING:
    from bondstone.executors.state import StateClaim

HISTORY: Final = 10
_GONE_POLL_SECONDS: Final = 0.5


async def apply(session: HelmSession, data: bytes, position: int) -> Outcome:
    """Apply the plan in the artefact. The release's revision, not the log's position, says whether it is stale."""
    del position
    artefact = unpack(data)
    header, context = artefact.header, session.context
    session.redact.add(header.secrets)
    async with opened(session, header.location, create=session.section.create_namespace) as cluster:
        if header.action == "nothing":
            _insist(header, await newest(session, cluster, header.location, recover=False))
            return Outcome(await _outputs(session, cluster, header))
        async with claimed(session, context.state) as claim:
            try:
                current = await newest(session, cluster, header.location, recover=header.action == "upgrade")
                _insist(header, current)
                session.check_stop()
            except (BondError, asyncio.CancelledError):
                await claim.release()
                raise
            if header.action == "uninstall":
                return await _uninstall(session, cluster, claim, header)
            return await _upgrade(session, cluster, claim, artefact, current)


async def _upgrade(
    session: HelmSession, cluster: Cluster, claim: StateClaim, artefact: Artefact, current: Release | None
) -> Outcome:
    header, tool = artefact.header, await session.tool()
    # Before Helm does anything, so that what it makes is never forgotten.
    await claim.append(_bytes(ReleaseRecord(location=header.location, revision=header.revision)))
    objects = await session.objects(cluster, header.manifest, header.location.namespace)
    releases = await history(session, cluster, header.location, current)
    try:
        await take_back(session, cluster, releases, header.location, objects)
    except (BondError, asyncio.CancelledError):
        await claim.release()
        raise
    async with Watch(cluster, [*objects], session.pulse) as watch:
        ended = await session.change(
            "upgrade", _upgrade_command(session, tool, artefact), cluster.connection, claim.lost
        )
    _check_claim(session, claim)
    current = await newest(session, cluster, header.location, recover=False)
    done = ended.code == 0 and current is not None
    outputs: dict[str, Output] = {}
    fault: BondError | None = None
    if done:
        try:
            outputs = await _outputs(session, cluster, header)
        except BondError as error:
            fault = error
    if current is None:  # a first install that failed, and was taken away
        await claim.forget()
    else:
        known = outputs_digest(session.section.outputs) if done and fault is None else ""
        await claim.release(
            _bytes(ReleaseRecord(location=header.location, revision=current.revision, outputs=known))
        )
    session.check_stop()
    if fault is not None:
        raise fault
    if not done:
        raise session.error("upgrade", ended, watch.reasons)
    return Outcome(outputs)


def _upgrade_command(session: HelmSession, tool: HelmVersion, artefact: Artefact) -> list[str]:
    section, header, context = session.section, artefact.header, session.context
    labels = {OWNER_LABEL: owner_of(context.service, context.step), ATTEMPT_LABEL: mark_of(context.attempt)}
    options = [
        *(["--create-namespace"] if section.create_namespace else []),
        *(["--disable-openapi-validation"] if header.tried else []),
        *waiting(tool, wait=section.wait, jobs=True, atomic=section.atomic),
        *merged(tool),
        *pinned(session.run, tool, header.manifest, header.hooks),
    ]
    return [
        *("upgrade", header.location.release, *session.lay_out(artefact.chart, header.values), "--install"),
        *(
            "--namespace",
            header.location.namespace,
            "--reset-values",
            "--history-max",
            str(HISTORY),
            "--hide-notes",
        ),
        *("--labels", ",".join(f"{key}={value}" for key, value in labels.items())),
        *("--timeout", f"{seconds(section.timeout)}s", *options),
    ]


async def _uninstall(session: HelmSession, cluster: Cluster, claim: StateClaim, header: Header) -> Outcome:
    where = header.location
    until = asyncio.get_running_loop().time() + seconds(session.section.timeout)
    await claim.append(_bytes(ReleaseRecord(location=where, revision=header.revision, leaving=header.leaving)))
    ended: Exit | None = None
    if header.revision:
        arguments = ["uninstall", where.release, "--namespace", where.namespace, "--ignore-not-found"]
        arguments += [*waiting(await session.tool()), "--timeout", f"{seconds(session.section.timeout)}s"]
        ended = await session.change("uninstall", arguments, cluster.connection, claim.lost)
        _check_claim(session, claim)
    left = await _until_gone(session, cluster, header, 0.0 if ended is not None and ended.code else until)
    gone = not left and await newest(session, cluster, where, recover=False) is None
    if gone:
        for address in header.kept:
            session.log(f"{address} stays in the cluster, and is no longer managed")
        await claim.forget()
        return Outcome({})
    await claim.release()
    session.check_stop()
    if left:
        raise ToolFailed(
            f"{len(left)} objects of the {where} still exist",
            where=session.where,
            problems=[Problem(message=reason) for reason in left],
            hint="see who has to remove these finalizers, then retry; removing them by hand is at your own risk",
        )
    raise session.error("uninstall", ended or Exit(1, interrupted=False, complaint="the release is still there"))


async def _until_gone(session: HelmSession, cluster: Cluster, header: Header, until: float) -> list[str]:
    """Wait for what is to leave; what still stands in the end, and why."""
    refs = [Ref(item.api_version, item.kind, item.namespace, item.name) for item in header.leaving]
    loop = asyncio.get_running_loop()
    deleted_again = False
    while True:
        objects = await asyncio.to_thread(cluster.each, cluster.get, refs)
        standing = {ref: item for ref, item in zip(refs, objects, strict=True) if item is not None}
        if not standing or session.stop.requested or loop.time() >= until:
            return [f"{ref.address}: {stuck_reason(item)}" for ref, item in standing.items()]
        if not deleted_again:
            deleted_again = True
            await asyncio.to_thread(cluster.each, partial(_delete, cluster, header), standing.items())
        first = next(iter(standing))
        session.pulse.note(f"waiting for {first.address} to go: {stuck_reason(standing[first])}")
        await asyncio.sleep(_GONE_POLL_SECONDS)


def _delete(cluster: Cluster, header: Header, held: tuple[Ref, dict[str, Any]]) -> None:
    """Delete what Helm's uninstall has left, and only that: it still bears the release's name."""
    ref, item = held
    where = header.location
    if not item["metadata"].get("deletionTimestamp") and is_of(item, where.release, where.namespace):
        delete(cluster, ref, item)


async def _outputs(session: HelmSession, cluster: Cluster, header: Header) -> dict[str, Output]:
    if not session.section.outputs:
        return {}
    objects = await session.objects(cluster, header.manifest, header.location.namespace)

    async def get(ref: Ref) -> dict[str, Any] | None:
        return await asyncio.to_thread(cluster.get, ref)

    namespace = header.location.namespace
    return await read_outputs(session.section.outputs, [*objects], namespace, get, where=session.where)


def _insist(header: Header, current: Release | None) -> None:
    revision = current.revision if current is not None else 0
    if revision != header.revision:
        raise PlanStale(
            f"the {header.location} has moved since the plan: from revision {header.revision} to {revision}",
            hint="plan again",
        )


def _check_claim(session: HelmSession, claim: StateClaim) -> None:
    if claim.lost.is_set() and not session.stop.requested:
        raise StoreUnavailable(
            "the claim on the step could not be renewed in time, so Helm was stopped",
            where=session.where,
            hint="see why the worker could not reach the store, or stood still",
        )


def _bytes(record: ReleaseRecord) -> bytes:
    return record.model_dump_json().encode()
