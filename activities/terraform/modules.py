"""Modules made ready: `terraform init` once per worker, revision, module and Terraform, then never again.

    work/modules/KEY/data/          the shared TF_DATA_DIR: providers, child modules, the backend's record
    work/modules/KEY/lock.hcl       the dependency lock file that init wrote, if the module ships none
    work/modules/KEY/ready          there once all of it is whole
    work/plugins/                   the provider cache of the host

`init` runs in the directory of the first attempt. Every attempt has a link to what it prepared beside its module,
as `.terraform`, so that the paths that init writes down are right for all of them. A lock for the host guards it:
filling the provider cache is not safe for concurrent use.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bondstone.activities.terraform.binary import Tool
from bondstone.activities.terraform.workspace import LOCK_FILE, RunDirectory
from bondstone.base.files import open_lock

_POLL_SECONDS = 0.05
_LAYOUT = 2
"""Changes when what an older Bondstone prepared cannot be used."""


async def prepare(
    work: Path,
    run: RunDirectory,
    *,
    tool: Tool,
    revision: str,
    module: str,
    locked: bytes | None,
    init: Callable[[Path, Path, bool], Awaitable[None]],
    has_own_backend: bool = False,
) -> Path:
    """Make a run directory ready for `plan` and `apply`.

    Args:
        work: The worker's scratch directory.
        run: The attempt's directory, the module linked into it.
        tool: The Terraform that will run.
        revision: Digest of the bundle the module comes from.
        module: Path of the module in the bundle.
        locked: The dependency lock file that must be obeyed if the module ships none: that of the plan in hand.
        init: Runs `terraform init` there with the `TF_DATA_DIR` and the provider cache given, and obeying the
            lock file that is there if the last argument says so; raises if it fails.
        has_own_backend: The module's own backend is used, which init leaves alone.

    Returns:
        The `TF_DATA_DIR` to use.
    """
    lock_file = run.module / LOCK_FILE
    shipped = lock_file.exists()
    module = f"{module}\0own" if has_own_backend else module
    cache = _cache(work, tool, revision, module)
    if locked is not None and not shipped and _content(cache / "lock.hcl") != locked:
        # planned on another worker, which had got other versions of the providers
        cache = _cache(work, tool, revision, module, locked)
        lock_file.write_bytes(locked)
    if not (cache / "ready").exists():
        async with _host_lock(work / "modules.lock"):
            if not (cache / "ready").exists():
                readonly = _clear(cache, work / "plugins", lock_file)
                await init(cache / "data", work / "plugins", readonly)
                _finish(cache, lock_file, readonly=readonly)
    data = cache / "data"
    if not lock_file.exists() and lock_file_of(data).exists():
        lock_file.symlink_to(lock_file_of(data))
    return data


def lock_file_of(data: Path) -> Path:
    """The dependency lock file that init wrote when it prepared that `TF_DATA_DIR`; runs have a link to it.

    Args:
        data: The `TF_DATA_DIR` that `prepare` gave.
    """
    return data.parent / "lock.hcl"


def forget(data: Path) -> None:
    """Drop what was prepared, as when its providers turn out to be gone: the next attempt prepares it again.

    Args:
        data: The `TF_DATA_DIR` that `prepare` gave.
    """
    (data.parent / "ready").unlink(missing_ok=True)


def _clear(cache: Path, plugins: Path, lock_file: Path) -> bool:
    shutil.rmtree(cache, ignore_errors=True)
    for directory in (cache / "data", plugins):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return lock_file.exists()


def _finish(cache: Path, lock_file: Path, *, readonly: bool) -> None:
    if not readonly and lock_file.exists():
        shutil.copyfile(lock_file, cache / "lock.hcl")
    (cache / "ready").touch()


def _cache(work: Path, tool: Tool, revision: str, module: str, locked: bytes = b"") -> Path:
    text = f"{_LAYOUT}\0{tool.identity}\0{revision}\0{module}\0".encode()
    return work / "modules" / hashlib.sha256(text + locked).hexdigest()[:32]


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


@asynccontextmanager
async def _host_lock(file: Path) -> AsyncIterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = open_lock(file)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                break
        yield
    finally:
        os.close(descriptor)
