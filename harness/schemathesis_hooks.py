"""What Schemathesis is told about us, loaded by it in its own environment: uploads are bytes as they are."""

from __future__ import annotations

from typing import Any

import schemathesis  # type: ignore[import-not-found] # of the environment that `make schemathesis` makes


@schemathesis.serializer("application/gzip", "application/x-tar")  # type: ignore[untyped-decorator] # has no types here
def upload(_context: Any, value: Any) -> bytes:
    """The body of an upload."""
    return value if isinstance(value, bytes) else str(value).encode()
