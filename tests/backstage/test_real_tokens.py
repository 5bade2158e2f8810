"""Tokens that a stock Backstage has made, caught on their way: both layers, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx2
import jwt
import pytest
from lane import sqlite_form

from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.errors import TokenExpired, TokenForeign
from bondstone.identity.backstage_tokens import PERSON_TYPE, PLUGIN_TYPE, BackstageTokens
from bondstone.identity.issuer_keys import IssuerKeys

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


class Later(datetime):
    """A clock that is two hours ahead: Backstage's tokens live for one."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(hours=2)


@pytest.fixture(scope="module")
def caught(pair) -> str:
    """The token of a step that a template has carried out for ada."""
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"), what="the template")
    pair.wire.count_anew()
    elsewhere = {**sqlite_form("caught"), "team": "group:default/data-platform"}
    pair.backstage.create("sqlite-database", elsewhere)
    headers = pair.wire.traffic.authorizations
    return next(value for path, value in headers.items() if "request-service" in path).removeprefix("Bearer ")


def status(pair, token: str) -> int:
    url = f"{pair.platform.settings.api}/backstage/.backstage/actions/v1/actions/list-services/invoke"
    return httpx2.post(url, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=60).status_code


@pytest.fixture
async def verifier(pair) -> AsyncIterator[BackstageTokens]:
    files = pair.backstage.files
    settings = BackstageSettings(
        url=pair.url,
        feed_token_file=files.feed,
        catalog_token_file=files.catalog,
        person="{name}@example.com",
        group="{name}",
    )
    async with httpx2.AsyncClient(timeout=60) as client:
        yield BackstageTokens(settings, IssuerKeys(client), client)


async def test_the_person_inside_is_who_signed_in_at_the_provider(pair, verifier, caught):
    outer = jwt.decode(caught, options={"verify_signature": False})
    assert (outer["sub"], outer["aud"]) == ("scaffolder", "bondstone")
    assert jwt.get_unverified_header(caught)["typ"] == PLUGIN_TYPE
    assert jwt.get_unverified_header(outer["obo"])["typ"] == PERSON_TYPE
    principal = await verifier.principal(caught)
    assert (principal.subject, principal.groups) == ("ada@example.com", ("payments",))
    assert status(pair, caught) == 200


async def test_a_person_whose_session_has_expired_is_refused(verifier, caught, monkeypatch):
    monkeypatch.setattr("jwt.api_jwt.datetime", Later)
    with pytest.raises(TokenExpired):
        await verifier.principal(caught)


async def test_a_token_that_was_changed_or_is_another_is_refused(pair, verifier, caught):
    head, body, signature = caught.split(".")
    swapped = f"{head}.{body}.{signature[:-8]}{'A' * 8}"
    with pytest.raises(TokenForeign):
        await verifier.principal(swapped)
    inner = jwt.decode(caught, options={"verify_signature": False})["obo"]
    personal = pair.backstage.person()["Authorization"].removeprefix("Bearer ")
    agent = pair.backstage.files.agent
    assert [status(pair, each) for each in (swapped, inner, personal, agent)] == [401] * 4
