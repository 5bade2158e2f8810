"""A folder of a bucket: objects by name, each written under the condition that it is as it was read.

A bucket has no commit. So files are written first and removed last, and an attempt that follows a dead one accepts
what is written in part.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote, urlsplit

from obstore import exceptions
from obstore.store import LocalStore, from_url

from bondstone.activities.kratix.destination.documents import DestinationFolder
from bondstone.base.errors import BondError, StepTimedOut, ToolFailed, Unreachable

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

MAX_OBJECTS: Final = 4000
"""In the folder of one step; twice what pipelines may write."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Of all objects in the folder of one step."""
AT_ONCE: Final = 8
"""Objects that are read or written at once."""
_REFUSED: Final = re.compile(r"[\x00-\x1f\x7f\\^`{}\[\]%#?*|\"<>~]")
"""What stores write in another way than it was given."""


@dataclass(frozen=True, slots=True)
class _Object:
    """One object as it was read."""

    content: bytes
    condition: UpdateVersion
    """By which the store knows whether it is still the same."""

    @property
    def digest(self) -> str:
        return _digest(self.content)


@dataclass(slots=True)
class Bucket:
    """One attempt's view of a folder of a bucket.

    Args:
        place: The folder.
        time_seconds: How long one reading of all objects, or one writing, may take.
    """

    tool: ClassVar[str] = "bucket"
    another_came_first: ClassVar[str] = "another one wrote an object meanwhile: the folder is compared again"

    place: DestinationFolder
    time_seconds: int
    _store: ObjectStore | None = field(default=None, init=False)
    _standing: dict[str, _Object] = field(default_factory=dict, init=False)
    _wanted: dict[str, bytes] = field(default_factory=dict, init=False)

    async def open(self) -> None:
        """Set it up.

        Raises:
            ToolFailed: when the worker's environment has no sound configuration for it.
        """
        parts = urlsplit(self.place.url)
        if parts.scheme == "file":
            await asyncio.to_thread(Path(unquote(parts.path)).mkdir, parents=True, exist_ok=True)
        try:
            self._store = from_url(self.place.url)
        except (exceptions.BaseError, ValueError) as error:
            raise ToolFailed(
                f"the bucket cannot be set up: {_first_line(error)}",
                where=str(self.place),
                hint="check its URL, and the cloud's variables of the worker (AWS_*, GOOGLE_*, AZURE_*)",
            ) from error

    async def newest(self) -> dict[str, str]:
        """What stands in the folder: the digest of each object, by its path below the folder."""
        async with self._bounded("read"):
            with self._errors():
                names = await self._names()
                slots, left = asyncio.Semaphore(AT_ONCE), {}

                async def read(name: str) -> None:
                    async with slots:
                        if (known := await self._read(name)) is not None:
                            left[name.removeprefix(f"{self.place.folder}/")] = known

                await asyncio.gather(*map(read, names))
        self._standing = dict(sorted(left.items()))
        return {path: each.digest for path, each in self._standing.items()}

    async def texts(self) -> dict[str, str]:
        """The texts of what `newest` has read; what is no text is shown with marks in its place."""
        return {path: each.content.decode("utf-8", "replace") for path, each in self._standing.items()}

    async def prepare(self, files: Mapping[str, str]) -> dict[str, str]:
        """Take the files that there shall be; the digest of each by path.

        Raises:
            ToolFailed: a path is none that every store keeps as it is.
        """
        for path in files:
            if match := _REFUSED.search(path):
                raise ToolFailed(
                    f"{path!r} is no name of an object: {match[0]!r} in it is not the same on every store",
                    where=f"/kratix/output/{path}",
                )
        self._wanted = {path: text.encode() for path, text in files.items()}
        return {path: _digest(content) for path, content in self._wanted.items()}

    async def write(self, message: str, still_held: Callable[[], None]) -> str:
        """Make the folder what was prepared; what was done in words, nothing when another one wrote first.

        Args:
            message: Why; a bucket keeps none.
            still_held: Called before each change; raises when this attempt may change nothing any more.
        """
        del message
        write = [path for path, content in self._wanted.items() if self._content(path) != content]
        remove = [path for path in self._standing if path not in self._wanted]
        slots = asyncio.Semaphore(AT_ONCE)

        async def put(path: str) -> bool:
            async with slots:
                still_held()
                return await self._put(path)

        async def delete(path: str) -> None:
            async with slots:
                still_held()
                await self._opened.delete_async(self._key(path))

        async with self._bounded("written"):
            with self._errors():
                if not all(await asyncio.gather(*map(put, write))):
                    return ""
                await asyncio.gather(*map(delete, remove))
        return f"wrote {len(write)} objects and removed {len(remove)}"

    def is_half_written(
        self, live: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]
    ) -> bool:
        """Whether each object is as it was before or as it shall be: what an attempt that died leaves."""
        paths = live.keys() | before.keys() | after.keys()
        return all(live.get(path) in {before.get(path), after.get(path)} for path in paths)

    def beaten(self, tries: int) -> BondError:
        """The error when another one always wrote first."""
        return ToolFailed(
            f"in each of {tries} tries another one wrote to {self.place}",
            where=str(self.place),
            hint="find who else writes there: a folder has one step",
        )

    # Helpers -------------------------------------------------------------------------------------------------

    @property
    def _opened(self) -> ObjectStore:
        if self._store is None:  # pragma: no cover - opened first
            raise RuntimeError("the bucket is not open")
        return self._store

    async def _names(self) -> list[str]:
        names: list[str] = []
        size = 0
        async for batch in self._opened.list(self.place.folder):
            names += [item["path"] for item in batch]
            size += sum(item["size"] for item in batch)
            if len(names) > MAX_OBJECTS or size > MAX_BYTES:
                raise ToolFailed(
                    f"{self.place} holds more than {MAX_OBJECTS} objects or {MAX_BYTES // 1024**2} MiB",
                    where=str(self.place),
                    hint="it is the folder of one step: remove what others have put there",
                )
        return names

    async def _read(self, name: str) -> _Object | None:
        try:
            answer = await self._opened.get_async(name)
        except FileNotFoundError:  # removed since it was listed
            return None
        about = answer.meta
        condition: UpdateVersion = {}
        if about["e_tag"] is not None:
            condition["e_tag"] = about["e_tag"]
        if about["version"] is not None:
            condition["version"] = about["version"]
        return _Object(bytes(await answer.bytes_async()), condition)

    async def _put(self, path: str) -> bool:
        """Write one object; False when it is not as it was read any more."""
        known = self._standing.get(path)
        store, content = self._opened, self._wanted[path]
        try:
            if known is None:
                await store.put_async(self._key(path), content, mode="create")
            elif isinstance(store, LocalStore):  # a directory has no conditions
                await store.put_async(self._key(path), content)
            else:
                await store.put_async(self._key(path), content, mode=known.condition)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        return True

    def _content(self, path: str) -> bytes | None:
        known = self._standing.get(path)
        return known.content if known is not None else None

    def _key(self, path: str) -> str:
        return f"{self.place.folder}/{path}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what obstore raises into errors of ours."""
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> BondError:
        words = _first_line(error)
        refusals = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
        if isinstance(error, refusals) or "403 Forbidden" in words:  # a listing is refused in general words
            return ToolFailed(
                f"the bucket refuses access: {words}",
                where=str(self.place),
                hint="may the worker list, read, write and delete objects there?",
            )
        if isinstance(error, FileNotFoundError) or "404 Not Found" in words:
            return ToolFailed(
                f"there is no such bucket: {words}",
                where=str(self.place),
                hint="make it, or correct the URL in the worker's settings",
            )
        return Unreachable(f"the bucket failed: {words}", where=str(self.place))

    @asynccontextmanager
    async def _bounded(self, verb: str) -> AsyncIterator[None]:
        """A time limit that is told in words."""
        try:
            async with asyncio.timeout(self.time_seconds):
                yield
        except TimeoutError:
            words = f"{self.place} could not be {verb} in {self.time_seconds} s"
            raise StepTimedOut(words, where=str(self.place)) from None


def _digest(content: bytes) -> str:
    return f"sha256 {sha256(content).hexdigest()}"


def _first_line(error: Exception) -> str:
    """Without the debug dump that obstore appends."""
    return str(error).strip().split("\n", 1)[0][:500]
