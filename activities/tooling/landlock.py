"""Landlock: a Linux thread gives up files for itself and for all that it starts, without any privilege.

A restriction holds for the thread that asks for it and for the processes that this thread starts from then on; no
one can lift it again. What is not granted is refused with "Permission denied", to root as well. Restricted
processes cannot look into others either: ptrace(2), /proc/PID/environ, /proc/PID/mem, /proc/PID/root. With ABI 6
they cannot send them signals. (Source: landlock(7) and the kernel's "Landlock: unprivileged access control".)
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVS: Final = 38
"""prctl(2): needed to give something up without privileges; programs with the setuid bit get none either."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE: Final = 1 << 14
_ALL: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""What each ABI knows of files; 5 and newer also `ioctl` on devices, which stays free."""
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_SCOPES: Final = 0b11
"""Abstract sockets and signals, ABI 6 and newer."""

_DROP_FROM_BOUNDING_SET: Final = 24
_CAPABILITIES: Final = {
    "DAC_READ_SEARCH": 2, "SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_BOOT": 22,
    "MKNOD": 27, "SYSLOG": 34, "PERFMON": 38, "BPF": 39, "CHECKPOINT_RESTORE": 40,
}  # fmt: skip
"""What a process of root would get past Landlock with: PERFMON or SYS_ADMIN alone read /proc/PID/environ."""

MIN_ABI: Final = 2
"""With 1 (kernels 5.13 to 5.18) no file could be moved to another directory, not even to one's own."""
SIGNAL_ABI: Final = 6


@lru_cache(maxsize=1)
def abi() -> int:
    """Which version of Landlock the kernel has and enforces; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    version = _syscall(_CREATE_RULESET, None, 0, _VERSION)
    return version if version >= MIN_ABI else 0


def restrict_thread(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Give up every file but some, for this thread and all that it starts; call it once in a thread of its own.

    Args:
        readable: Files, and directories with all that is in them, to be read and executed.
        writable: The same, to be changed as well. What does not exist is left out.

    Raises:
        OSError: when the kernel refuses.
    """
    version = abi()
    rights = _ALL[min(version, 3)]
    read = _EXECUTE | _READ_FILE | _READ_DIR
    attributes = _Ruleset(rights, 0, _SCOPES if version >= SIGNAL_ABI else 0)
    size = 24 if version >= SIGNAL_ABI else 8  # older kernels know the first fields only
    ruleset = _checked(_syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0))
    try:
        for path in writable:
            _grant(ruleset, path, rights & ~(_MAKE_CHAR | _MAKE_BLOCK))
        for path in readable:
            _grant(ruleset, path, read)
        for capability in _CAPABILITIES.values():
            _libc().prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)  # only root has any to drop
        _checked(_libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_syscall(_RESTRICT_SELF, ruleset, 0, None))
    finally:
        os.close(ruleset)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _grant(ruleset: int, path: Path, rights: int) -> None:
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError, OSError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= _OF_FILES
            rule = _Beneath(rights & _ALL[min(abi(), 3)], descriptor)
            _checked(_syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
        finally:
            os.close(descriptor)


@lru_cache(maxsize=1)
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: Any) -> int:
    padded = [*arguments, *[0] * (5 - len(arguments))]
    typed = [ctypes.c_long(item) if isinstance(item, int) else item for item in padded]
    call = _libc().syscall
    call.restype = ctypes.c_long
    return int(call(ctypes.c_long(number), *typed))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
