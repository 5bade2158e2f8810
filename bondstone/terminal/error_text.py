"""Any exception as an error for people: a code, a sentence, a hint and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from bondstone import __version__
from bondstone.base.errors import BondError, ErrorInfo
from bondstone.base.extras import missing


def explain(error: Exception, log_directory: Path) -> tuple[ErrorInfo, int]:
    """An exception in words, with its exit code; the traceback of an unexpected one goes to a file.

    Args:
        error: What was raised.
        log_directory: Where that file belongs; if it cannot be written there, it is a temporary one.
    """
    if isinstance(error, ModuleNotFoundError):
        error = missing(error.name or "") or error
    if isinstance(error, BondError):
        return error.info(), error.exit_code
    details = _write_details(error, log_directory)
    message = f"unexpected error: {type(error).__name__}"
    hint = f"the details are in {details}" if details else "run again with BOND_DEBUG=1 to see the details"
    return ErrorInfo(code=BondError.code, message=message, hint=hint), BondError.exit_code


def _write_details(error: Exception, log_directory: Path) -> Path | None:
    text = "".join(traceback.format_exception(error))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for directory in (log_directory, Path(tempfile.gettempdir())):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f"bond-error-{stamp}-", suffix=".log", dir=directory)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(f"bond {__version__}, Python {sys.version}\n{text}")
        except OSError:
            continue
        return Path(name)
    return None
