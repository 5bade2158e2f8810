"""Who sends a request."""

from __future__ import annotations

import getpass
import hmac
import os
import secrets
from pathlib import Path
from typing import Final, Protocol

from starlette.requests import HTTPConnection

from bondstone.base.errors import Unauthenticated
from bondstone.model.identity import ADMIN, Principal, Roles

TOKEN_FILE: Final = "api-token"  # noqa: S105 - the name of it


class Authenticator(Protocol):
    """Says who sends a request."""

    async def authenticate(self, connection: HTTPConnection) -> Principal:
        """The caller.

        Raises:
            Unauthenticated: nobody that the platform knows.
        """


class LocalToken:
    """Whoever can read the data directory is its owner.

    Args:
        token: The content of the token file.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    @classmethod
    def of(cls, data: Path) -> LocalToken:
        """Read the token of a data directory; made the first time, mode 0600."""
        path = data / TOKEN_FILE
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_text(encoding="ascii").strip())
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            token = secrets.token_urlsafe(32)
            file.write(token)
        return cls(token)

    async def authenticate(self, connection: HTTPConnection) -> Principal:
        """The owner of the data directory, by `Authorization: Bearer TOKEN`."""
        kind, _, token = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token.encode()):
            return Principal(
                subject=f"local:{getpass.getuser()}", means="local", grants=(Roles(roles=(ADMIN,), scope=None),)
            )
        raise Unauthenticated(
            "the request carries no token that is accepted here",
            hint="send `Authorization: Bearer TOKEN`; that of the embedded platform is in its data directory",
        )
