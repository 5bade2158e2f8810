"""Why a connection failed, in words: without Python's numbers of errors and names of classes."""

from __future__ import annotations

import os
import re
from typing import Final

_NUMBER: Final = re.compile(r"\[Errno -?\d+\] ?")


def connection_words(error: BaseException) -> str:
    """What a failure of the network says: `Connection refused` instead of `[Errno 111] Connection refused`.

    Args:
        error: Of a socket, or of a library that passes on what its socket said.
    """
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, TimeoutError):
        return str(error) or "it took too long"
    return _NUMBER.sub("", str(error)).strip() or type(error).__name__
