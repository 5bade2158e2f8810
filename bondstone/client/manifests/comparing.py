"""Manifests beside the platform: read what there is, and find what they lead to. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from bondstone.base.errors import InvalidInput, ManifestInvalid, NotFound, Problem, PromiseInvalid
from bondstone.client.manifests.entries import (
    CampaignEntry,
    Manifests,
    PromiseEntry,
    RequestEntry,
    ServiceEntry,
)
from bondstone.client.manifests.platform import (
    PlatformComparison,
    compare_access,
    compare_freeze,
    compare_policies,
    compare_schedule,
)
from bondstone.client.manifests.platform import pruned as pruned_platform
from bondstone.client.manifests.requests import VERSION_ANNOTATION, as_service, promise_of
from bondstone.client.manifests.services import ServiceComparison, compare_service, is_alive
from bondstone.documents.yaml_places import refuse
from bondstone.promise.load import load_promise
from bondstone.promise.requirements import parts_first

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.documents.promise import PromiseDocument
    from bondstone.client.documents.service import ServiceDocument
    from bondstone.model.promise import Promise

AT_ONCE: Final = 16
"""Reads at once."""

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class CampaignComparison:
    """A campaign of a manifest, and whether one of that name was ever started."""

    entry: CampaignEntry
    started: bool


@dataclass(frozen=True, slots=True)
class PromiseComparison:
    """A promise of a folder, and whether its version is published."""

    entry: PromiseEntry
    promise: Promise
    published: bool

    @property
    def revision(self) -> str:
        """`PROMISE@VERSION`."""
        return f"{self.promise.name}@{self.promise.version}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What manifests lead to."""

    promises: tuple[PromiseComparison, ...]
    """In an order in which each can be published."""
    services: tuple[ServiceComparison, ...]
    campaigns: tuple[CampaignComparison, ...]
    pruned: tuple[str, ...] = ()
    """`TEAM/NAME` of services that no manifest asks for any more."""
    rules: tuple[PlatformComparison, ...] = ()
    """The access document, policies and freezes: before all others."""
    schedules: tuple[PlatformComparison, ...] = ()
    pruned_of_platform: tuple[PlatformComparison, ...] = ()
    """Schedules and freezes that no manifest asks for any more."""


async def compare(
    bond: Bondstone,
    manifests: Manifests,
    *,
    overwrite: bool = False,
    resend_secrets: bool = False,
    prune: Callable[[ServiceDocument], bool] | None = None,
    prune_of_platform: Callable[[Mapping[str, str], str], bool] | None = None,
    team: str = "",
) -> Comparison:
    """Find what manifests lead to.

    Args:
        bond: The client.
        manifests: As read.
        overwrite: Take back what somebody changed elsewhere.
        resend_secrets: Send secrets again that services have.
        prune: Says which services a manifest must ask for. Of those, the ones that were made from manifests and
            are in none now are named in `pruned`; parts of other services never are.
        prune_of_platform: The same for schedules and freezes, by the labels of the manifest and by team; they are
            named in `pruned_of_platform`.
        team: Look for such services in this team only.

    Raises:
        ManifestInvalid: with every mistake by file and line; nothing was changed.
    """
    problems: list[Problem] = []
    promises = await _promises(bond, manifests.promises, problems)
    folders = {each.revision: each.promise for each in promises if not each.published}
    catalogue = _Catalogue(bond, folders)
    compared = await _each(
        manifests.services,
        lambda entry: _service(bond, entry, catalogue, overwrite=overwrite, resend=resend_secrets),
    )
    compared += await _each(
        manifests.requests,
        lambda entry: _request(bond, entry, catalogue, overwrite=overwrite, resend=resend_secrets),
    )
    services: list[ServiceComparison] = []
    for comparison, flaws in compared:
        problems += flaws
        if comparison is not None:
            services.append(comparison)
    campaigns = await _each(manifests.campaigns, lambda entry: _campaign(bond, entry))
    problems += await _missing_promises(manifests, catalogue)
    rules, schedules = await _platform(bond, manifests, problems, overwrite=overwrite)
    if problems:
        raise refuse(problems, "the set of manifests", ManifestInvalid)
    declared = {entry.manifest.id for entry in manifests.services} | {each.id for each in manifests.requests}
    pruned = await _pruned(bond, declared, prune, team) if prune is not None else ()
    gone: tuple[PlatformComparison, ...] = ()
    if prune_of_platform is not None:
        gone = await pruned_platform(
            bond,
            schedules={entry.manifest.metadata.name for entry in manifests.schedules},
            freezes={entry.manifest.metadata.name for entry in manifests.freezes},
            selects=prune_of_platform,
        )
    return Comparison(
        tuple(promises), tuple(services), tuple(campaigns), pruned, tuple(rules), tuple(schedules), gone
    )


class _Catalogue:
    """Revisions, each looked up once; those that the same manifests publish are there already."""

    def __init__(self, bond: Bondstone, folders: dict[str, Promise]) -> None:
        self._bond = bond
        self._folders = folders
        self._known: dict[str, asyncio.Task[PromiseDocument]] = {}
        self._looking = asyncio.Lock()
        self._newest: list[PromiseDocument] | None = None

    async def get(self, promise: str, version: str) -> PromiseDocument:
        key = f"{promise}@{version}"
        if key not in self._known:
            self._known[key] = asyncio.create_task(self._look_up(promise, version))
        return await self._known[key]

    async def _look_up(self, promise: str, version: str) -> PromiseDocument:
        from bondstone.client.documents.promise import (  # noqa: PLC0415 - see bondstone.cli.session
            PromiseDocument,
            PromiseStepDocument,
            RequestKindDocument,
        )
        from bondstone.promise.request_kinds import request_kinds  # noqa: PLC0415

        for revision, folder in self._folders.items():
            if folder.name == promise and version in {"", folder.version}:
                return PromiseDocument(
                    promise=promise,
                    version=revision.partition("@")[2],
                    digest="",
                    status="active",
                    input_schema=folder.spec.inputs,
                    steps=tuple(
                        PromiseStepDocument(id=step.id, executor=step.executor) for step in folder.spec.steps
                    ),
                    request_kinds=tuple(map(RequestKindDocument.of, request_kinds(folder.spec.steps))),
                )
        return await self._bond.promises.get(promise, version)

    async def newest(self) -> list[PromiseDocument]:
        """Every promise in the version that a new service gets; looked up once."""
        async with self._looking:
            if self._newest is None:
                names = {row.promise for row in await self._bond.promises.list()}
                names |= {folder.name for folder in self._folders.values()}
                self._newest = await _each(sorted(names), lambda name: self.get(name, ""))
        return self._newest


async def _service(
    bond: Bondstone, entry: ServiceEntry, catalogue: _Catalogue, *, overwrite: bool, resend: bool
) -> tuple[ServiceComparison | None, list[Problem]]:
    spec = entry.manifest.spec
    live = await _live(bond, entry.manifest.id)
    try:
        promise = await catalogue.get(spec.promise, _version(live, spec.promise, spec.version or ""))
    except NotFound as error:
        path = ("spec", "version") if spec.version else ("spec", "promise")
        return None, [entry.document.problem(path, error.message, hint=error.hint)]
    return compare_service(entry, live, promise, overwrite=overwrite, resend_secrets=resend)


async def _request(
    bond: Bondstone, entry: RequestEntry, catalogue: _Catalogue, *, overwrite: bool, resend: bool
) -> tuple[ServiceComparison | None, list[Problem]]:
    """The same for a request of Kratix, as the promise reads it that its service is of."""
    name, problem = promise_of(entry, await catalogue.newest())
    if problem is not None:
        return None, [problem]
    live = await _live(bond, entry.id)
    version = entry.annotation(VERSION_ANNOTATION)
    try:
        promise = await catalogue.get(name, _version(live, name, version))
    except NotFound as error:
        path = ("metadata", "annotations", VERSION_ANNOTATION)
        return None, [entry.document.problem(path, error.message, hint=error.hint)]
    service, problems = as_service(entry, promise)
    if service is None:
        return None, problems
    return compare_service(service, live, promise, overwrite=overwrite, resend_secrets=resend)


async def _live(bond: Bondstone, service: str) -> ServiceDocument | None:
    try:
        return await bond.services.get(service)
    except NotFound:
        return None


def _version(live: ServiceDocument | None, promise: str, wanted: str) -> str:
    """The version that a manifest is read by: what it names, else what its service stands on, else the newest."""
    if wanted or live is None or not is_alive(live):
        return wanted
    standing = live.ahead.revision if live.ahead is not None else live.revision
    return standing.partition("@")[2] if standing.partition("@")[0] == promise else ""


async def _campaign(bond: Bondstone, entry: CampaignEntry) -> CampaignComparison:
    try:
        await bond.campaigns.get(entry.name)
    except NotFound:
        return CampaignComparison(entry, started=False)
    return CampaignComparison(entry, started=True)


async def _missing_promises(manifests: Manifests, catalogue: _Catalogue) -> list[Problem]:
    """What is wrong with the promises that references and schedules name."""
    problems: list[Problem] = []
    for reference in manifests.references:
        metadata = reference.manifest.metadata
        try:
            await catalogue.get(metadata.name, metadata.version)
        except NotFound as error:
            hint = error.hint or "publish it, or name its folder in spec.directory"
            problems.append(reference.document.problem(("metadata", "version"), error.message, hint=hint))
    for schedule in manifests.schedules:
        promise = schedule.strategy.spec.promise
        try:
            if promise is not None:
                await catalogue.get(promise, "")
        except NotFound as error:
            path = ("spec", "strategy", "promise")
            problems.append(schedule.document.problem(path, error.message, hint=error.hint))
    return problems


async def _platform(
    bond: Bondstone, manifests: Manifests, problems: list[Problem], *, overwrite: bool
) -> tuple[list[PlatformComparison], list[PlatformComparison]]:
    rules = [await compare_access(bond, entry, overwrite=overwrite) for entry in manifests.access]
    for policies in manifests.policies:
        comparison, flaws = await compare_policies(bond, policies, overwrite=overwrite)
        problems += flaws
        if comparison is not None:
            rules.append(comparison)
    rules += await _each(manifests.freezes, lambda entry: compare_freeze(bond, entry, overwrite=overwrite))
    schedules = await _each(manifests.schedules, lambda entry: compare_schedule(bond, entry, overwrite=overwrite))
    return rules, schedules


async def _promises(
    bond: Bondstone, entries: Iterable[PromiseEntry], problems: list[Problem]
) -> list[PromiseComparison]:
    comparisons: dict[str, PromiseComparison] = {}
    for entry in entries:
        try:
            promise = await asyncio.to_thread(load_promise, entry.directory)
            check = await bond.promises.validate(entry.directory)
        except PromiseInvalid as error:
            problems += [each.changed(file=str(entry.directory / each.file)) for each in error.problems] or [
                Problem(message=error.message, file=entry.file)
            ]
            continue
        try:
            known = await bond.promises.get(promise.name, promise.version)
        except NotFound:
            comparisons[promise.name] = PromiseComparison(entry, promise, published=False)
            continue
        if known.digest != check.digest:
            problems.append(
                Problem(
                    message=f"{promise.name}@{promise.version} is published with other content",
                    file=entry.file,
                    hint="raise metadata.version",
                )
            )
        comparisons[promise.name] = PromiseComparison(entry, promise, published=True)
    ordered = parts_first(each.promise for each in comparisons.values())
    return [comparisons[promise.name] for promise in ordered]


async def _pruned(
    bond: Bondstone, declared: set[str], selects: Callable[[ServiceDocument], bool], team: str
) -> tuple[str, ...]:
    rows = [row.id for row in await bond.services.list(team=team) if row.id not in declared]

    async def look(service: str) -> str:
        try:
            document = await bond.services.get(service)
        except (NotFound, InvalidInput):
            return ""
        is_decommissioning = any(
            each.kind == "decommission" and not each.status.ended for each in document.operations
        )
        ours = document.applied is not None and not document.parents and not is_decommissioning
        return service if ours and is_alive(document) and selects(document) else ""

    return tuple(service for service in await _each(rows, look) if service)


async def _each(items: Sequence[S], look: Callable[[S], Awaitable[T]]) -> list[T]:
    """Each looked at, some at once, in order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: S) -> T:
        async with slots:
            return await look(item)

    return list(await asyncio.gather(*map(one, items)))
