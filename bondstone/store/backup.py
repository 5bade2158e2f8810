"""A data directory as one file, and back: what `bond backup` and `bond restore` do.

The database is copied first, as of one moment, by SQLite's own online backup; objects follow. Objects are only
ever added, or removed long after they were needed, so that a store that is a little newer than the database has
all that the database speaks of. A running platform can be backed up.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from bondstone import __version__
from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.errors import InvalidInput, NotFound, ObjectCorrupt, Refused, StoreUnavailable
from bondstone.base.files import create_private

DATABASE: Final = "temporal.db"
SUMMARY: Final = "backup.json"
FORMAT: Final = 1

_LEFT_OUT: Final = (
    "log", "platform.lock", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "work/modules", "work/plugins"
)  # fmt: skip
"""What the next start makes anew, or what is copied in another way."""


class Backup(BaseModel):
    """What a backup says of itself: its first member."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    at: datetime
    origin: str
    """The data directory it was made of."""
    version: str = __version__
    """Of Bondstone."""
    keys: bool
    """Whether key rings are in it: anybody who has the file can read everything then."""


def back_up(data: Path, file: Path, *, keys: bool = True) -> Backup:
    """Write a data directory into one compressed file, for the owner only; whole or not at all.

    Args:
        data: The data directory; its platform may run.
        file: The file to make.
        keys: Put in the key rings, and the token of the API's administrator. Without the rings nothing that is
            sealed can be read, and they must be kept elsewhere; the next start makes another token.

    Raises:
        NotFound: there is no embedded platform's data.
        Refused: the file exists.
        StoreUnavailable: the disk does not take it.
    """
    if not (data / DATABASE).is_file():
        raise NotFound(
            "there is no embedded platform's data here",
            where=str(data),
            hint="name its directory with --data; a platform on servers is backed up with their own tools",
        )
    if file.exists():
        raise Refused(
            "the file exists, and a backup replaces nothing", where=str(file), hint="choose another name"
        )
    summary = Backup(at=datetime.now(UTC), origin=str(data.resolve()), keys=keys)
    staged = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(create_private(staged), "wb") as stream:
            _write(data, stream, summary)
            stream.flush()
            os.fsync(stream.fileno())
        staged.rename(file)
    except OSError as error:
        raise StoreUnavailable(
            f"the backup cannot be written: {error.strerror}", where=str(file), hint="free some space"
        ) from error
    finally:
        staged.unlink(missing_ok=True)
    return summary


def restore(file: Path, data: Path) -> Backup:
    """Make a data directory of a backup; whole or not at all.

    Args:
        file: What `back_up` has written.
        data: The directory to make; it must be missing or empty.

    Raises:
        NotFound: there is no such file.
        Refused: the directory has something in it.
        InvalidInput: the file is no backup, or of a newer version.
        ObjectCorrupt: the file, or the database in it, is damaged.
    """
    if not file.is_file():
        raise NotFound("there is no such file", where=str(file))
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise Refused(
            "the data directory is not empty, and a restore replaces nothing",
            where=str(data),
            hint="name a new directory with --data, or move this one away",
        )
    data.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{data.name}-", dir=data.parent))  # mkdtemp makes it 0700
    try:
        summary = _extract(file, staged)
        check_database(staged / DATABASE)
        for suffix in ("-wal", "-shm"):  # what looking into a database leaves beside it
            (staged / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        if data.exists():
            data.rmdir()
        staged.rename(data)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ObjectCorrupt(
            f"the backup cannot be read to its end: {error}", where=str(file), hint="use another backup"
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return summary


def check_database(database: Path) -> None:
    """Refuse a database that is damaged.

    Raises:
        ObjectCorrupt: it is; with the first thing that SQLite finds.
    """
    try:
        with closing(_open(database)) as connection:
            [answer] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        raise ObjectCorrupt(
            f"Temporal's database is damaged: {answer}", where=str(database), hint="restore it from a backup"
        )


# Helpers ----------------------------------------------------------------------------------------------------


def _write(data: Path, stream: io.BufferedIOBase, summary: Backup) -> None:
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as archive:
        _add_bytes(archive, SUMMARY, summary.model_dump_json(indent=2).encode())
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=data) as scratch:
            copy = Path(scratch) / DATABASE
            with closing(_open(data / DATABASE)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            archive.add(copy, arcname=DATABASE, filter=_private)
        for path in _files(data, keys=summary.keys):
            try:
                archive.add(path, arcname=path.relative_to(data).as_posix(), recursive=False, filter=_private)
            except FileNotFoundError:
                continue  # removed this moment: it was not needed any more


def _files(data: Path, *, keys: bool) -> Iterator[Path]:
    """Regular files in a stable order: what is linked is in the object store, and is linked again."""
    for directory, folders, files in os.walk(data):
        here = Path(directory)
        folders[:] = sorted(
            name
            for name in folders
            if (here / name).relative_to(data).as_posix() not in _LEFT_OUT and not name.startswith(".backup-")
        )
        for name in sorted(files):
            path = here / name
            relative = path.relative_to(data).as_posix()
            is_key = here == data and (name.endswith("keys.json") or name == LOCAL_TOKEN_FILE)
            if relative not in _LEFT_OUT and not path.is_symlink() and path.is_file() and (keys or not is_key):
                yield path


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without who owned it; a file of one hardlink more is a file of its own."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))


def _extract(file: Path, staged: Path) -> Backup:
    try:
        archive = tarfile.open(file, mode="r:gz")  # noqa: SIM115 - a file that is none has words of its own
    except tarfile.ReadError as error:
        raise InvalidInput("that file was not made by `bond backup`", where=str(file)) from error
    with archive:
        first = archive.next()
        content = archive.extractfile(first) if first is not None and first.name == SUMMARY else None
        if content is None:
            raise InvalidInput("that file was not made by `bond backup`", where=str(file))
        try:
            written = json.loads(content.read())
            if int(written.get("format", 0)) > FORMAT:
                raise InvalidInput(
                    f"the backup was made by a newer version ({written.get('version')})",
                    where=str(file),
                    hint="restore it with that version",
                )
            summary = Backup.model_validate(written)
        except (ValueError, ValidationError, AttributeError) as error:
            raise InvalidInput("the backup does not say what it is", where=str(file)) from error
        archive.extractall(staged, filter="data")
    (staged / SUMMARY).unlink()
    return summary


def _open(database: Path) -> sqlite3.Connection:
    """A connection that changes nothing."""
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
