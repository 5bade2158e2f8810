"""Headers of every page, and what every form must bring: no script of others, no form of another site."""

from __future__ import annotations

import hmac
from typing import Final

from starlette.datastructures import Headers

from bondstone.base.errors import OriginRefused

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_SAME_SITE: Final = frozenset({"", "same-origin", "none"})


def check_form(headers: Headers, token: str, expected: str) -> None:
    """Refuse a form that another site sent.

    Args:
        headers: Of the request.
        token: What the form carries.
        expected: The session's own.

    Raises:
        OriginRefused: it came from elsewhere, or carries no token of this session.
    """
    if headers.get("sec-fetch-site", "") not in _SAME_SITE:
        raise OriginRefused("the form was sent by another site", hint="use the console's own pages")
    if not hmac.compare_digest(token.encode(), expected.encode()):
        raise OriginRefused(
            "the form belongs to another session", hint="load the page again, and send the form from there"
        )


def safe_return(path: str) -> str:
    """Where to go after signing in: a path of this site, never another site."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path else "/"
