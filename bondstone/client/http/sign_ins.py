"""Sign-ins of this machine's user, one for each API, in a file of the user's configuration directory, mode 0600.

This imports almost nothing, so that commands start fast; `login` renews them, and loads the protocol.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

EARLY_SECONDS: Final = 30.0
"""A token is renewed so long before it expires."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """What `bond login` keeps."""

    issuer: str
    client_id: str
    id_token: str
    refresh_token: str
    """Empty where the provider gave none."""
    expires_at: float
    """Of the ID token, seconds since 1970."""

    def is_fresh(self) -> bool:
        """Whether the token is still good for a request."""
        return time.time() < self.expires_at - EARLY_SECONDS


def sign_ins_file() -> Path:
    """The file: `sign-ins.json`, beside that of the contexts."""
    from bondstone.base.contexts import contexts_file  # noqa: PLC0415 - only where somebody may be signed in

    return contexts_file().with_name("sign-ins.json")


def sign_in_of(url: str) -> SignIn | None:
    """The sign-in for an API; None when there is none.

    Args:
        url: Of the API.
    """
    return _read().get(url.rstrip("/"))


def keep(url: str, sign_in: SignIn) -> None:
    """Keep a sign-in, in place of any other for that API."""
    with _locked():
        _write({**_read(), url.rstrip("/"): sign_in})


def forget(url: str) -> SignIn | None:
    """Forget the sign-in for an API; what was forgotten."""
    with _locked():
        known = dict(_read())
        removed = known.pop(url.rstrip("/"), None)
        if removed is not None:
            _write(known)
    return removed


def renewed_token(url: str, renew: Callable[[SignIn], SignIn]) -> str:
    """The token for an API after it was renewed, unless another process did that; empty when nobody is signed in.

    One process renews at a time: many providers take a refresh token once, and a second use ends the sign-in.

    Args:
        url: Of the API.
        renew: Has the provider renew a sign-in. May block.
    """
    with _locked():
        sign_in = sign_in_of(url)
        if sign_in is not None and not sign_in.is_fresh():
            sign_in = renew(sign_in)
            _write({**_read(), url.rstrip("/"): sign_in})
    return sign_in.id_token if sign_in else ""


def with_tokens(sign_in: SignIn, id_token: str, refresh_token: str) -> SignIn:
    """The sign-in with new tokens of the same provider."""
    return replace(sign_in, id_token=id_token, refresh_token=refresh_token, expires_at=expiry_of(id_token))


def expiry_of(token: str) -> float:
    """The `exp` of a JWT, which the API checks; 0 when it has none that can be read."""
    import base64  # noqa: PLC0415 - not for each command

    try:
        claims = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return 0.0


def _read() -> Mapping[str, SignIn]:
    try:
        held: Any = json.loads(sign_ins_file().read_text(encoding="utf-8"))
        return {str(url): SignIn(**values) for url, values in held.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(known: Mapping[str, SignIn]) -> None:
    from bondstone.base.files import create_private_directory, write_durably  # noqa: PLC0415 - as above

    path = sign_ins_file()
    create_private_directory(path.parent)
    held = {url: asdict(sign_in) for url, sign_in in known.items()}
    write_durably(path.parent, path.name, json.dumps(held, indent=2).encode() + b"\n", create=False)


@contextmanager
def _locked() -> Iterator[None]:
    from bondstone.base.files import create_private_directory, open_lock  # noqa: PLC0415 - as above

    path = sign_ins_file().with_suffix(".lock")
    create_private_directory(path.parent)
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
