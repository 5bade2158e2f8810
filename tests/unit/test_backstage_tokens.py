"""Tokens of Backstage: both layers are checked, and whoever has no person behind it only reads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.errors import TokenAudience, TokenExpired, TokenForeign, TokenInvalid, Unreachable
from bondstone.identity.access import Access, permissions_of
from bondstone.identity.backstage_tokens import PERSON_TYPE, PLUGIN_TYPE, BackstageTokens, is_backstage_token
from bondstone.identity.issuer_keys import IssuerKeys
from bondstone.model.identity import AccessDocument, Target

Answering = Callable[[httpx2.Request], httpx2.Response]
URL = "https://backstage.example"
PLUGIN_KEY, PERSON_KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))


def signed(kind: str, key=PLUGIN_KEY, kid: str = "k1", **claims: object) -> str:
    now = int(time.time())
    return jwt.encode(
        {"iat": now, "exp": now + 3600, **claims}, key, algorithm="ES256", headers={"typ": kind, "kid": kid}
    )


def person(sub: str = "user:default/ada", **more: object) -> str:
    return signed(PERSON_TYPE, PERSON_KEY, sub=sub, **more)


def plugin(**more: object) -> str:
    return signed(PLUGIN_TYPE, **{"sub": "scaffolder", "aud": "bondstone", **more})


def jwks(key) -> dict:
    return {"keys": [{**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "k1", "alg": "ES256"}]}


def answers(request: httpx2.Request) -> httpx2.Response:
    match request.url.path:
        case "/api/scaffolder/.backstage/auth/v1/jwks.json":
            return httpx2.Response(200, json=jwks(PLUGIN_KEY))
        case "/api/auth/.well-known/jwks.json":
            return httpx2.Response(200, json=jwks(PERSON_KEY))
        case "/api/catalog/entities/by-name/user/default/ada":
            assert request.headers["authorization"] == "Bearer catalog-token"
            member = {"type": "memberOf", "targetRef": "group:default/payments"}
            other = {"type": "ownerOf", "targetRef": "group:default/admins"}
            elsewhere = {"type": "memberOf", "targetRef": "group:other/admins"}
            return httpx2.Response(200, json={"relations": [member, other, elsewhere]})
        case _:
            return httpx2.Response(404)


def tokens(
    tmp_path: Path, answer: Callable[..., httpx2.Response] = answers, **settings: object
) -> BackstageTokens:
    (tmp_path / "catalog").write_text("catalog-token\n")
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    backstage = BackstageSettings.model_validate(
        {"url": URL, "feed_token_file": "feed", "catalog_token_file": tmp_path / "catalog", **settings}
    )
    return BackstageTokens(backstage, IssuerKeys(client), client)


async def test_a_person_behind_a_plugin_is_the_caller_with_their_groups(tmp_path):
    one = tokens(tmp_path, person="{name}@example.com", group="{name}")
    principal = await one.principal(plugin(obo=person()))
    assert (principal.subject, principal.means, principal.groups) == (
        "ada@example.com",
        "backstage",
        ("payments",),
    )
    assert not principal.reads_only
    assert not principal.may_assert


async def test_without_a_person_nothing_changes_whatever_the_access_document_says(tmp_path):
    principal = await tokens(tmp_path).principal(plugin())
    assert principal.subject == "backstage:scaffolder"
    document = AccessDocument.model_validate(
        {
            "apiVersion": "bondstone.dev/v1",
            "kind": "Access",
            "spec": {"grants": [{"subjects": [{"anyone": True}], "roles": ["admin"], "scope": "everything"}]},
        }
    )
    allowed = permissions_of(Access(document), principal)
    assert allowed.decide("service.read").allowed
    refused = allowed.decide("service.request", Target(team="payments"))
    assert not refused.allowed
    assert "nobody is signed in" in refused.message


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (lambda: plugin(aud="catalog", obo=person()), TokenAudience),
        (lambda: plugin(sub="kubernetes", obo=person()), TokenForeign),
        (lambda: plugin(exp=int(time.time()) - 120, obo=person()), TokenExpired),
        (lambda: plugin(obo=person(exp=int(time.time()) - 120)), TokenExpired),
        (lambda: plugin(obo=person(exp=int(time.time()) + 40 * 3600)), TokenInvalid),
        (lambda: plugin(obo=person("user:partners/ada")), TokenForeign),
        (lambda: plugin(obo=person("group:default/ada")), TokenForeign),
        (lambda: plugin(obo=signed(PERSON_TYPE, OTHER_KEY, sub="user:default/ada")), TokenForeign),
        (lambda: plugin(obo=signed("vnd.backstage.user", PERSON_KEY, sub="user:default/ada")), TokenInvalid),
        (lambda: plugin(obo="nonsense"), TokenInvalid),
        (lambda: signed(PLUGIN_TYPE, OTHER_KEY, sub="scaffolder", aud="bondstone"), TokenForeign),
        (lambda: signed(PLUGIN_TYPE, kid="k9", sub="scaffolder", aud="bondstone"), TokenForeign),
    ],
)
async def test_what_is_wrong_with_either_layer_is_told_apart(tmp_path, token, error):
    with pytest.raises(error):
        await tokens(tmp_path).principal(token())


async def test_tokens_for_the_proxy_count_only_where_calls_come_through_it(tmp_path):
    through = plugin(aud="proxy", obo=person())
    with pytest.raises(TokenAudience):
        await tokens(tmp_path).principal(through)
    one = tokens(tmp_path, proxy="/bondstone", person="{name}@example.com")
    assert (await one.principal(through)).subject == "ada@example.com"
    with pytest.raises(TokenAudience):
        await one.principal(plugin(aud="catalog", obo=person()))


async def test_without_a_token_for_the_catalog_nobody_has_groups(tmp_path):
    assert (await tokens(tmp_path, catalog_token_file=None).principal(plugin(obo=person()))).groups == ()


async def test_a_backstage_that_is_away_is_no_reason_to_let_somebody_in(tmp_path):
    def away(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(503)

    with pytest.raises(Unreachable):
        await tokens(tmp_path, away).principal(plugin(obo=person()))


def test_only_tokens_of_plugins_are_taken_for_such():
    assert is_backstage_token(plugin())
    assert not is_backstage_token(person())
    assert not is_backstage_token("a.b.c")
