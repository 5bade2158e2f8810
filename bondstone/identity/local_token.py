"""The token of an embedded platform: whoever can read the data directory is its administrator."""

from __future__ import annotations

import hmac
import secrets
import stat
from pathlib import Path
from typing import Final

from bondstone.base.actor import system_user
from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.errors import SettingsInvalid
from bondstone.base.files import write_private
from bondstone.model.identity import ADMIN, Principal, Roles

PREFIX: Final = "bondlocal_"


def ensure_local_token(data: Path) -> str:
    """The token of a data directory, made 0600 when there is none. `bond up` calls it before the API starts."""
    path = data / LOCAL_TOKEN_FILE
    if not path.exists():
        write_private(path, f"{PREFIX}{secrets.token_urlsafe(32)}\n".encode(), create=True)
    token = read_local_token(data)
    if not token:
        raise SettingsInvalid(
            "the local token is empty", where=str(path), hint="remove the file; `bond up` makes it anew"
        )
    return token


def read_local_token(data: Path) -> str:
    """The token of a data directory; empty when there is none.

    Raises:
        SettingsInvalid: others may read the file.
    """
    path = data / LOCAL_TOKEN_FILE
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsInvalid(
                "others may read the local token", where=str(path), hint=f"chmod 600 {path}, or remove it"
            )
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, PermissionError, UnicodeDecodeError):
        return ""


def is_local_token(text: str, token: str) -> bool:
    """Whether a presented text is the local token."""
    return bool(token) and hmac.compare_digest(text.encode(), token.encode())


def local_principal(name: str = "") -> Principal:
    """The holder of the data directory, an administrator.

    Args:
        name: As whom it acts (`--as NAME`); by default the user of the operating system.
    """
    user = name or system_user()
    grants = (Roles(roles=(ADMIN,), scope=None),)
    return Principal(subject=user, means="local", display_name=user, grants=grants)
