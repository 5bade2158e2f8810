"""What publishers do: upload promises and policies, check them, compare versions, deprecate and yank."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from bondstone.api.state import State
from bondstone.api.uploads import named_as, packed, relative, unpacked
from bondstone.base.errors import BondError, ErrorInfo, InvalidInput, NotFound
from bondstone.client.documents.policy import PolicyCheck
from bondstone.client.documents.promise import PromiseCheck
from bondstone.console.differences import differences
from bondstone.console.pages import View, form_of, promise_target, shown, to, upload_of
from bondstone.console.session import Visit, Visitor
from bondstone.identity.document import read_access
from bondstone.promise.load import load_promise
from bondstone.store.access import PublishedAccess
from bondstone.terminal.output import as_yaml

ARCHIVES: Final = (".tar", ".tar.gz", ".tgz")
MAX_SERVICES_SHOWN: Final = 200
"""Of those that a policy check names."""

Texts = Annotated[str, Query(max_length=48)]

router = APIRouter(include_in_schema=False)


# Promises --------------------------------------------------------------------------------------------------------


@router.get("/publish")
async def upload(visitor: Visit) -> Response:
    """Choose a folder or an archive."""
    return shown(_upload(visitor), visitor)


@router.post("/publish")
async def publish(request: Request, visitor: Visit) -> Response:
    """Check a promise that is uploaded, or publish it; problems are shown with file, line and column."""
    submitted, files = await upload_of(request, visitor)
    try:
        async with _folder(files) as directory:
            with named_as(directory, "promise"):
                if submitted.get("do") != "publish":
                    visitor.permissions.decide("promise.read").require()
                    check = await visitor.bond.promises.validate(directory)
                    check = check.changed(warnings=relative(check.warnings, directory))
                    return shown(_upload(visitor, check=check), visitor)
                name = load_promise(directory).name
                visitor.permissions.decide("promise.publish", promise_target(name)).require()
                published = await visitor.bond.promises.publish(directory)
    except BondError as error:
        return shown(_upload(visitor, error=error.info()), visitor, error)
    return to(f"/catalogue/{published.promise}?version={published.version}")


def _upload(visitor: Visitor, *, check: PromiseCheck | None = None, error: ErrorInfo | None = None) -> View:
    may_publish = any({"publisher", "admin"} & set(grant.roles) for grant in visitor.permissions.grants)
    return View("publish.html", "/catalogue", check=check, error=error, may_publish=may_publish)


@router.get("/catalogue/{promise}/compare")
async def compare(visitor: Visit, state: State, promise: str, old: Texts = "", new: Texts = "") -> Response:
    """What differs between two revisions, file by file, and who is on which."""
    visitor.permissions.decide("promise.read", promise_target(promise)).require()
    document = await visitor.bond.promises.get(promise)
    versions = [item.version for item in document.versions]
    new = new or versions[0]
    old = (
        old or next((version for version in versions[versions.index(new) + 1 :]), new) if new in versions else old
    )
    revisions = state.store.revisions
    before, after = (await revisions.get(promise, old)).ref, (await revisions.get(promise, new)).ref
    await state.services.ready()
    permitted = visitor.permissions.filter("service.read")
    on = Counter(
        entry.row.revision
        for entry in state.services.entries()
        if entry.alive and entry.row.promise == promise and permitted(entry.target)
    )
    view = View(
        "compare.html", "/catalogue", title=f"Revisions of {promise}", back=f"/catalogue/{promise}",
        versions=[(item.version, f"{item.version} {item.status}, {on[f'{promise}@{item.version}']} services")
                  for item in document.versions],
        old=before.version, new=after.version,
        files=await asyncio.to_thread(differences, await revisions.files(before), await revisions.files(after)),
    )  # fmt: skip
    return shown(view, visitor)


@router.post("/catalogue/{promise}/mark")
async def mark(request: Request, visitor: Visit, promise: str) -> Response:
    """Deprecate or yank one revision."""
    submitted = await form_of(request, visitor)
    verb, version, reason = (submitted.get(key, "") for key in ("verb", "version", "reason"))
    if verb not in {"deprecate", "yank"}:
        raise InvalidInput(f"{verb[:40]!r} is not an action on a revision")
    if not reason.strip():
        raise InvalidInput("a reason is needed: people read it")
    visitor.permissions.decide(f"promise.{verb}", promise_target(promise)).require()
    await getattr(visitor.bond.promises, verb)(promise, version, reason=reason)
    return to(f"/catalogue/{promise}?version={version}")


# Policies and access ---------------------------------------------------------------------------------------------


@router.post("/rules/policies")
async def policies(request: Request, visitor: Visit) -> Response:
    """Check policies on the last plan of every service, or put uploaded ones in force."""
    submitted, files = await upload_of(request, visitor)
    decide = visitor.permissions.decide
    if submitted.get("do") == "publish":
        decide("policy.publish").require()
        async with _folder(files) as directory:
            with named_as(directory, "policies"):
                await visitor.bond.policies.publish(directory)
        return to("/rules")
    decide("policy.read").require()
    decide("operation.plan").require()
    if not files:
        return shown(_checked(await visitor.bond.policies.check()), visitor)
    async with _folder(files) as directory:
        with named_as(directory, "policies"):
            return shown(_checked(await visitor.bond.policies.check(directory)), visitor)


def _checked(check: PolicyCheck) -> View:
    worst = sorted(check.services, key=lambda service: (not service.newly, service.outcome != "deny"))
    shown_services = [service for service in worst if service.outcome != "allow"][:MAX_SERVICES_SHOWN]
    return View("policy_check.html", "/rules", check=check, services=shown_services)


@router.get("/rules/compare")
async def compare_policies(visitor: Visit, old: int = 0, new: int = 0) -> Response:
    """What differs between two policy sets."""
    visitor.permissions.decide("policy.read").require()
    versions = [row.version for row in await visitor.bond.policies.list()]
    if not versions:
        raise NotFound("no policy set is published yet", hint="`bond policy publish` publishes one")
    new = new or versions[0]
    old = old or max(new - 1, 1)
    before, after = await visitor.bond.policies.get(old), await visitor.bond.policies.get(new)
    sources = [{name: text.encode() for name, text in each.sources.items()} for each in (before, after)]
    view = View(
        "compare.html", "/rules", title="Policy sets", back="/rules", old=str(old), new=str(new),
        versions=[(str(version), str(version)) for version in versions],
        files=await asyncio.to_thread(differences, *sources),
    )  # fmt: skip
    return shown(view, visitor)


@router.get("/rules/access/compare")
async def compare_access(visitor: Visit, state: State, old: int = 0, new: int = 0) -> Response:
    """What differs between two access documents, as they were written."""
    visitor.permissions.decide("access.read").require()
    refs = await state.store.access.list()
    if not refs:
        raise NotFound("no access document is published yet", hint="`bond access publish` publishes one")
    new = new or refs[0].version
    old = old or max(new - 1, 1)
    before, after = await state.store.access.get(old), await state.store.access.get(new)
    view = View(
        "compare.html", "/rules", title="Access documents", back="/rules", old=str(old), new=str(new),
        versions=[(str(ref.version), f"{ref.version}, by {ref.published_by} {ref.published_at:%Y-%m-%d %H:%M} UTC")
                  for ref in refs],
        files=await asyncio.to_thread(differences, _written(before), _written(after)),
    )  # fmt: skip
    return shown(view, visitor)


def _written(published: PublishedAccess) -> dict[str, bytes]:
    """An access document as its author wrote it; one whose source was not kept, as it is understood."""
    document = published.document.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"access.yaml": (published.source or as_yaml(document)).encode()}


@router.post("/rules/access")
async def access(request: Request, visitor: Visit, state: State) -> Response:
    """Check an access document, or put it in force."""
    submitted = await form_of(request, visitor)
    source = submitted.get("source", "").replace("\r\n", "\n")
    visitor.permissions.decide("access.publish").require()
    document = read_access(source.encode(), "access.yaml", needs_admin=not state.settings.admins).require()
    await state.store.access.publish(document, source=source, by=visitor.name)
    return to("/rules")


# Helpers ---------------------------------------------------------------------------------------------------------


def _folder(files: dict[str, bytes]) -> AbstractAsyncContextManager[Path]:
    """The folder that a browser has sent: as one archive, or file by file below the folder's name."""
    if not files:
        raise InvalidInput("no file was chosen", hint="choose the folder that holds promise.yaml, or a tar of it")
    [name, *others] = files
    if not others and name.endswith(ARCHIVES):
        return unpacked(files[name])
    return unpacked(packed({path.partition("/")[2] or path: content for path, content in files.items()}))
