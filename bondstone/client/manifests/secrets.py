"""Secrets of manifests: a manifest holds none, it says where one comes from. `{$env: NAME}` or `{$file: PATH}`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bondstone.base.errors import InvalidInput

ENVIRONMENT: Final = "$env"
FILE: Final = "$file"
MAX_SECRET_BYTES: Final = 256 * 1024


def is_source(value: Any) -> bool:
    """Whether a value says where a secret comes from."""
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in {ENVIRONMENT, FILE}


def fetch(source: Mapping[str, Any], folder: Path) -> str:
    """The secret that a manifest refers to.

    Args:
        source: As in `{"$env": "DB_PASSWORD"}`.
        folder: That of the manifest: where a relative path begins.

    Raises:
        InvalidInput: it is not there.
    """
    [(kind, name)] = source.items()
    if kind == ENVIRONMENT:
        value = os.environ.get(str(name), "")
        if not value:
            raise InvalidInput(f"the environment variable {name} is not set", hint="it holds a secret input")
        return value
    path = folder / str(name)
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_SECRET_BYTES + 1)
        if len(data) > MAX_SECRET_BYTES:
            raise InvalidInput(f"{path} is larger than {MAX_SECRET_BYTES // 1024} KiB")
        return data.decode("utf-8").removesuffix("\n")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", hint="it holds a secret input") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8 text", hint="it holds a secret input") from None
