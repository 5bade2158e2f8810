"""Provider packages, verified once for as long as their files stay as they are.

Before each command Terraform reads the whole package of each provider that the dependency lock file names, and
compares it with the checksums there: 700 MB for hashicorp/aws, half a second of CPU for each plan, show and apply.
A worker does that itself once. Afterwards the kernel tells whether a file of the package has changed since, as it
does for revisions. The lock file of a run leaves out the checksums of packages that are verified, so Terraform
does not read them again. What is not verified here, for whatever reason, stays for Terraform to check.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bondstone.base.errors import ToolUnavailable
from bondstone.promise.bundle import folder_stamp

_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_SOURCE: Final = rf"[A-Za-z0-9][A-Za-z0-9.:-]*/{_WORD}/{_WORD}"
_PROVIDER: Final = re.compile(rf'^provider "(?P<source>{_SOURCE})" \{{\n(?P<body>(?:  .*\n)*)\}}\n', re.MULTILINE)
_VERSION: Final = re.compile(r'^  version +?= "(?P<version>[0-9][A-Za-z0-9.+-]*)"\n', re.MULTILINE)
_HASHES: Final = re.compile(r'^  hashes = \[\n(?P<hashes>(?:    "[^"\n]+",\n)+)  \]\n', re.MULTILINE)


class ProviderPackages:
    """The packages that this process has verified, for all runs of a worker."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[str, str]] = {}
        self._hashing = asyncio.Lock()

    async def without_verified(self, lock_file: bytes, data: Path, *, like: bytes | None = None) -> bytes:
        """A dependency lock file without the checksums of the packages that are as it says.

        Args:
            lock_file: As Terraform has written it; what a person has written in other ways is left as it is.
            data: The `TF_DATA_DIR` that has the packages.
            like: The lock file of the plan to be applied, which Terraform demands again: only what that leaves out
                is left out.

        Raises:
            ToolUnavailable: a package is not verified whose checksums that plan leaves out.
        """
        text = lock_file.decode("utf-8", "replace")
        bare = None if like is None else _without_checksums(like.decode("utf-8", "replace"))
        kept: list[str] = []
        end = 0
        for entry in _PROVIDER.finditer(text):
            source, body = entry["source"], entry["body"]
            hashes = _HASHES.search(body)
            if hashes is None or (bare is not None and source not in bare):
                continue
            version = _VERSION.search(body)
            actual = await self._checksum(data / "providers" / source / version["version"]) if version else None
            if actual is None or f'"{actual}"' not in hashes["hashes"]:
                if bare is not None:
                    raise ToolUnavailable(
                        f"the package of the provider {source} is not the one that the plan was made with",
                        where=str(data / "providers" / source),
                        hint="the module is prepared anew; see who changed the package if it happens again",
                    )
                continue
            start = entry.start("body")
            kept.append(text[end : start + hashes.start()])
            end = start + hashes.end()
        return "".join((*kept, text[end:])).encode() if end else lock_file

    async def _checksum(self, version: Path) -> str | None:
        """The checksum of the only package of a version; None when there is none, or it cannot be read."""
        folder = await asyncio.to_thread(_only_package, version)
        if folder is None:
            return None
        async with self._hashing:
            stamp = await asyncio.to_thread(folder_stamp, folder)
            known = self._known.get(folder)
            if stamp is not None and known is not None and known[0] == stamp:
                return known[1]
            checksum = await asyncio.to_thread(package_checksum, folder)
            if checksum is not None and stamp is not None:  # else something has changed in these last seconds
                self._known[folder] = stamp, checksum
            return checksum


def package_checksum(folder: Path) -> str | None:
    """The checksum of a package as lock files have it (`h1:`): that of golang.org/x/mod/sumdb/dirhash.

    Returns:
        None when it holds anything but directories and regular files, or cannot be read.
    """
    try:
        digests = dict(_digests(folder))
    except (OSError, ValueError):
        return None
    whole = hashlib.sha256("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode())
    return f"h1:{base64.b64encode(whole.digest()).decode()}"


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for parent, directories, names in os.walk(folder, onerror=_raise):
        for name in (*directories, *names):
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise ValueError(name)
        for name in names:
            path = Path(parent, name)
            with path.open("rb") as file:
                yield path.relative_to(folder).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()


def _raise(error: OSError) -> None:
    raise error


def _only_package(version: Path) -> Path | None:
    """The package of a version, links followed; None unless there is exactly one, of this machine's platform."""
    try:
        (folder,) = version.iterdir()
        return folder.resolve(strict=True)
    except (OSError, ValueError):
        return None


def _without_checksums(lock_file: str) -> frozenset[str]:
    """The providers of a lock file that have no checksums."""
    entries = _PROVIDER.finditer(lock_file)
    return frozenset(entry["source"] for entry in entries if _HASHES.search(entry["body"]) is None)
