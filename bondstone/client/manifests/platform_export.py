"""Schedules, freezes, policies and the access document as manifests that `bond apply` takes without a change."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bondstone.base.errors import NotFound
from bondstone.client.manifests.export import export
from bondstone.client.manifests.platform import live_freeze, live_schedule
from bondstone.documents.yaml_places import read
from bondstone.model.identity import EVERYTHING
from bondstone.model.promise import API_VERSION

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.model.manifest import KeptPlatformManifest


async def export_schedule(bond: Bondstone, name: str) -> dict[str, Any]:
    """The manifest of a schedule.

    Args:
        bond: The client.
        name: Of the schedule.

    Raises:
        NotFound: there is none of that name.
    """
    schedule = await bond.schedules.get(name, count=0)
    live = live_schedule(schedule)
    metadata: dict[str, Any] = {key: live[key] for key in ("owner", "change", "reason") if key in live}
    spec = {"cron": live["cron"], "time_zone": live["time_zone"], "overlap": live["overlap"]}
    if "jitter_seconds" in live:
        spec["jitter"] = _as_written(live["jitter_seconds"])
    spec["catch_up"] = _as_written(live["catch_up_seconds"])
    spec["strategy"] = live["strategy"]
    return _manifest("Schedule", name, schedule.applied, metadata, spec)


async def export_freeze(bond: Bondstone, name: str) -> dict[str, Any]:
    """The manifest of a freeze; arguments and errors as for `export_schedule`."""
    freeze = await bond.freezes.get(name)
    live = live_freeze(freeze)
    spec = {key: live[key] for key in ("team", "exempt", "from", "until") if live.get(key)}
    return _manifest("Freeze", name, freeze.applied, {"reason": live["reason"]}, spec)


async def export_policies(bond: Bondstone) -> dict[str, Any]:
    """The policy set in force, with its files in it; arguments and errors as for `export_access`."""
    policies = await bond.policies.get()
    applied = policies.applied
    name = applied.name if applied is not None else "organisation"
    return _manifest("PolicySet", name, applied, {}, {"modules": dict(sorted(policies.sources.items()))})


async def export_all(bond: Bondstone) -> list[tuple[dict[str, Any], list[str]]]:
    """Everything that `bond apply` takes: for another platform, or to keep.

    References to the promises that services use come first. Parts are left out: their parents make them.

    Args:
        bond: The client.

    Returns:
        Manifests, each with the secrets that it has and that no manifest can hold.
    """
    rules = [export_access(bond), export_policies(bond)]
    manifests: list[tuple[dict[str, Any], list[str]]] = []
    for rule in rules:
        with suppress(NotFound):  # none was ever published
            manifests.append((await rule, []))
    manifests += [(await export_freeze(bond, freeze.name), []) for freeze in await bond.freezes.list()]
    services = []
    for row in await bond.services.list():
        with suppress(NotFound):  # it has ended since it was listed
            if not (await bond.services.get(row.id)).owner:
                services.append(await export(bond, row.id))
    uses = sorted({(each["spec"]["promise"], each["spec"]["version"]) for each, _ in services})
    manifests += [
        ({**_head("PromiseReference"), "metadata": {"name": promise, "version": version}}, [])
        for promise, version in uses
    ]
    manifests += services
    manifests += [(await export_schedule(bond, schedule.name), []) for schedule in await bond.schedules.list()]
    return manifests


def _head(kind: str) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind}


async def export_access(bond: Bondstone) -> dict[str, Any]:
    """The access document in force.

    Args:
        bond: The client.

    Raises:
        NotFound: none was ever published.
    """
    published = await bond.access.get()
    written = read(published.source.encode(), "access.yaml").data
    if isinstance(written, dict):
        return written
    document = published.document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for grant in document["spec"]["grants"]:
        grant["scope"] = grant["scope"] or EVERYTHING
    return document


def _manifest(
    kind: str, name: str, applied: KeptPlatformManifest | None, metadata: dict[str, Any], spec: dict[str, Any]
) -> dict[str, Any]:
    labels = {"labels": dict(applied.labels)} if applied is not None and applied.labels else {}
    return {**_head(kind), "metadata": {"name": name, **labels, **metadata}, "spec": spec}


def _as_written(seconds: int) -> str:
    """A duration in one unit, as people write it: `90s`, `5m`, `1h`, `7d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
