"""The embedded platform as others see it: its lock, and the file that tells clients where it is.

`bond up` (`bondstone.workers.embedded`) writes both into the data directory; `bond status`, `bond down` and
every client read them. The file stays after a stop, so that clients of a stopped platform
never talk to another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, TextIO

from pydantic import ConfigDict, Field

from bondstone.base.data_directory import PLATFORM_FILE
from bondstone.base.errors import PlatformBusy, StoreUnavailable
from bondstone.base.files import open_private, write_private
from bondstone.base.models import Model
from bondstone.base.platform_settings import home_of, is_home, localized, portable
from bondstone.base.processes import READY_FD, birth, is_alive

LOCK_FILE = "platform.lock"
LOG_DIR = "log"
SUPERVISOR = "supervisor"
CREATE_KEYS = "BOND_CREATE_KEYS"
"""Environment variable: the started worker belongs to a new platform and makes its key ring if need be."""


class Process(Model):
    """One process of the platform."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    born: str
    """Tells it from a later process with the same pid, see `bondstone.base.processes`."""
    started_at: datetime
    status: Literal["starting", "running", "restarting"] = "starting"
    restarts: int = 0

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return is_alive(self.pid, self.born)


SANDBOX: Final = "sandbox"
"""Among the versions that a worker tells: what keeps tools from the platform's files."""


class Platform(Model):
    """The content of `platform.json`."""

    model_config = ConfigDict(frozen=True)

    status: Literal["starting", "running", "stopping", "stopped"]
    pid: int
    born: str
    started_at: datetime
    ready_seconds: float | None = None
    """From the first line of `bond up` to all healthy."""
    versions: dict[str, str] = Field(default_factory=dict)
    processes: tuple[Process, ...] = ()
    pools: tuple[str, ...] = ()
    continued: tuple[str, ...] = ()
    """What had begun and not ended when it started, and continues: the newest, in words."""
    continued_count: int = 0
    """How much that is in all."""
    data: str = ""
    """The data directory that it runs in: a file found in any other was copied or moved there."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What clients need, read by `bondstone.base.settings`; see `bondstone.base.platform_settings`."""

    @classmethod
    def read(cls, data: Path) -> Platform | None:
        """What the data directory says; None when no platform ever wrote there.

        In a copied, moved or restored directory it is a stopped platform, whatever the original does.
        """
        try:
            written = json.loads((data / PLATFORM_FILE).read_bytes())
            platform = cls.model_validate(written)
        except (OSError, ValueError):
            return None
        settings = localized(written, data)
        if is_home(written, data):
            return platform.changed(settings=settings)
        return cls(
            status="stopped",
            pid=0,
            born="",
            started_at=platform.started_at,
            versions=platform.versions,
            pools=platform.pools,
            data=platform.data or str(home_of(written)),
            settings=settings,
        )

    def write(self, data: Path) -> None:
        """Replace the file atomically; mode 0600.

        Raises:
            StoreUnavailable: the disk does not take it.
        """
        try:
            write_private(data / PLATFORM_FILE, f"{self._portable(data).model_dump_json(indent=2)}\n".encode())
        except OSError as error:
            raise StoreUnavailable(
                f"cannot write to the data directory: {error.strerror}",
                where=str(data),
                hint="free some space, or choose another directory with --data",
            ) from error

    def _portable(self, data: Path) -> Platform:
        changes = {"data": str(data.resolve()), "settings": portable(self.settings, data)}
        return self.changed(**changes)

    def lives_elsewhere(self, data: Path) -> bool:
        """Whether this was written by a platform of another directory than `data`, which now holds the file."""
        return bool(self.data) and Path(self.data) != data.resolve()

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return is_alive(self.pid, self.born)


class PlatformLock:
    """The data directory's lock: held by the supervisor for as long as it lives, however it ends."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def acquire(cls, data: Path) -> Self:
        """Take the lock.

        Raises:
            PlatformBusy: another supervisor has it; says which.
        """
        file = os.fdopen(open_private(data / LOCK_FILE), "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            holder = lock_holder(data)
            raise PlatformBusy(
                f"another platform uses this data directory (process {holder or 'unknown'})",
                where=str(data),
                hint="`bond down` with the same --data stops it; or choose another directory with --data",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"pid": os.getpid(), "born": birth(os.getpid())}))
        file.flush()
        return cls(file)

    def release(self) -> None:
        """Give the lock up."""
        self._file.truncate(0)
        self._file.close()


@contextmanager
def ready_pipe() -> Iterator[Callable[[dict[str, Any]], None]]:
    """What to tell whoever started this process with `READY_FD`; nobody listening is fine. Good for one use."""
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is None:
        yield lambda _told: None
        return
    with os.fdopen(int(descriptor), "wb", buffering=0) as pipe:

        def tell(told: dict[str, Any]) -> None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(json.dumps(told).encode() + b"\n")

        yield tell


def lock_holder(data: Path) -> int | None:
    """The pid of the living supervisor of a data directory; looks without touching the lock."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        written = json.loads((data / LOCK_FILE).read_text(encoding="utf-8"))
        if is_alive(int(written["pid"]), str(written["born"])):
            return int(written["pid"])
    return None
