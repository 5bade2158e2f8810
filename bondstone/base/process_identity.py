"""Who a process of ours is, towards Temporal and towards other attempts, and whether it is provably dead."""

from __future__ import annotations

import os
import socket
from functools import cache

from bondstone.base.models import Wire
from bondstone.base.processes import boot_id, pid_namespace, started


class Holder(Wire):
    """One attempt in one process on one machine: what a claim names."""

    attempt: str
    host: str = ""
    boot_id: str = ""
    """Random for each boot of a kernel; empty where the system has none."""
    pid_namespace: str = ""
    """Containers of one machine share its boot id, but number their processes each for itself."""
    pid: int = 0
    pid_started: float = 0
    """Start of the process in ticks since boot: tells it from a later one with the same number."""
    by: str = ""
    """Who asked for the work."""

    @classmethod
    def me(cls, attempt: str, by: str = "") -> Holder:
        """This process.

        Args:
            attempt: Unique for this run of this activity.
            by: Who asked for the work.
        """
        return _process(os.getpid()).changed(attempt=attempt, by=by)

    def __str__(self) -> str:
        by = f" for {self.by}" if self.by else ""
        return f"attempt {self.attempt} on {self.host or 'an unknown host'} (pid {self.pid}){by}"


@cache
def _process(pid: int) -> Holder:
    """What is the same for every attempt of this process; read once, and again in a fork."""
    return Holder(
        attempt="",
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid_namespace=pid_namespace(),
        pid=pid,
        pid_started=started(pid) or 0,
    )


def is_dead(holder: Holder) -> bool:
    """Whether the holder was a process of this very machine and is there no more. False when in doubt."""
    if not holder.boot_id or not holder.pid_started:
        return False
    if (holder.boot_id, holder.pid_namespace) != (boot_id(), pid_namespace()):
        return False
    return started(holder.pid) != holder.pid_started


def poller_identity(name: str) -> str:
    """How this process calls itself towards Temporal: `executor@host:pid`.

    Args:
        name: What kind of process it is.
    """
    return f"{name}@{socket.gethostname()}:{os.getpid()}"


def is_gone(poller: str) -> bool:
    """Whether a poller was a process of this host that runs no more. False when in doubt; Temporal notices later.

    Args:
        poller: As `poller_identity` gives it.
    """
    host, _, pid = poller.rpartition("@")[2].rpartition(":")
    return host == socket.gethostname() and pid.isdigit() and started(int(pid)) is None
