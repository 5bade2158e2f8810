"""Bundles: a promise's folder as one byte string that is the same wherever and whenever it is packed.

A plain tar, so that no version of a compressor changes the digest: regular files only, sorted by name, without
times and owners, mode 0644 all (a script is run by naming its interpreter).
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

from bondstone.base.errors import ObjectCorrupt, Problem, PromiseInvalid, StoreUnavailable

MAX_FILES: Final = 2000
MAX_BUNDLE_BYTES: Final = 32 * 1024 * 1024
MAX_PATH: Final = 300
_SETTLED_NS: Final = 2_000_000_000
IGNORED: Final = (
    ".schemas", ".git", ".hg", ".svn", ".terraform", "__pycache__", ".DS_Store", "*.tfstate", "*.tfstate.*",
    ".terraform.tfstate*", "crash.log", "*.pyc", "*.swp", "*~",
)  # fmt: skip
"""Names that are never part of a revision."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A packed promise."""

    digest: str
    """sha256 of `data`, hex."""
    data: bytes


def pack(directory: Path) -> Bundle:
    """Pack a folder: the same files give the same bytes, whatever their order, times, owners and modes.

    Raises:
        PromiseInvalid: for a link that leads out of the folder or to a folder, for what is not a regular file,
            and past the bounds of count and size.
    """
    root = directory.resolve()
    if not root.is_dir():
        raise PromiseInvalid(f"{directory} is not a folder", hint="name the folder that holds promise.yaml")
    chosen = sorted(_files(root), key=lambda item: item[0])
    if len(chosen) > MAX_FILES:
        raise PromiseInvalid(f"the promise has more than {MAX_FILES} files", where=str(directory))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        total = 0
        for name, path in chosen:
            try:
                total += path.stat().st_size
                if total > MAX_BUNDLE_BYTES:
                    raise _refuse(f"the promise is larger than {MAX_BUNDLE_BYTES >> 20} MiB", name)
                content = path.read_bytes()
            except OSError as error:
                raise _refuse(f"cannot be read: {error.strerror}", name) from error
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    data = out.getvalue()
    return Bundle(hashlib.sha256(data).hexdigest(), data)


def read_member(data: bytes, name: str) -> bytes:
    """One file of a bundle.

    Raises:
        ObjectCorrupt: when it is not there, or the bundle is not one.
    """
    for member, content in _members(data):
        if member == name:
            return content
    raise ObjectCorrupt(f"the bundle holds no {name}")


def files_of(data: bytes) -> dict[str, bytes]:
    """Every file of a bundle, by its path in the folder.

    Raises:
        ObjectCorrupt: as `unpack`.
    """
    return dict(_members(data))


def tree_digest(data: bytes) -> str:
    """What `folder_digest` gives of the folder that a bundle is unpacked to.

    Raises:
        ObjectCorrupt: when the bundle is not one.
    """
    return _tree_digest((name, hashlib.sha256(content).digest()) for name, content in _members(data))


def folder_digest(folder: Path) -> str:
    """A digest of every name and content in a folder; empty when anything but readable files is in it."""
    try:
        return _tree_digest(_files_of(folder))
    except (OSError, ValueError):
        return ""


def folder_stamp(folder: Path) -> str | None:
    """What changes when anything in a folder does, by what the kernel says of each file, without reading any.

    Returns:
        None when something changed in these last seconds: a change in the same tick of the clock would not show,
        so then only `folder_digest` tells. The time of change (ctime) cannot be set by a program.
    """
    whole, newest = hashlib.sha256(), 0
    try:
        for parent, directories, names in os.walk(folder):
            for name in (".", *sorted(directories), *sorted(names)):
                status = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - thousands of them before each run
                whole.update(
                    f"{name}\0{status.st_ino} {status.st_mode} {status.st_size} {status.st_ctime_ns}\n".encode()
                )
                newest = max(newest, status.st_ctime_ns)
    except OSError:
        return None
    return whole.hexdigest() if time.time_ns() - newest > _SETTLED_NS else None


def _files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    count, waiting = 0, [(str(folder), "")]
    while waiting:
        here, prefix = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{name}/"))
                    continue
                count += 1
                if not entry.is_file(follow_symlinks=False) or count > MAX_FILES:
                    raise ValueError(name)
                with open(entry.path, "rb") as file:  # noqa: PTH123 - thousands of them before each run
                    yield name, hashlib.file_digest(file, "sha256").digest()


def _tree_digest(files: Iterable[tuple[str, bytes]]) -> str:
    whole = hashlib.sha256()
    for name, digest in sorted(files):
        whole.update(name.encode() + b"\0" + digest)
    return whole.hexdigest()


def unpack(data: bytes, into: Path) -> None:
    """Unpack a bundle, read-only, all of it or nothing.

    The folder appears by a rename, so a reader never sees half of it; when another process was first, its folder
    is left as it is.

    Raises:
        ObjectCorrupt: when the bundle is not one, holds what a bundle never holds (links, devices, absolute paths,
            paths that leave the folder), or is past the bounds.
        StoreUnavailable: when the disk has no room or cannot be written.
    """
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        _unpack(data, into)
    except OSError as error:
        raise StoreUnavailable(
            f"a revision cannot be unpacked: {error.strerror}",
            where=str(into.parent),
            hint="is the disk full?",
        ) from error


def _unpack(data: bytes, into: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{into.name[:40]}-", dir=into.parent))
    try:
        directories = {temporary}
        for name, content in _members(data):
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            directories.update(parent for parent in target.parents if temporary in parent.parents)
            _write(target, content)
        for directory in sorted(directories, reverse=True):
            if directory != temporary:
                directory.chmod(0o555)
            _sync(directory)
        try:
            temporary.rename(into)
        except OSError:
            if not into.is_dir():
                raise
            return
        into.chmod(0o555)
        _sync(into.parent)
    finally:
        if temporary.exists():
            remove(temporary)


def remove(directory: Path) -> None:
    """Remove an unpacked bundle, which is read-only."""
    for parent, _, _ in os.walk(directory):
        Path(parent).chmod(0o755)
    shutil.rmtree(directory)


def executables(directory: Path) -> list[str]:
    """Files whose executable bit a bundle does not keep."""
    return sorted(name for name, path in _files(directory.resolve()) if os.access(path, os.X_OK))


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    count = 0
    for parent, directories, names in os.walk(root):
        directories[:] = [name for name in directories if not _ignored(name)]
        here = Path(parent)
        for name in directories:
            if (here / name).is_symlink():
                raise _refuse(
                    "a link to a folder is not packed; move or copy the folder", _relative(root, here / name)
                )
        for name in names:
            if _ignored(name):
                continue
            path = here / name
            relative = _relative(root, path)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise _refuse("the link leads out of the promise's folder", relative)
            if not path.is_file():
                raise _refuse("not a regular file", relative)
            if problem := _name_problem(relative):
                raise _refuse(problem, relative)
            count += 1
            if count > MAX_FILES:
                raise _refuse(f"the promise has more than {MAX_FILES} files", relative)
            yield relative, path


def _ignored(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in IGNORED)


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _refuse(message: str, file: str) -> PromiseInvalid:
    return PromiseInvalid("the promise cannot be packed", problems=[Problem(message=message, file=file)])


def _name_problem(name: str) -> str:
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or name != str(pure):
        return "the path leaves the folder"
    if len(name) > MAX_PATH:
        return f"the path is longer than {MAX_PATH} characters"
    if "\\" in name or ":" in name or not name.isprintable():
        return "the name has characters that not every system takes"
    return ""


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files of a bundle, every bound checked."""
    if len(data) > MAX_BUNDLE_BYTES + 4096 * MAX_FILES:
        raise ObjectCorrupt("the bundle is too large")
    names: set[str] = set()
    folders: set[str] = set()
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                if not member.isreg():
                    raise ObjectCorrupt("the bundle holds something that is not a regular file", where=member.name)
                if (problem := _name_problem(member.name)) or member.name in names:
                    raise ObjectCorrupt(f"the bundle holds a bad path: {problem or 'twice'}", where=member.name)
                parents = {str(parent) for parent in PurePosixPath(member.name).parents}
                if parents & names or member.name in folders:
                    raise ObjectCorrupt("the bundle holds a file where a folder is", where=member.name)
                folders |= parents
                names.add(member.name)
                total += member.size
                if len(names) > MAX_FILES or total > MAX_BUNDLE_BYTES:
                    raise ObjectCorrupt("the bundle is larger than a bundle may be")
                content = tar.extractfile(member)
                yield member.name, content.read() if content else b""
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ObjectCorrupt(f"the bundle cannot be read: {error}") from error


def _write(target: Path, content: bytes) -> None:
    with target.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    target.chmod(0o444)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
