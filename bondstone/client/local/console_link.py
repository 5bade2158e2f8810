"""The console's address, with a sign-in for the holder of the data directory."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.errors import Unreachable
from bondstone.base.settings import Settings
from bondstone.identity.local_token import local_principal
from bondstone.store import Store


async def console_link(settings: Settings, target: str = "", *, by: str) -> str:
    """The address of a page of the console.

    Args:
        settings: Name the platform.
        target: `TEAM/NAME`, `TEAM/NAME/op/N` or the name of a campaign; empty for the platform itself.
        by: Who is signed in, where this machine holds the data directory. Elsewhere the console asks.

    Returns:
        The address. With a sign-in it works once, and not for long.

    Raises:
        Unreachable: no API process serves a console.
        StoreUnavailable: the store of sign-ins does not answer.
    """
    if not settings.api:
        raise Unreachable("no API process serves the console here", hint="`bond up` starts one")
    console, page = settings.api.rstrip("/"), _page(target)
    if not (settings.data / LOCAL_TOKEN_FILE).exists():
        return f"{console}{page}"
    store = await Store.open(settings)
    code = await store.sessions.issue_code(local_principal(by), now=datetime.now(UTC))
    return f"{console}/sign-in/code?code={quote(code)}&next={quote(page)}"


def _page(target: str) -> str:
    """The console's path of a service, an operation, a campaign, or home."""
    service, _, number = target.partition("/op/")
    if number:
        return f"/services/{service}/operations/{number}"
    return f"/services/{target}" if "/" in target else f"/campaigns/{target}" if target else "/"
