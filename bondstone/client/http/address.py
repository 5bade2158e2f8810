"""Which API a client speaks to, and with which token. Imports almost nothing, so that commands start fast.

Found where `bondstone.base.settings` finds the setting `api`: `BOND_API`, `bond.toml`, the file that `bond up`
wrote into the data directory. An address of Temporal in the environment wins over that file. `BOND_TOKEN` is the
credential, else the token of the data directory, which is only ever sent to the API that its own platform named.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.data_directory import LOCAL_TOKEN_FILE, PLATFORM_FILE, default_data_dir

if TYPE_CHECKING:
    from bondstone.base.settings import Settings

TOKEN_VARIABLE: Final = "BOND_TOKEN"  # noqa: S105 - the name of it


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """An API that a client may speak to."""

    url: str
    """Without `/api/v1`."""
    token: str
    """Empty where there is none."""


def find_api(data: Path | None = None, values: Mapping[str, Any] | None = None) -> ApiAddress | None:
    """The API that the environment names; None where a client speaks to Temporal directly.

    Args:
        data: The data directory, where the caller names one.
        values: Settings that the caller gives, as of a context: before everything else.
    """
    given = values or {}
    if "temporal_address" in given and "api" not in given:
        return None
    written = _toml()
    directory = data or Path(written.get("data") or default_data_dir())
    token = os.environ.get(TOKEN_VARIABLE, "")
    own = _platform_api(directory)
    named = given.get("api", os.environ.get("BOND_API", written.get("api")))
    if named is None:
        if os.environ.get("BOND_TEMPORAL_ADDRESS") or written.get("temporal_address"):
            return None
        named = own
    if not named:
        return None
    if not token and _same(named, own):
        token = _local_token(directory)
    if not token and named == own:
        return None
    return ApiAddress(named.rstrip("/"), token)


def find_api_of(settings: Settings) -> ApiAddress | None:
    """The API that settings name, where there is a token for it.

    Args:
        settings: Of the client.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token and _same(settings.api, _platform_api(settings.data)):
        token = _local_token(settings.data)
    return ApiAddress(settings.api.rstrip("/"), token) if settings.api and token else None


def _same(url: str, other: str) -> bool:
    return bool(url) and url.rstrip("/") == other.rstrip("/")


def _platform_api(data: Path) -> str:
    try:
        settings = json.loads((data / PLATFORM_FILE).read_bytes())["settings"]
        return str(settings.get("api") or "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def _local_token(data: Path) -> str:
    try:
        return (data / LOCAL_TOKEN_FILE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _toml() -> dict[str, Any]:
    try:
        return tomllib.loads(Path(os.environ.get("BOND_CONFIG", "bond.toml")).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # `Settings` says what is wrong with it
