"""A vote on a wave of a campaign is about the wave and the targets that its page showed."""

from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from bondstone.console.campaigns import campaigns
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles


class Votes:
    """Keeps what it is told of votes; the wave that waits now is another one than the page showed."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, str]] = []

    async def get(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, owner="shop", promise="queue", wave="rest", targets_digest="b" * 64)

    async def approve(self, name: str, wave: str, *, digest: str, **_: object) -> SimpleNamespace:
        self.kept.append(("approve", wave, digest))
        return SimpleNamespace(name=name, effect=())

    async def reject(self, name: str, wave: str, *, digest: str, **_: object) -> SimpleNamespace:
        self.kept.append(("reject", wave, digest))
        return SimpleNamespace(name=name, effect=())


def posted(**fields: str) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": urlencode(fields).encode(), "more_body": False}

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    return Request(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive
    )


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_a_vote_names_the_wave_and_the_targets_that_the_page_showed(verb):
    eve = Principal(subject="eve", means="oidc", grants=(Roles(roles=("approver:sre",), scope=None),))
    votes = Votes()
    bond = SimpleNamespace(campaigns=votes)
    visitor = Visitor(eve, permissions_of(Access(), eve), "token", bond=bond, note=print)
    await campaigns.act(posted(csrf="token", verb=verb, wave="canary", digest="a" * 64), visitor, "cve")
    assert votes.kept == [(verb, "canary", "a" * 64)]
