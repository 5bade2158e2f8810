"""Which API a client speaks to, and with which token. Imports almost nothing, so that commands start fast.

Found where `bondstone.base.settings` finds the setting `api`: `BOND_API`, `bond.toml`, the file that `bond up`
wrote into the data directory. An address of Temporal in the environment wins over that file. `BOND_TOKEN` is the
credential, else the token of the data directory, which is only ever sent to the API that its own platform named,
else that of `bond login` at that API.
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
    token: str = ""
    """Empty where there is none."""
    signed_in: bool = False
    """Whether a person is signed in here, whose token is used where there is no other."""

    def bearer(self) -> str:
        """The token to send: that of a person who is signed in is renewed when it must be. May block.

        Raises:
            TokenExpired: the sign-in is over.
            Unreachable: the provider that renews it does not answer.
        """
        if self.token or not self.signed_in:
            return self.token
        from bondstone.client.http import sign_ins  # noqa: PLC0415 - not where there is a token

        sign_in = sign_ins.sign_in_of(self.url)
        if sign_in is not None and sign_in.is_fresh():
            return sign_in.id_token
        from bondstone.client.http.login import renewed  # noqa: PLC0415 - loads the protocol

        return sign_ins.renewed_token(self.url, lambda old: renewed(old, self.url))


def find_api(data: Path | None = None, values: Mapping[str, Any] | None = None) -> ApiAddress | None:
    """The API that the environment names; None where a client speaks to Temporal directly.

    Args:
        data: The data directory, where the caller names one.
        values: Settings that the caller gives, as of a context: before everything else.
    """
    overrides = values or {}
    if "temporal_address" in overrides and "api" not in overrides:
        return None
    written = _toml()
    directory = data or Path(written.get("data") or default_data_dir())
    token = os.environ.get(TOKEN_VARIABLE, "")
    local_api = _platform_api(directory)
    named = overrides.get("api", os.environ.get("BOND_API", written.get("api")))
    if named is None:
        if os.environ.get("BOND_TEMPORAL_ADDRESS") or written.get("temporal_address"):
            return None
        named = local_api
    if not named:
        return None
    if not token and _same(named, local_api):
        token = _local_token(directory)
    signed_in = not token and _is_signed_in(named)
    if not token and not signed_in and named == local_api:
        return None
    return ApiAddress(named.rstrip("/"), token, signed_in)


def find_api_of(settings: Settings) -> ApiAddress | None:
    """The API that settings name, where there is a token for it.

    Args:
        settings: Of the client.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token and _same(settings.api, _platform_api(settings.data)):
        token = _local_token(settings.data)
    signed_in = bool(settings.api) and not token and _is_signed_in(settings.api)
    return (
        ApiAddress(settings.api.rstrip("/"), token, signed_in) if settings.api and (token or signed_in) else None
    )


def _is_signed_in(url: str) -> bool:
    from bondstone.client.http.sign_ins import sign_in_of  # noqa: PLC0415 - not where there is a token

    return sign_in_of(url) is not None


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
