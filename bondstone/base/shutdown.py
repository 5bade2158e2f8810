"""How processes of ours end."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """End the process now, with everything written out, and without finalizing the interpreter.

    Threads of the Temporal SDK's native core may still be about to take the interpreter's lock; on CPython 3.11 a
    process that finalizes under them now and then aborts (`PyGILState_Release: thread state … must be current`),
    which turns a finished command into exit code 134.
    """
    logging.shutdown()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # none where it was closed at the start
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 1
    os._exit(status)
