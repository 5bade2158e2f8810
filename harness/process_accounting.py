"""The kernel's process accounting (acct(5)): the CPU of every process on this machine that ends meanwhile.

Only root may switch it on. It tells programs by the name of the process, of which it keeps 15 bytes.
"""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_RECORD: Final = struct.Struct("=BBHIIIIIIfHHHHHHHH16s")
"""Version 3: flags, version, terminal, exit code, user, group, process, parent, began, lasted; user and system
time, memory, characters, blocks, two kinds of faults, swaps; the name."""
_TICKS: Final = 100  # a second, whatever the kernel's own clock does
_MANTISSA_BITS: Final = 13


@dataclass(frozen=True)
class Program:
    """All processes of one name."""

    processes: int
    cpu: float
    """Seconds, user and system together, without their children."""


class Unavailable(Exception):
    """The kernel does not account for processes here; the message says why."""


@contextmanager
def accounting() -> Iterator[Path]:
    """Account for the processes that end meanwhile; the file of their records.

    Raises:
        Unavailable: not by this user, or not on this machine.
    """
    descriptor, name = tempfile.mkstemp(prefix="accounts-")
    os.close(descriptor)
    _switch(name.encode())
    try:
        yield Path(name)
    finally:
        _switch(None)
        Path(name).unlink()


def name_this_process(name: str) -> None:
    """Have the kernel's records, and `ps`, tell this process and its forks by a name, where there is Linux."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")


def by_program(records: bytes) -> Mapping[str, Program]:
    """The CPU of each program.

    Args:
        records: Of the kernel, version 3.
    """
    processes: defaultdict[str, int] = defaultdict(int)
    ticks: defaultdict[str, int] = defaultdict(int)
    for record in _RECORD.iter_unpack(records[: len(records) // _RECORD.size * _RECORD.size]):
        user, system, name = record[10], record[11], record[-1]
        program = name.split(b"\0")[0].decode(errors="replace")
        processes[program] += 1
        ticks[program] += _number(user) + _number(system)
    return {program: Program(processes[program], ticks[program] / _TICKS) for program in processes}


def _number(packed: int) -> int:
    """What acct(5) calls `comp_t`: three bits of a power of eight, thirteen bits of a number."""
    return (packed & ((1 << _MANTISSA_BITS) - 1)) << 3 * (packed >> _MANTISSA_BITS)


def _switch(file: bytes | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.acct(file):
        raise Unavailable(os.strerror(ctypes.get_errno()))
