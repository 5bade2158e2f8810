"""A person at the pages of npm's oidc-provider: fills in its forms until there is none."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin

import httpx2

MAX_PAGES: Final = 12


class _Form(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._ended = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the form and its fields."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = values.get("action", "")
        elif tag in {"input", "button"} and self.action is not None and not self._ended and "name" in values:
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """The first form has ended."""
        self._ended = self._ended or tag == "form"


def new_browser() -> httpx2.Client:
    """What keeps cookies and follows redirects."""
    return httpx2.Client(follow_redirects=True, trust_env=False, timeout=30)


def signs_in(
    url: str, login: str, *, agrees: bool = True, browser: httpx2.Client | None = None
) -> httpx2.Response:
    """Open an address and do what its pages ask for; the last page.

    Args:
        url: Where the sign-in begins.
        login: Who it is.
        agrees: Confirm the code of a device; else abort.
        browser: Whose cookies are kept, as those of a session that begins; by default one for this alone.
    """
    if browser is None:
        with new_browser() as new:
            return signs_in(url, login, agrees=agrees, browser=new)
    answer = browser.get(url)
    for _ in range(MAX_PAGES):
        form = _Form(answer.text)
        if form.action is None or answer.is_error:
            return answer
        fields = {**form.fields, **{name: value for name, value in
                  (("login", login), ("password", "any")) if name in form.fields}}  # fmt: skip
        refuses = not agrees and "confirm" in fields
        if refuses:
            fields.pop("confirm")
            fields["abort"] = "yes"
        answer = browser.post(urljoin(str(answer.url), form.action or str(answer.url)), data=fields)
        if refuses:
            return answer
    raise AssertionError(f"the provider asks without end: {answer.url}")
