"""Published revisions: immutable, found by promise and version, their bundles by digest.

Objects: `revisions/<promise>/<version>` (what was published, by whom, when), `bundles/<sha256>` (a tar), and
`revision-status/<promise>/<version>/<n>` (each deprecation or yank: who, when, why). The first two are written
once; a status never changes the revision.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError
from semver import Version

from bondstone.base.errors import (
    InvalidInput,
    NotFound,
    ObjectCorrupt,
    ObjectMissing,
    Refused,
    RevisionConflict,
    StoreUnavailable,
)
from bondstone.base.models import Wire
from bondstone.base.names import check_name
from bondstone.documents.yaml_places import did_you_mean
from bondstone.model.promise import Promise
from bondstone.model.service import RevisionRef
from bondstone.promise.bundle import (
    Bundle,
    files_of,
    folder_digest,
    folder_stamp,
    read_member,
    remove,
    tree_digest,
    unpack,
)
from bondstone.promise.load import MANIFEST, parse_promise
from bondstone.store import object_keys
from bondstone.store.objects import Objects

CACHED: Final = 200
"""Most manifests kept in memory."""

Status = Literal["active", "deprecated", "yanked"]


class RevisionInfo(Wire):
    """One published revision, as lists show it."""

    ref: RevisionRef
    status: Status = "active"
    reason: str = ""
    """Why it was deprecated or yanked."""
    status_by: str = ""
    status_at: datetime | None = None
    title: str = ""
    owner: str = ""
    size: int = 0
    """Bytes of the bundle."""
    published_at: datetime | None = None
    published_by: str = ""


class _Record(Wire):
    """What `revisions/<promise>/<version>` holds."""

    digest: str
    title: str = ""
    owner: str = ""
    size: int = 0
    published_at: datetime
    published_by: str = ""


class _StatusRecord(Wire):
    status: Literal["deprecated", "yanked"]
    reason: str
    by: str
    at: datetime


class Revisions:
    """All revisions of one platform.

    Args:
        objects: Where they are kept.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._promises: OrderedDict[str, Promise] = OrderedDict()
        self._trees: dict[str, str] = {}
        self._verified: dict[Path, str] = {}
        self._restoring = asyncio.Lock()

    async def publish(self, bundle: Bundle, promise: Promise, *, by: str = "unknown") -> RevisionRef:
        """Make a revision public; the same content again is fine.

        Raises:
            RevisionConflict: when the version is published with other content.
        """
        ref, _ = await self.publish_once(bundle, promise, by=by)
        return ref

    async def publish_once(
        self, bundle: Bundle, promise: Promise, *, by: str = "unknown"
    ) -> tuple[RevisionRef, bool]:
        """As `publish`, and whether it was new."""
        ref = RevisionRef(promise=promise.name, version=promise.version, digest=bundle.digest)
        record = _Record(
            digest=bundle.digest,
            title=promise.metadata.title,
            owner=promise.metadata.owner,
            size=len(bundle.data),
            published_at=datetime.now(UTC),
            published_by=by,
        )
        await self._objects.put_if_absent(_bundle_key(bundle.digest), bundle.data)
        new = await self._objects.put_if_absent(_key(ref.promise, ref.version), record.model_dump_json().encode())
        if not new:
            existing = await self._record(ref.promise, ref.version)
            if existing.digest != bundle.digest:
                raise RevisionConflict(
                    f"{ref} is published with other content",
                    where=f"sha256:{existing.digest}",
                    hint="a revision never changes: raise metadata.version and publish again",
                )
            new = existing.published_at == record.published_at and existing.published_by == by
        return ref, new

    async def get(self, promise: str, version: str) -> RevisionInfo:
        """One revision with its status.

        Raises:
            NotFound: when it is not published; the message names what is.
        """
        try:
            record, status = await asyncio.gather(self._record(promise, version), self._status(promise, version))
        except ObjectMissing:
            raise await self._missing(promise, version) from None
        return _info(promise, version, record, status)

    async def newest(self, promise: str) -> RevisionInfo:
        """The revision with the highest version that is neither deprecated nor yanked.

        A pre-release counts only where there is nothing else.

        Raises:
            NotFound: when there is none.
        """
        revisions = await self.list(promise)
        if not revisions:
            raise await self._missing(promise, "")
        newest = chosen(revisions)
        if newest is None:
            usable = _some([info for info in revisions if info.status != "yanked"])
            raise NotFound(
                f"every revision of {promise} is deprecated or yanked",
                hint="publish a newer one" + (f", or name a deprecated version: {usable}" if usable else ""),
            )
        return newest

    async def names(self) -> Sequence[str]:
        """Names of all promises, sorted."""
        return sorted({info.key.split("/")[1] for info in await self._objects.list(object_keys.REVISIONS)})

    async def list(self, promise: str) -> Sequence[RevisionInfo]:
        """Every revision of a promise, newest version first; empty when there is none."""
        check_name("promise", promise)
        listing = await self._objects.list(f"{object_keys.REVISIONS}/{promise}")
        statuses = {
            info.key.split("/")[2] for info in await self._objects.list(f"{object_keys.REVISION_STATUS}/{promise}")
        }
        versions = [info.key.split("/")[2] for info in listing]
        infos = await asyncio.gather(
            *(self._listed(promise, version, version in statuses) for version in versions)
        )
        return sorted(infos, key=_version, reverse=True)

    async def deprecate(self, promise: str, version: str, reason: str, by: str) -> RevisionInfo:
        """Warn whoever uses the revision, and choose it no more unless it is named."""
        return await self._mark(promise, version, "deprecated", reason, by)

    async def yank(self, promise: str, version: str, reason: str, by: str) -> RevisionInfo:
        """Take no new services at the revision; those that stand on it stay."""
        return await self._mark(promise, version, "yanked", reason, by)

    async def promise(self, ref: RevisionRef) -> Promise:
        """The manifest of a revision, kept in memory.

        Raises:
            NotFound: when there is no such bundle.
            ObjectCorrupt: when the bundle does not match its digest or is of another revision.
        """
        known = self._promises.get(ref.digest)
        if known is None:
            data = await self._bundle(ref)
            known = await asyncio.to_thread(lambda: parse_promise(read_member(data, MANIFEST)))
            self._promises[ref.digest] = known
            while len(self._promises) > CACHED:
                self._promises.popitem(last=False)
        self._promises.move_to_end(ref.digest)
        if (known.name, known.version) != (ref.promise, ref.version):
            raise ObjectCorrupt(f"the bundle is of {known.name}@{known.version}, not of {ref}", where=ref.digest)
        return known

    async def files(self, ref: RevisionRef) -> dict[str, bytes]:
        """The files of a revision, by their path in its folder.

        Raises:
            NotFound: there is no such bundle.
            ObjectCorrupt: it is not the one that was published.
        """
        return await asyncio.to_thread(files_of, await self._bundle(ref))

    async def materialise(self, ref: RevisionRef, cache: Path) -> Path:
        """The folder of a revision, unpacked once per digest into `cache/<digest>`, read-only.

        Safe with many processes at once: the folder appears whole, by a rename. Each time it is compared with the
        bundle, byte by byte or by what the kernel says of each file's last change: tools run as the user who may
        change it. A folder that was changed is put aside, and the bundle unpacked anew.
        """
        folder = cache / _digest(ref.digest)
        expected = self._trees.get(ref.digest)
        if expected is None or not folder.is_dir():
            data = await self._bundle(ref)
            expected = await asyncio.to_thread(tree_digest, data)
            self._trees[ref.digest] = expected
            if not folder.is_dir():
                await asyncio.to_thread(unpack, data, folder)
        now = await asyncio.to_thread(folder_stamp, folder)
        if now is not None and self._verified.get(folder) == now:
            return folder
        if await asyncio.to_thread(folder_digest, folder) != expected:
            await self._restore(ref, folder, expected)
        elif now is not None:
            self._verified[folder] = now
        return folder

    async def _restore(self, ref: RevisionRef, folder: Path, expected: str) -> None:
        async with self._restoring:
            if await asyncio.to_thread(folder_digest, folder) == expected:
                return  # restored meanwhile
            import structlog  # noqa: PLC0415 - a request loads this module, and logs nothing

            structlog.get_logger().warning("revision changed on disk", revision=str(ref), folder=str(folder))
            data = await self._bundle(ref)
            await asyncio.to_thread(_put_aside, folder)
            await asyncio.to_thread(unpack, data, folder)
            if await asyncio.to_thread(folder_digest, folder) != expected:
                raise ObjectCorrupt(
                    f"what {ref} was unpacked to is changed as soon as it is there",
                    where=str(folder),
                    hint="see what else runs on this worker as its user, and run tools in a sandbox",
                )

    async def _bundle(self, ref: RevisionRef) -> bytes:
        try:
            data = await self._objects.get(_bundle_key(ref.digest))
        except ObjectMissing:
            raise NotFound(f"there is no bundle of {ref}", where=f"sha256:{ref.digest}") from None
        if hashlib.sha256(data).hexdigest() != ref.digest:
            raise ObjectCorrupt(f"the bundle of {ref} does not match its digest", where=_bundle_key(ref.digest))
        return data

    async def _record(self, promise: str, version: str) -> _Record:
        key = _key(promise, version)
        try:
            return _Record.model_validate_json(await self._objects.get(key))
        except ValidationError as error:
            raise ObjectCorrupt("the record of a revision cannot be read", where=key) from error

    async def _status(self, promise: str, version: str) -> _StatusRecord | None:
        listing = await self._objects.list(_status_prefix(promise, version))
        if not listing:
            return None
        key = listing[-1].key
        try:
            return _StatusRecord.model_validate_json(await self._objects.get(key))
        except ValidationError as error:
            raise ObjectCorrupt("the status of a revision cannot be read", where=key) from error

    async def _listed(self, promise: str, version: str, has_status: bool) -> RevisionInfo:  # noqa: FBT001 - private
        record = await self._record(promise, version)
        return _info(promise, version, record, await self._status(promise, version) if has_status else None)

    async def _mark(
        self, promise: str, version: str, status: Literal["deprecated", "yanked"], reason: str, by: str
    ) -> RevisionInfo:
        if not reason.strip():
            raise InvalidInput("a reason is needed: people will read it", hint="--reason 'use 1.4.1, it …'")
        for _ in range(10):
            info = await self.get(promise, version)
            if info.status == status:
                return info
            if info.status == "yanked":
                raise Refused(f"{info.ref} is yanked already", where=info.reason)
            number = len(await self._objects.list(_status_prefix(promise, version))) + 1
            record = _StatusRecord(status=status, reason=reason.strip(), by=by, at=datetime.now(UTC))
            key = f"{_status_prefix(promise, version)}/{number:08d}"
            if await self._objects.put_if_absent(key, record.model_dump_json().encode()):
                return await self.get(promise, version)
        raise Refused(f"too many people change {promise}@{version} at once", hint="try again")

    async def _missing(self, promise: str, version: str) -> NotFound:
        known = await self.list(promise)
        if known:
            usable = _some([info for info in known if info.status != "yanked"])
            hint = f"there is {usable}" if usable else "every version of it is yanked: publish a newer one"
            return NotFound(f"{promise} has no version {version}", hint=hint)
        return NotFound(
            f"there is no promise {promise!r}",
            hint=did_you_mean(promise, await self.names()) or "bond promise publish DIR makes one",
        )


def _put_aside(folder: Path) -> None:
    """Move a folder out of the way and remove it; what still runs in it has its files open."""
    aside = folder.with_name(f".changed-{folder.name[:16]}-{secrets.token_hex(4)}")
    try:
        folder.rename(aside)
        remove(aside)
    except FileNotFoundError:
        return  # another process did it
    except OSError as error:
        raise StoreUnavailable(
            f"a changed revision cannot be removed: {error.strerror}", where=str(folder), hint="remove it by hand"
        ) from error


def chosen(infos: Sequence[RevisionInfo]) -> RevisionInfo | None:
    """Of a promise's revisions, the one that a request without a version gets; None when there is none."""
    active = [info for info in infos if info.status == "active"]
    return max(active, key=lambda info: (not _version(info).prerelease, _version(info)), default=None)


def parse_revision(text: str) -> tuple[str, str]:
    """Split `NAME[@VERSION]`; the version is empty when it is not there. Raises `InvalidInput`."""
    name, at, version = text.partition("@")
    check_name("promise", name)
    if at and not Version.is_valid(version):
        raise InvalidInput(f"{version!r} is not a version", hint="write NAME@VERSION, as in postgres@1.4.0")
    return name, version


def _info(promise: str, version: str, record: _Record, status: _StatusRecord | None) -> RevisionInfo:
    return RevisionInfo(
        ref=RevisionRef(promise=promise, version=version, digest=record.digest),
        status=status.status if status else "active",
        reason=status.reason if status else "",
        status_by=status.by if status else "",
        status_at=status.at if status else None,
        title=record.title,
        owner=record.owner,
        size=record.size,
        published_at=record.published_at,
        published_by=record.published_by,
    )


def _version(info: RevisionInfo) -> Version:
    return Version.parse(info.ref.version)


def _some(infos: Sequence[RevisionInfo]) -> str:
    names = [info.ref.version for info in infos[:6]]
    return ", ".join(names) + (", …" if len(infos) > len(names) else "")


def _key(promise: str, version: str) -> str:
    check_name("promise", promise)
    if not Version.is_valid(version):
        raise InvalidInput(f"{version!r} is not a version", hint="write it as in 1.4.0")
    return f"{object_keys.REVISIONS}/{promise}/{version}"


def _status_prefix(promise: str, version: str) -> str:
    return _key(promise, version).replace(object_keys.REVISIONS, object_keys.REVISION_STATUS, 1)


def _bundle_key(digest: str) -> str:
    return f"bundles/{_digest(digest)}"


def _digest(digest: str) -> str:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):  # noqa: PLR2004 - hex of sha256
        raise InvalidInput(f"{digest[:80]!r} is not a sha256 digest")
    return digest
