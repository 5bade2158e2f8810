"""The organisation's policies: sets of Rego modules, numbered, each one immutable and the newest in force.

Objects: `policy-sets/<00000001>`, each with its modules inside. A number is taken by put-if-absent.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from bondstone.base.errors import NotFound, ObjectCorrupt, ObjectMissing
from bondstone.base.models import Wire
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.policy.modules import Module, load_valid, modules_digest
from bondstone.store.numbered import require_expected
from bondstone.store.objects import Objects

PREFIX: Final = "policy-sets"
_DIGITS: Final = 8


class PolicySetRef(Wire):
    """One policy set, as lists show it."""

    version: int
    digest: str
    """sha256 over its modules."""
    published_at: datetime
    published_by: str = "unknown"
    modules: tuple[str, ...] = ()
    """Names of its files."""
    applied: KeptPlatformManifest | None = None
    """The manifest that it was applied from; None when it was published by hand."""


class PolicyFile(Wire):
    """One file of a policy set."""

    name: str
    source: str


class PolicySet(Wire):
    """One policy set with its sources."""

    ref: PolicySetRef
    files: tuple[PolicyFile, ...] = ()

    def modules(self) -> list[Module]:
        """Its modules, ready to be evaluated."""
        return [Module(file.name, file.source, "organisation") for file in self.files]


class PolicySets:
    """All policy sets of one platform.

    Args:
        objects: Where they are kept.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[int, PolicySet] = {}

    async def publish(self, directory: Path, *, by: str = "unknown") -> PolicySetRef:
        """Make the modules of a directory the set in force; the content that is in force already changes nothing.

        Raises:
            NotFound: no such directory.
            PolicyInvalid: with every problem, or when there is no module at all.
        """
        ref, _ = await self.publish_once(directory, by=by)
        return ref

    async def publish_once(
        self,
        directory: Path,
        *,
        by: str = "unknown",
        applied: KeptPlatformManifest | None = None,
        expected: int | None = None,
    ) -> tuple[PolicySetRef, bool]:
        """As `publish`, and whether it was new.

        Args:
            directory: The folder with the modules.
            by: Who asks.
            applied: The manifest that they are of. The set in force is numbered again where it was of another.
            expected: The number of the set that must be in force, 0 for none; None for any.

        Raises:
            Changed: another set is in force than the one that was expected.
        """
        modules = await asyncio.to_thread(load_valid, directory)
        digest = modules_digest(modules)
        while True:
            current = await self.current()
            require_expected("policy set", current.ref.version if current else 0, expected)
            if current is not None and current.ref.digest == digest and applied in (None, current.ref.applied):
                return current.ref, False
            version = current.ref.version + 1 if current else 1
            ref = PolicySetRef(
                version=version,
                digest=digest,
                published_at=datetime.now(UTC),
                published_by=by,
                modules=tuple(module.name for module in modules),
                applied=applied,
            )
            files = tuple(PolicyFile(name=module.name, source=module.source) for module in modules)
            data = PolicySet(ref=ref, files=files).model_dump_json().encode()
            if await self._objects.put_if_absent(_key(version), data):
                return ref, True

    async def current(self) -> PolicySet | None:
        """The set in force; None when none was ever published."""
        newest = max(self._known, default=0)
        later = await self._objects.list(PREFIX, after=_key(newest) if newest else "")
        if later:
            newest = _version(later[-1].key)
        return await self._read(newest) if newest else None

    async def list(self) -> list[PolicySetRef]:
        """Every set, newest first."""
        listing = await self._objects.list(PREFIX)
        sets = await asyncio.gather(*(self._read(_version(info.key)) for info in listing))
        return [item.ref for item in reversed(sets)]

    async def get(self, version: int) -> PolicySet:
        """One set.

        Raises:
            NotFound: when there is none of that number.
        """
        try:
            return await self._read(version)
        except ObjectMissing:
            raise NotFound(
                f"there is no policy set {version}", hint="`bond policy list` shows the existing ones"
            ) from None

    async def _read(self, version: int) -> PolicySet:
        known = self._known.get(version)
        if known is None:
            try:
                known = PolicySet.model_validate_json(await self._objects.get(_key(version)))
            except ValidationError as error:
                raise ObjectCorrupt("the policy set cannot be read", where=_key(version)) from error
            if modules_digest(known.modules()) != known.ref.digest:
                raise ObjectCorrupt(
                    "the policy set is not the one that was published",
                    where=_key(version),
                    hint="find out who writes to the object store, and publish the policies again",
                )
            self._known[version] = known
        return known


def _key(version: int) -> str:
    return f"{PREFIX}/{version:0{_DIGITS}}"


def _version(key: str) -> int:
    return int(key.rsplit("/", 1)[1])
