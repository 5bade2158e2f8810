"""A data directory as one file, and back."""

from __future__ import annotations

from pathlib import Path

from bondstone.base.settings import Settings
from bondstone.client.documents.platform import BackupDocument
from bondstone.store import backup
from bondstone.store.backup import Backup


def back_up(settings: Settings, file: Path, *, keys: bool = True) -> BackupDocument:
    """Write the data directory into one compressed file, readable by its owner only; its platform may run.

    Args:
        settings: Name the data directory.
        file: Written whole or not at all.
        keys: Put the key rings in.

    Returns:
        What the file holds, and its size in bytes.

    Raises:
        NotFound: the directory holds no embedded platform's data.
        Refused: the file exists.
        StoreUnavailable: the file cannot be written.
    """
    data = settings.data.absolute()
    return _document(backup.back_up(data, file, keys=keys), file, data)


def restore(settings: Settings, file: Path) -> BackupDocument:
    """Make a data directory of a backup.

    Args:
        settings: Name the data directory, which must be missing or empty.
        file: The backup.

    Returns:
        What the file held, and its size in bytes.

    Raises:
        NotFound: there is no such file.
        Refused: the data directory is not empty.
        InvalidInput: the file is no backup, or one of a newer version.
        ObjectCorrupt: the file, or the database in it, is damaged.
    """
    data = settings.data.absolute()
    return _document(backup.restore(file, data), file, data)


def _document(summary: Backup, file: Path, data: Path) -> BackupDocument:
    return BackupDocument(
        file=str(file),
        data=str(data),
        at=summary.at,
        version=summary.version,
        keys=summary.keys,
        size=file.stat().st_size,
    )
