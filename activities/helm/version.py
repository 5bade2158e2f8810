"""Which Helm there is: found, asked for its version, and refused in words where it is none that we can drive."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bondstone.activities.tooling.version import first_line
from bondstone.base.errors import ToolFailed, ToolUnavailable

OLDEST: Final = (3, 13)
"""The first whose `--dry-run=server` renders against the cluster and prints the release as JSON."""
NEWEST_MAJOR: Final = 4
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)(\S*)")


@dataclass(frozen=True, slots=True)
class HelmVersion:
    """The version of a Helm that is supported."""

    major: int
    text: str
    """As in `3.22.0`."""

    @property
    def label(self) -> str:
        """Tool and version, as plans record them."""
        return f"helm {self.text}"


_known: dict[tuple[str, int, int], HelmVersion] = {}


async def helm_version(helm: str) -> HelmVersion:
    """The version of a Helm; asked for once, until the file is another.

    Args:
        helm: Path of the binary.

    Raises:
        ToolFailed: when it is older or newer than what is supported.
        ToolUnavailable: when it does not answer.
    """
    file = await asyncio.to_thread(os.stat, helm)
    key = (helm, file.st_mtime_ns, file.st_size)
    if key not in _known:
        _known.clear()
        _known[key] = read_version(await first_line([helm, "version", "--template", "{{.Version}}"]), helm)
    return _known[key]


def read_version(text: str, helm: str) -> HelmVersion:
    """The version that a Helm printed.

    Args:
        text: As in `v3.22.0+gabc`.
        helm: Its path, for the error.

    Raises:
        ToolFailed: when it is none that is supported.
    """
    match = _VERSION.match(text.strip())
    version = text.strip().removeprefix("v")
    if match is None:
        raise ToolFailed(
            f"the version of this Helm cannot be read: {text.strip()[:80]!r}", where=helm, hint=_hint()
        )
    major, minor = int(match[1]), int(match[2])
    if (major, minor) < OLDEST or major > NEWEST_MAJOR:
        raise ToolFailed(f"Helm {version} is not supported", where=helm, hint=_hint())
    return HelmVersion(major, version)


def find_helm(configured: str) -> str:
    """Path of the Helm to run.

    Args:
        configured: `BOND_HELM`; empty for the one on PATH.

    Raises:
        ToolUnavailable: when there is none.
    """
    path = shutil.which(configured or "helm")
    if path is None:
        raise ToolUnavailable(
            f"BOND_HELM names {configured!r}, which is not an executable file"
            if configured
            else "there is no helm on this worker's PATH",
            hint=_hint(),
        )
    return str(Path(path).absolute())


def _hint() -> str:
    oldest = ".".join(map(str, OLDEST))
    return f"install Helm 3 ({oldest} or newer) or 4 on the workers of the pool, or set BOND_HELM to its path"
