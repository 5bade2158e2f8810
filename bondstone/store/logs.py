"""Step logs: what a tool said, redacted and bounded, in sealed chunks that can be followed while they grow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

import structlog

from bondstone.base.errors import NotFound, ObjectMissing, StoreError
from bondstone.base.redact import Redactor
from bondstone.model.service import ServiceId
from bondstone.store import object_keys
from bondstone.store.objects import segment
from bondstone.store.sealed import SealedObjects

MAX_LINE_CHARS: Final = 16 * 1024
MAX_LOG_CHARS: Final = 16 * 1024 * 1024
"""Of a longer log the beginning and the last lines are kept."""
MAX_TAIL_CHARS: Final = 256 * 1024
FLUSH_SECONDS: Final = 1.0

_CHUNK_CHARS: Final = 1024 * 1024
_LAST_TRIES: Final = 3

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LogInfo:
    """One log of a step."""

    key: str
    step: str
    verb: str
    attempt: str
    began: datetime
    size: int


Listing = list[LogInfo]
Lines = list[str]
Written = list[tuple[LogInfo, tuple[str, ...]]]


class LogWriter:
    """Takes lines and writes them away about once a second. Made by `LogStore.writer`, used as a context manager.

    A store that fails loses no step: what is not written is kept and tried again, and given up with a warning
    when the log is closed.
    """

    key: str
    """Where the log is: what `LogStore.read` takes."""

    def __init__(self, sealed: SealedObjects, key: str, secrets: Iterable[str], *, flush_seconds: float) -> None:
        self.key = key
        self._sealed = sealed
        self._redact = Redactor(secrets)
        self._flush_seconds = flush_seconds
        self._waiting: deque[str] = deque()
        self._taken = 0
        self._tail: deque[str] = deque()
        self._tail_chars = 0
        self._left_out = 0
        self._chunk = b""
        self._written = 0
        self._closing = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def write(self, line: str) -> None:
        """Take one line (or several, separated by newlines). Cheap; call it from the event loop's thread."""
        for one in self._redact(line).splitlines() or [""]:
            self._take(_bounded(one))

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Redact these too from now on."""
        self._redact.add(secrets)

    async def flush(self) -> None:
        """Write away what is waiting.

        Raises:
            StoreError: when the store failed; the lines are kept.
        """
        async with self._lock:
            while self._waiting or self._chunk:
                # A chunk that failed is written again as it was: a follower may have read it all the same.
                self._chunk = self._chunk or self._next_chunk()
                await self._sealed.put(f"{self.key}/{self._written + 1:08}", self._chunk)
                self._chunk = b""
                self._written += 1

    async def __aenter__(self) -> Self:
        self._flusher = asyncio.create_task(self._keep_flushing(), name=f"log {self.key}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()  # not a cancellation: that would leave a write under way
        if self._flusher is not None:
            await self._flusher
        if self._left_out:
            self._waiting.append(f"... {self._left_out} lines left out: the log is over its bound ...")
        self._waiting.extend(self._tail)
        self._tail.clear()
        for attempt in range(_LAST_TRIES):
            await asyncio.sleep(self._flush_seconds if attempt else 0)
            if await self._flushed():
                return
        _log.error("log lines lost", log=self.key, lines=len(self._waiting))

    def _next_chunk(self) -> bytes:
        lines, chars = [], 0
        while self._waiting and chars < _CHUNK_CHARS:
            line = self._waiting.popleft()
            lines.append(f"{line}\n")
            chars += len(line) + 1
        return "".join(lines).encode("utf-8", "replace")

    def _take(self, line: str) -> None:
        self._taken += len(line) + 1
        if self._taken <= MAX_LOG_CHARS:
            self._waiting.append(line)
            return
        self._tail.append(line)
        self._tail_chars += len(line) + 1
        while self._tail_chars > MAX_TAIL_CHARS:
            self._tail_chars -= len(self._tail.popleft()) + 1
            self._left_out += 1

    async def _keep_flushing(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._flush_seconds)
            await self._flushed()

    async def _flushed(self) -> bool:
        try:
            await self.flush()
        except StoreError as error:
            _log.warning("log not written yet", log=self.key, error=error.message)
            return False
        return True


class LogStore:
    """Logs under `logs/<team>/<service>/<operation>/<step>/<verb>/<attempt>/<chunk>`.

    Args:
        sealed: Where they are kept.
        flush_seconds: How long a line may wait before it can be read by others.
    """

    def __init__(self, sealed: SealedObjects, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._sealed = sealed
        self._flush_seconds = flush_seconds

    def writer(  # noqa: PLR0917 - the first five are the log's place, in the order of its key
        self, service: ServiceId, operation: int, step: str, verb: str, attempt: str, secrets: Iterable[str]
    ) -> LogWriter:
        """The writer of one run's log, an async context manager.

        Args:
            service: Whose log.
            operation: Number of the operation.
            step: Id of the step.
            verb: What runs: `plan`, `apply`, …
            attempt: Unique for the run.
            secrets: Values to redact; `bondstone.base.redact.plain_texts` finds them in JSON values.
        """
        key = f"{object_keys.logs(service, operation)}/{segment(step)}/{segment(verb)}/{segment(attempt)}"
        return LogWriter(self._sealed, key, secrets, flush_seconds=self._flush_seconds)

    async def read(self, key: str) -> AsyncIterator[str]:
        """The lines of a log, as far as it is written.

        Raises:
            NotFound: when there is no such log.
            ObjectCorrupt: when a chunk cannot be read.
        """
        chunks = await self._chunks(key)
        if not chunks:
            raise NotFound("there is no such log", where=key, hint="the step may not have said anything yet")
        for chunk in chunks:
            for line in await self._lines(chunk):
                yield line

    async def follow(self, key: str, done: Callable[[], bool]) -> AsyncIterator[str]:
        """The lines of a log as they come, until `done()` and nothing is left to read.

        Args:
            key: The log; it need not exist yet.
            done: Whether the run has ended.
        """
        after = ""
        while True:
            ended = done()
            for chunk in await self._chunks(key, after=after):
                for line in await self._lines(chunk):
                    yield line
                after = chunk
            if ended:
                return
            await asyncio.sleep(self._flush_seconds)

    async def list(self, service: ServiceId, operation: int) -> Listing:
        """The logs of an operation, in the order they began."""
        prefix = object_keys.logs(service, operation)
        logs: dict[str, LogInfo] = {}
        for info in await self._sealed.objects.list(prefix):
            key = info.key.rpartition("/")[0]
            match key.removeprefix(f"{prefix}/").split("/"):
                case [step, verb, attempt]:
                    first = logs.get(key)
                    logs[key] = LogInfo(
                        key=key,
                        step=_unescaped(step),
                        verb=_unescaped(verb),
                        attempt=_unescaped(attempt),
                        began=first.began if first else info.modified,
                        size=info.size + (first.size if first else 0),
                    )
        return sorted(logs.values(), key=lambda log: (log.began, log.key))

    async def chunks(self, service: ServiceId, operation: int) -> Written:
        """The logs of an operation, in the order they began, each with what is written of it so far.

        What is written is named by keys for `chunk`; a log only gets more of them.
        """
        written: dict[str, Lines] = {}
        prefix = object_keys.logs(service, operation)
        for info in await self._sealed.objects.list(prefix):
            written.setdefault(info.key.rpartition("/")[0], []).append(info.key)
        logs = await self.list(service, operation)
        return [(log, tuple(sorted(written[log.key]))) for log in logs if log.key in written]

    async def chunk(self, key: str) -> Lines:
        """The lines of one part of a log.

        Raises:
            ObjectCorrupt: it cannot be read.
        """
        return await self._lines(key)

    async def _chunks(self, key: str, *, after: str = "") -> tuple[str, ...]:
        _check_is_log(key)
        return tuple(info.key for info in await self._sealed.objects.list(key, after=after))

    async def _lines(self, chunk: str) -> Lines:
        try:
            data = await self._sealed.get(chunk)
        except ObjectMissing:
            return []  # removed while it was read
        return data.decode("utf-8", "replace").removesuffix("\n").split("\n")


def _check_is_log(key: str) -> None:
    if not key.startswith(f"{object_keys.LOGS}/"):
        raise NotFound("that is not a log", where=key[:200])


def _unescaped(text: str) -> str:
    return unquote(text.replace("=", "%"))


def _bounded(line: str) -> str:
    if len(line) <= MAX_LINE_CHARS:
        return line
    return f"{line[:MAX_LINE_CHARS]} ... {len(line) - MAX_LINE_CHARS} characters left out"
