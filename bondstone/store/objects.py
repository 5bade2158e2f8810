"""Objects: small immutable files in one object store, named by URL.

`file:///path` (the default), `s3://bucket/prefix`, `gs://…`, `az://…`, and `memory:///` for tests. Credentials
and endpoints come from the environment, as each cloud's own tools read them. The one primitive the rest of the
store stands on is `put_if_absent`: of any number of writers of one key, exactly one is told True.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from obstore import exceptions
from obstore.store import LocalStore, MemoryStore, from_url

from bondstone.base.errors import InvalidInput, ObjectMissing, SettingsInvalid, StoreError, StoreUnavailable
from bondstone.base.files import create_private_directory, remove, write_durably

if TYPE_CHECKING:
    from obstore.store import ObjectStore

MAX_OBJECT_BYTES: Final = 256 * 1024 * 1024
"""Nothing that Bondstone keeps is larger; what is, is a mistake or an attack."""

MAX_KEY_LENGTH: Final = 900
"""S3 takes 1,024 bytes, a prefix in the store's URL included."""

_PROBE: Final = "probe/put-if-absent"
"""An empty object that stays."""

_SCHEMES: Final = ("file", "s3", "gs", "az", "memory")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_@=+-][A-Za-z0-9._@=+-]{0,199}")
_CLOUD_TIMEOUT: Final = timedelta(seconds=30)
_RETRIES: Final = 5
_DELETE_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One line of a listing."""

    key: str
    size: int
    modified: datetime


Listing = list[ObjectInfo]


def directory_of(url: str) -> Path | None:
    """The directory of a local store; None for a bucket."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


class Objects:
    """An object store. All keys are relative, made of plain segments, and the same on every kind of store.

    Args:
        backend: The obstore store that does the work.
        root: The directory of a local store; its writes then reach the disk before they are acknowledged.
    """

    def __init__(self, backend: ObjectStore, *, root: Path | None = None) -> None:
        self._backend = backend
        self._root = root

    @classmethod
    async def open(cls, url: str) -> Objects:
        """The store at a URL. A local directory is made, for its owner only; a bucket has to exist.

        Raises:
            SettingsInvalid: when the URL is not one of a known kind, or its configuration is wrong.
            StoreUnavailable: when the directory cannot be made.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or (parts.scheme != "memory" and not (parts.netloc or parts.path)):
            raise SettingsInvalid(
                f"{_shown(url)!r} is not the URL of an object store",
                where="store",
                hint="use file:///path, s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix",
            )
        if parts.scheme == "memory":
            return cls(MemoryStore())
        if parts.scheme == "file":
            return await cls._open_directory(url)
        try:
            # Options for its HTTP client would replace those of the environment (AWS_ALLOW_HTTP, proxies).
            return cls(from_url(url, retry_config={"max_retries": _RETRIES, "retry_timeout": _CLOUD_TIMEOUT}))
        except (exceptions.BaseError, ValueError) as error:
            raise SettingsInvalid(
                f"the object store {_shown(url)} cannot be set up: {_first_line(error)}",
                where="store",
                hint="check its URL and the cloud's variables (AWS_*, GOOGLE_*, AZURE_*)",
            ) from error

    @classmethod
    async def _open_directory(cls, url: str) -> Objects:
        parts = urlsplit(url)
        root = directory_of(url) or Path()
        if parts.netloc not in {"", "localhost"} or not root.is_absolute():
            raise SettingsInvalid(
                f"{_shown(url)!r} does not name an absolute path", where="store", hint="write file:///path"
            )
        with _errors(str(root)):
            await asyncio.to_thread(create_private_directory, root)
            return cls(LocalStore(root), root=root)

    async def get(self, key: str) -> bytes:
        """The content of an object.

        Raises:
            ObjectMissing: when there is none by that key.
            StoreUnavailable: when the store does not answer.
        """
        check_key(key)
        with _errors(key):
            result = await self._backend.get_async(key)
            _check_size(key, result.meta["size"])
            return bytes(await result.bytes_async())

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing what was there."""
        await self._write(key, data, create=False)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless the key is taken; False when it is.

        A False may also mean that an earlier try of one's own did reach the store although its answer did not
        (networks do that): whoever cares compares what is there with what it meant to write.
        """
        return await self._write(key, data, create=True)

    async def require_put_if_absent(self) -> None:
        """Find out whether the store keeps the promise of `put_if_absent`, which nothing else can make up for.

        S3 itself does, by `If-None-Match`; some servers that speak its protocol ignore or refuse that header.

        Raises:
            SettingsInvalid: it does not.
            StoreUnavailable: it does not answer.
        """
        why = "it replaces an object that it was asked to leave alone"
        try:
            await self.put_if_absent(_PROBE, b"")
            if not await self.put_if_absent(_PROBE, b""):
                return
        except NotImplementedError:  # obstore, when it is configured so
            why = "AWS_CONDITIONAL_PUT is set to disabled"
        except StoreUnavailable as error:
            if "501 Not Implemented" not in error.message:
                raise
            why = "it refuses conditional requests"
        raise SettingsInvalid(
            f"the object store cannot put an object only if it is absent: {why}",
            where="store",
            hint="use a store with conditional puts (If-None-Match), and leave AWS_CONDITIONAL_PUT at its default",
        )

    async def exists(self, key: str) -> bool:
        """Whether there is an object by that key."""
        check_key(key)
        try:
            with _errors(key):
                await self._backend.head_async(key)
        except ObjectMissing:
            return False
        return True

    async def list(self, prefix: str, *, after: str = "") -> Listing:
        """Every object below a prefix, sorted by key.

        Args:
            prefix: Whole segments: `state/a` does not find `state/ab`.
            after: Only keys that sort after this one.
        """
        prefix = prefix.rstrip("/")
        check_key(prefix)
        listing: Listing = []
        with _errors(prefix):
            async for batch in self._backend.list(prefix, offset=after or None):
                listing += [ObjectInfo(item["path"], item["size"], item["last_modified"]) for item in batch]
        return sorted(listing, key=lambda info: info.key)

    async def delete(self, *keys: str) -> None:
        """Remove objects; those that are not there do not matter."""
        for key in keys:
            check_key(key)
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = keys[start : start + _DELETE_BATCH]
            with _errors(batch[0]):
                await self._delete(batch)

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every object below a prefix; how many there were."""
        listing = await self.list(prefix)
        await self.delete(*(info.key for info in listing))
        return len(listing)

    async def _delete(self, keys: Sequence[str]) -> None:
        if self._root is None:
            await self._backend.delete_async([*keys])
        else:
            await asyncio.to_thread(remove, self._root, keys)

    async def _write(self, key: str, data: bytes, *, create: bool) -> bool:
        check_key(key)
        _check_size(key, len(data))
        with _errors(key):
            if self._root is not None:
                return await asyncio.to_thread(write_durably, self._root, key, data, create=create)
            try:
                await self._backend.put_async(key, data, mode="create" if create else "overwrite")
            except exceptions.AlreadyExistsError:
                return False
        return True


def check_key(key: str) -> str:
    """Return a key that is safe on every store, else raise `InvalidInput`."""
    segments = key.split("/")
    if len(key) <= MAX_KEY_LENGTH and all(_SEGMENT.fullmatch(segment) for segment in segments):
        return key
    raise InvalidInput(
        f"{key[:200]!r} is not an object key",
        hint="keys are relative: segments of letters, digits and . _ @ = + -, not starting with a dot",
    )


def segment(text: str) -> str:
    """Any text as one segment of a key: unchanged when it is one, else escaped, and hashed when too long."""
    if _SEGMENT.fullmatch(text) and "=" not in text:
        return text
    quoted = "".join(
        char if char.isascii() and (char.isalnum() or char in "_-@+" or (char == "." and index)) else _hex(char)
        for index, char in enumerate(text)
    )
    if not quoted:
        return "="
    if len(quoted) > 150:  # noqa: PLR2004 - well below the 200 of a segment
        return f"{quoted[:100]}={hashlib.sha256(text.encode()).hexdigest()[:32]}"
    return quoted


def _hex(char: str) -> str:
    return "".join(f"={byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))


def _check_size(key: str, size: int) -> None:
    if size > MAX_OBJECT_BYTES:
        raise StoreError(
            f"an object of {size:,} bytes is more than the {MAX_OBJECT_BYTES:,} that the store takes",
            where=key,
            hint="split what makes it: a state or a plan of that size is not workable either",
        )


@contextmanager
def _errors(key: str) -> Iterator[None]:
    """Turn what obstore and the file system raise into errors of ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(
            "the object is not in the store",
            where=key,
            hint="it was removed by something else, or this is another store than the one it was written to",
        ) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
        raise StoreError(
            f"the object store refuses access: {_first_line(error)}",
            where=key,
            hint="check the credentials, and what they may do in this bucket or directory",
        ) from error
    except (exceptions.BaseError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        full = full or "os error 28" in str(error)
        raise StoreUnavailable(
            "the object store is full" if full else f"the object store failed: {_first_line(error)}",
            where=key,
            hint="free some space, then retry" if full else "check that it answers, then retry",
        ) from error


def _first_line(error: Exception) -> str:
    """Without the debug dump that obstore appends."""
    return str(error).strip().split("\n", 1)[0][:500]


def _shown(url: str) -> str:
    """A URL without what may be a credential in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else url[:200]


def utc_now() -> datetime:
    """The wall clock: for people to read, never to decide by."""
    return datetime.now(UTC)
