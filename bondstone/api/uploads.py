"""Folders that were uploaded: unpacked where nothing else is; errors name their files as the caller knows them."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bondstone.base.errors import BondError, InvalidInput, ObjectCorrupt, Problem, from_info
from bondstone.promise.bundle import MAX_BUNDLE_BYTES, MAX_FILES, remove, unpack

UPLOADED: Final = "promise"
"""What messages call the folder that was uploaded."""
_MAX_TAR_BYTES: Final = MAX_BUNDLE_BYTES + 4096 * MAX_FILES


@contextmanager
def named_as(directory: Path, name: str) -> Iterator[None]:
    """Errors name files relative to a folder of this process, and the folder by a name.

    Args:
        directory: Where the files were put.
        name: What messages call it.
    """
    try:
        yield
    except BondError as error:
        info = error.info()
        problems = relative(info.problems, directory)
        where = info.where.replace(f"{directory}/", "").replace(str(directory), name)
        raise from_info(info.changed(problems=problems, where=where)) from error


def relative(problems: Iterable[Problem], directory: Path) -> tuple[Problem, ...]:
    """Problems whose files are named relative to a folder of this process."""
    return tuple(problem.changed(file=problem.file.removeprefix(f"{directory}/")) for problem in problems)


@asynccontextmanager
async def unpacked(data: bytes) -> AsyncIterator[Path]:
    """The folder that a body holds, unpacked where nothing else is.

    Args:
        data: A tar, gzipped or not.

    Raises:
        InvalidInput: the body is no such tar, or past the bounds of a promise.
    """
    with TemporaryDirectory(prefix="bond-upload-") as parent:
        directory = Path(parent) / UPLOADED
        try:
            await asyncio.to_thread(_unpack, data, directory)
        except (ObjectCorrupt, OSError, EOFError, tarfile.TarError, zlib.error) as error:
            words = error.message if isinstance(error, ObjectCorrupt) else str(error)[:200]
            raise InvalidInput(
                f"the body is not a promise: {words}",
                where=getattr(error, "where", ""),
                hint="send the folder that holds promise.yaml: `tar -C DIR -czf - .`",
            ) from error
        try:
            yield directory
        finally:
            await asyncio.to_thread(remove, directory)


def packed(files: Mapping[str, bytes]) -> bytes:
    """Files as a tar.

    Args:
        files: Path in the folder to content; `unpacked` refuses paths that leave it.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _unpack(data: bytes, directory: Path) -> None:
    if data[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unzipped:
            data = unzipped.read(_MAX_TAR_BYTES + 1)
    unpack(_files_only(data), directory)


def _files_only(data: bytes) -> bytes:
    """The tar as bundles are: without entries for folders and without `./` before names."""
    if not data:
        raise ObjectCorrupt("it is empty")
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as files,
    ):
        for count, member in enumerate(archive):
            if count > 2 * MAX_FILES:
                raise ObjectCorrupt(f"it has more than {2 * MAX_FILES} entries")
            if member.isdir():
                continue
            if not member.isreg():
                raise ObjectCorrupt("it holds something that is not a regular file", where=member.name)
            plain = tarfile.TarInfo(member.name.removeprefix("./"))
            plain.size, plain.mode = member.size, 0o644
            files.addfile(plain, archive.extractfile(member))
    return out.getvalue()
