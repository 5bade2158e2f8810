"""One path for all runs of a step: what `path.cwd` and `abspath(path.module)` give in a module.

Terraform insists that apply sees the values that plan saw, and a directory that is new for each attempt would
change them each time. So every attempt reaches its own directory by a link whose name depends on the platform and
the step alone, and Terraform is told that name in `PWD`: it takes it for its working directory as long as it leads
there (`os.Getwd` of Go). Where the link cannot be made, Terraform sees the attempt's own directory. The links are
not in `/tmp` if that can be helped: modules may change what is there.

    /var/tmp/bondstone-UID/DIGEST -> work/runs/TEAM/SERVICE/STEP/ATTEMPT
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId

_ROOT: Final = Path("/var/tmp" if os.access("/var/tmp", os.W_OK) else "/tmp")  # noqa: S108
"""Below it, a directory that only this user may write to."""


def step_path(settings: Settings, service: ServiceId, step: str) -> Path:
    """Where every run of a step is reached, on every worker of the platform that runs as the same user.

    Args:
        settings: Of the worker; workers of one platform name its store alike.
        service: Whose step.
        step: Its id.
    """
    text = f"{settings.store_url}\0{service}\0{step}"
    return _ROOT / f"bondstone-{os.getuid()}" / hashlib.sha256(text.encode()).hexdigest()[:32]


def lead_to(link: Path, directory: Path) -> bool:
    """Let a link lead to a directory; the attempt that is started last has it.

    Returns:
        False when that is impossible: there is no such place, or another user may write to it.
    """
    new = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        link.parent.mkdir(mode=0o700, exist_ok=True)
        place = link.parent.lstat()
        if not stat.S_ISDIR(place.st_mode) or place.st_uid != os.getuid() or place.st_mode & 0o022:
            return False
        new.unlink(missing_ok=True)
        new.symlink_to(directory)
        new.replace(link)
    except OSError:
        return False
    return True


def remove(link: Path, directory: Path) -> None:
    """Remove a link, if it still leads to this directory."""
    with suppress(OSError):
        if link.readlink() == directory:
            link.unlink()
