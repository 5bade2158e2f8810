"""Attempts at activities that this host's workers have at work, so that those of a killed worker end at once.

A worker that is killed tells nobody: Temporal waits for the heartbeat timeout before it starts the next attempt.
But the worker that starts in its place on the same host can see that its predecessor is gone. So each attempt has
a file of its own while it runs,

    work/attempts/NAME.json      what Temporal knows the attempt by, and the process that runs it; locked (flock)

and each worker looks for files whose lock is free and whose process, on this very boot of this machine, has ended.
It reports those attempts to Temporal as failed, and Temporal starts the next one.

An attempt that still runs holds its lock, stopped or cut off as it may be. In doubt (another boot, another machine
that shares the directory) a file is left alone and the heartbeat timeout decides.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol, Self

import structlog
from pydantic import ValidationError
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from bondstone.base.files import create_private
from bondstone.base.models import Wire
from bondstone.base.process_identity import Holder, is_dead
from bondstone.base.processes import boot_id, pid_namespace

LOOK_SECONDS: Final = 2.0
"""How often a worker looks for attempts of dead ones."""

KEPT_SECONDS: Final = 24 * 3600
"""After this long a file that nothing holds is of no use: the heartbeat timeout has decided long ago."""

WORKER_DIED: Final = "WORKER_DIED"
"""The type of the failure that Temporal's history shows for such an attempt. It is retried."""

_SUFFIX: Final = ".json"

_log = structlog.get_logger(__name__)


class AttemptFile(Wire):
    """What the file of an attempt holds."""

    task_token: str
    """What Temporal knows this one attempt by, in base64; a later attempt has another."""
    holder: Holder

    @classmethod
    def of(cls, task_token: bytes, attempt: str) -> Self:
        """That of an attempt of this process."""
        return cls(task_token=base64.b64encode(task_token).decode(), holder=Holder.me(attempt))


class Report(Protocol):
    """Tells Temporal that an attempt has failed."""

    async def __call__(self, task_token: bytes, error: Exception) -> None:
        """Raises `RPCError` when Temporal refuses or does not answer."""


class Attempts(Interceptor):
    """The files of the attempts at work on this host; as an interceptor, it keeps one for each of this process's.

    Args:
        work: The work directory of the workers of this host.
    """

    def __init__(self, work: Path) -> None:
        self._directory = work / "attempts"

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Keep the file of each attempt that this worker runs."""
        return _Inbound(next, self)

    @contextmanager
    def at_work(self, task_token: bytes, attempt: str) -> Iterator[None]:
        """Keep the file of an attempt of this process for as long as the context lasts.

        Args:
            task_token: `activity.info().task_token`.
            attempt: The attempt's name in logs.
        """
        try:
            path, descriptor = self._create(AttemptFile.of(task_token, attempt))
        except OSError as error:  # no room, perhaps: without the file, the heartbeat timeout decides
            _log.warning("cannot write down an attempt", error=str(error)[:200])
            yield
            return
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _create(self, record: AttemptFile) -> tuple[Path, int]:
        """A new file, and the descriptor that holds its lock. Whoever sees the file sees it locked and whole."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = self._directory / f"{secrets.token_hex(8)}.new"
        descriptor = create_private(staged)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, record.model_dump_json().encode())
            return staged.rename(staged.with_suffix(_SUFFIX)), descriptor
        except OSError:
            staged.unlink(missing_ok=True)
            os.close(descriptor)
            raise

    async def end_dead(self, report: Report) -> int:
        """Report the attempts whose worker has died on this host, once each.

        Args:
            report: Tells Temporal. When Temporal does not answer, the file stays for the next look.

        Returns:
            How many were reported.
        """
        ended = 0
        for path, record in self._dead():
            error = ApplicationError(
                f"the worker that ran this attempt has died ({record.holder})", type=WORKER_DIED
            )
            try:
                await report(base64.b64decode(record.task_token), error)
            except RPCError as refusal:
                if refusal.status is not RPCStatusCode.NOT_FOUND:  # else it had timed out, or its workflow ended
                    _log.warning("cannot report a dead worker's attempt", error=str(refusal)[:200])
                    continue
            else:
                ended += 1
                _log.info(
                    "ended the attempt of a dead worker", attempt=record.holder.attempt, pid=record.holder.pid
                )
            path.unlink(missing_ok=True)
        return ended

    def _dead(self) -> Iterator[tuple[Path, AttemptFile]]:
        """The attempts of dead processes of this host, each locked for the caller while it looks at one."""
        try:
            paths = [Path(entry.path) for entry in os.scandir(self._directory)]
        except FileNotFoundError:
            return
        for path in paths:
            with _locked(path) as is_free:
                if not is_free:
                    continue
                record = _read(path)
                if record is not None and _died_here(record.holder):
                    yield path, record
                elif _age_seconds(path) > KEPT_SECONDS:
                    path.unlink(missing_ok=True)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, attempts: Attempts) -> None:
        super().__init__(inner)
        self._attempts = attempts

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        info = activity.info()
        if info.is_local:  # it is part of a workflow task, which has a timeout of its own
            return await super().execute_activity(input)
        attempt = f"{info.workflow_id}/{info.activity_id}-{info.attempt}"
        with self._attempts.at_work(info.task_token, attempt):
            return await super().execute_activity(input)


async def keep_ending_dead(client: Client, attempts: Attempts) -> None:
    """Look for the attempts of dead workers at once, and then every `LOOK_SECONDS`, until cancelled.

    Args:
        client: The worker's own connection.
        attempts: Those of this host.
    """

    async def report(task_token: bytes, error: Exception) -> None:
        await client.get_async_activity_handle(task_token=task_token).fail(error)

    while True:
        try:
            await attempts.end_dead(report)
        except OSError as error:
            _log.warning("cannot look for attempts of dead workers", error=str(error)[:200])
        await asyncio.sleep(LOOK_SECONDS)


def _died_here(holder: Holder) -> bool:
    """Whether the process was one of this boot of this machine and has ended, given that its lock is free.

    In another container of this machine its number says nothing; there the lock decides: it is the same kernel's.
    """
    if not holder.boot_id or holder.boot_id != boot_id():
        return False
    return holder.pid_namespace != pid_namespace() or is_dead(holder)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether nobody holds the file's lock; if so, this process does while the context lasts."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield False  # removed this very moment
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _read(path: Path) -> AttemptFile | None:
    if path.suffix != _SUFFIX:
        return None
    with suppress(OSError, ValidationError):
        return AttemptFile.model_validate_json(path.read_bytes())
    return None


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0
