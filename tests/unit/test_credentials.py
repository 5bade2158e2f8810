"""Credentials: which are accepted, and the code and words of each that is not. All keys are the tests' own."""

import asyncio
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.errors import (
    AlreadyExists,
    SettingsInvalid,
    StoreUnavailable,
    TokenAudience,
    TokenExpired,
    TokenForeign,
    TokenInvalid,
    TokenNotYetValid,
    TokenReplayed,
    TokenRevoked,
    TokenUnsigned,
    Unauthenticated,
    Unreachable,
)
from bondstone.base.settings import Settings
from bondstone.identity.access import decide
from bondstone.identity.authenticator import Authenticator
from bondstone.identity.issuer_keys import IssuerKeys
from bondstone.identity.local_token import ensure_local_token
from bondstone.model.identity import Principal, Roles, Scope, Target
from bondstone.store.store import Store
from bondstone.workers.api import keep_swept

ISSUER = "https://id.example.com"
CI = "https://ci.example.com"


def key_pair(key_id: str, private=None):
    private = private or ec.generate_private_key(ec.SECP256R1())
    kind = (
        jwt.algorithms.ECAlgorithm
        if isinstance(private, ec.EllipticCurvePrivateKey)
        else jwt.algorithms.RSAAlgorithm
    )
    public = kind.to_jwk(private.public_key(), as_dict=True)
    return private, {**public, "kid": key_id, "use": "sig"}


KEY, PUBLIC = key_pair("k1")
OTHER, _ = key_pair("k1")


def token(key=KEY, *, algorithm="ES256", key_id="k1", header=None, **claims) -> str:
    now = datetime.now(UTC)
    body = {
        "iss": ISSUER,
        "aud": "bondstone",
        "sub": "ada",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        **claims,
    }
    body = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(body, key, algorithm=algorithm, headers={"kid": key_id, **(header or {})})


@pytest.fixture
async def platform(tmp_path):
    """A function that opens an authenticator with issuer settings of the test's choice."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [PUBLIC]}))

    async def open_with(*, local=False, admins=(), **issuer) -> Authenticator:
        person = {"issuer": ISSUER, "client_id": "bondstone", "algorithms": ["ES256"], "keys_file": keys, **issuer}
        settings = Settings.load(data=tmp_path, store="memory:///", issuers=[person], admins=admins)
        if local:
            ensure_local_token(tmp_path)
        return await Authenticator.open(settings, await Store.open(settings, create_keys=True))

    return open_with


async def caller(authenticator: Authenticator, text: str) -> Principal:
    return await authenticator.principal(authorization=f"Bearer {text}")


async def test_a_token_of_a_trusted_issuer_is_its_subject_with_groups_and_claims(platform):
    authenticator = await platform(groups_claim="groups", subject_claim="email")
    principal = await caller(
        authenticator, token(email="ada@example.com", email_verified=True, groups=["dba"], name="Ada", x={"y": 1})
    )
    assert (principal.subject, principal.means, principal.issuer) == ("ada@example.com", "oidc", ISSUER)
    assert (principal.groups, principal.display_name) == (("dba",), "Ada")
    assert "x" not in principal.claims
    assert principal.claims["sub"] == "ada"


def moment(minutes: float) -> datetime:
    """That many minutes from now: from when a test runs, which may be long after this file was read."""
    return datetime.now(UTC) + timedelta(minutes=minutes)


@pytest.fixture
def now() -> datetime:
    return moment(0)


REFUSED = {
    "expired": (lambda: token(exp=moment(-2)), TokenExpired, "expired at"),
    "expired, by a clock five minutes off": (
        lambda: token(iat=moment(-10), exp=moment(-5)),
        TokenExpired,
        "and it is",
    ),
    "issued in five minutes": (
        lambda: token(iat=moment(5), exp=moment(10)),
        TokenNotYetValid,
        "valid from",
    ),
    "not before": (lambda: token(nbf=moment(5)), TokenNotYetValid, "valid from"),
    "another audience": (lambda: token(aud="grafana"), TokenAudience, "grafana"),
    "another client's": (lambda: token(azp="grafana"), TokenAudience, "grafana"),
    "no audience": (lambda: token(aud=None), TokenInvalid, "`aud`"),
    "no end": (lambda: token(exp=None), TokenInvalid, "`exp`"),
    "too long": (lambda: token(exp=moment(9 * 24 * 60)), TokenInvalid, "24 hours"),
    "another issuer": (lambda: token(iss="https://evil.example.com"), TokenForeign, "evil.example.com"),
    "another key of that name": (lambda: token(OTHER), TokenForeign, "not signed by"),
    "an unknown key": (lambda: token(key_id="k2"), TokenForeign, "'k2'"),
    "a key it brings along": (
        lambda: token(OTHER, key_id="", header={"jwk": key_pair("x", OTHER)[1]}),
        TokenForeign,
        "not signed by",
    ),
    "unsigned": (lambda: token("", algorithm="none"), TokenUnsigned, "alg: none"),
    "its signature cut off": (lambda: token().rpartition(".")[0] + ".", TokenUnsigned, "not signed"),
    "signed with the public key as a secret": (
        lambda: token(json.dumps(PUBLIC) + "x" * 32, algorithm="HS256"),
        TokenInvalid,
        "HS256",
    ),
    "another algorithm": (
        lambda: token(rsa.generate_private_key(65537, 2048), algorithm="RS256"),
        TokenInvalid,
        "RS256",
    ),
    "nobody's": (lambda: token(sub=None), TokenInvalid, "'sub'"),
    "a name of the platform's own": (lambda: token(sub="token:ci"), TokenInvalid, "platform's own"),
    "not a token": (lambda: "a.b.c", TokenInvalid, "cannot be read"),
    "some text": (lambda: "hunter2", TokenInvalid, "does not know the token"),
    "too large": (lambda: token(x="y" * 20_000), TokenInvalid, "16 KiB"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_wrong_with_a_token_is_refused_with_its_code_and_words(platform, name):
    make, kind, words = REFUSED[name]
    with pytest.raises(Unauthenticated) as refusal:
        await caller(await platform(), make())
    assert type(refusal.value) is kind
    assert words in refusal.value.message
    assert refusal.value.http_status == 401


async def test_an_address_that_is_not_verified_names_nobody(platform):
    authenticator = await platform(subject_claim="email")
    with pytest.raises(TokenInvalid, match="not verified"):
        await caller(authenticator, token(email="ada@example.com"))


async def test_a_token_that_is_good_once_is_good_once(platform):
    authenticator = await platform(once=True)
    single = token(jti="1")
    assert (await caller(authenticator, single)).subject == "ada"
    with pytest.raises(TokenReplayed):
        await caller(authenticator, single)
    assert (await caller(authenticator, token(jti="2"))).subject == "ada"
    with pytest.raises(TokenInvalid, match="jti"):
        await caller(authenticator, token())


async def test_a_token_of_a_sign_in_is_of_this_sign_in(platform):
    tokens = (await platform()).web_tokens
    assert (await tokens.principal(token(nonce="n-1"), nonce="n-1")).subject == "ada"
    for other in (token(nonce="n-2"), token()):
        with pytest.raises(TokenReplayed, match="another sign-in"):
            await tokens.principal(other, nonce="n-1")


async def test_required_claims_and_prefixes_of_workloads(platform):
    authenticator = await platform(
        client_id="", audience=["bondstone"], required_claims={"owner": "acme"}, subject_prefix="ci:"
    )
    principal = await caller(authenticator, token(owner="acme", sub="repo:acme/orders"))
    assert (principal.subject, principal.means) == ("ci:repo:acme/orders", "workload")
    with pytest.raises(TokenForeign, match="owner=acme"):
        await caller(authenticator, token(owner="evil"))


def test_two_issuers_cannot_speak_for_the_same_subjects(tmp_path):
    one, two = ({"issuer": url, "audience": ["b"]} for url in (ISSUER, CI))
    with pytest.raises(SettingsInvalid, match="subject_prefix"):
        Settings.load(data=tmp_path, issuers=[one, two])
    assert len(Settings.load(data=tmp_path, issuers=[one, {**two, "subject_prefix": "ci:"}]).issuers) == 2
    with pytest.raises(SettingsInvalid, match="https"):
        Settings.load(data=tmp_path, issuers=[{"issuer": "http://id.example.com", "audience": ["b"]}])
    with pytest.raises(SettingsInvalid, match="Input should be"):
        Settings.load(data=tmp_path, issuers=[{**one, "algorithms": ["HS256"]}])


async def test_the_local_token_is_private_and_its_holder_administrator(platform, tmp_path):
    authenticator = await platform(local=True)
    text = (tmp_path / LOCAL_TOKEN_FILE).read_text().strip()
    assert stat.S_IMODE((tmp_path / LOCAL_TOKEN_FILE).stat().st_mode) == 0o600
    principal = await caller(authenticator, text)
    assert principal.means == "local"
    assert decide(await authenticator.access(), principal, "access.publish").allowed
    with pytest.raises(TokenInvalid):
        await caller(authenticator, text + "x")
    assert ensure_local_token(tmp_path) == text
    (tmp_path / LOCAL_TOKEN_FILE).chmod(0o644)
    with pytest.raises(SettingsInvalid, match="others may read"):
        await platform(local=True)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "not signed in"),
        ("Basic YWRhOng=", "not `Bearer"),
        ("Bearer", "not `Bearer"),
        ("Bearer  ", "not `Bearer"),
    ],
)
async def test_without_a_bearer_token_nobody_is_known(platform, header, words):
    authenticator = await platform()
    with pytest.raises(Unauthenticated, match=words):
        await authenticator.principal(authorization=header)


async def test_api_tokens_are_kept_as_hashes_used_listed_revoked_and_expire(platform, now):
    authenticator = await platform()
    tokens, objects = authenticator.store.tokens, authenticator.store.objects
    grant = Roles(roles=("developer",), scope=Scope(teams=("payments",)))
    record, text = await tokens.create("ci", (grant,), by="ada", now=now, lifetime=timedelta(days=90))
    kept = b"".join([await objects.get(info.key) for info in await objects.list("tokens")])
    assert text.split("_", 2)[2].encode() not in kept  # the secret may have a `_` in it
    assert text.encode() not in kept

    principal = await caller(authenticator, text)
    assert (principal.subject, principal.token_id) == ("token:ci", record.id)
    access = await authenticator.access()
    assert decide(access, principal, "service.update", Target(team="payments")).allowed
    assert not decide(access, principal, "service.update", Target(team="shop")).allowed
    assert (await tokens.named("ci")).last_used_at is not None

    with pytest.raises(AlreadyExists):
        await tokens.create("ci", (), by="ada", now=now)
    with pytest.raises(TokenInvalid):
        await caller(authenticator, text[:-1] + ("A" if text[-1] != "A" else "B"))
    await tokens.revoke(record.id, by="ada", now=now)
    with pytest.raises(TokenRevoked, match="by ada"):
        await caller(authenticator, text)

    second, text = await tokens.create(
        "ci", (), by="ada", now=now - timedelta(hours=2), lifetime=timedelta(hours=1)
    )
    with pytest.raises(TokenExpired, match="has expired"):
        await caller(authenticator, text)
    assert [each.status(now) for each in await tokens.list()] == ["revoked", "expired"]
    assert (await tokens.named("ci")).id == second.id


async def test_of_two_who_make_a_token_of_one_name_one_does(platform, now):
    tokens = (await platform()).store.tokens
    made = await asyncio.gather(
        *(tokens.create("ci", (), by=str(number), now=now) for number in range(8)), return_exceptions=True
    )
    assert sum(not isinstance(each, Exception) for each in made) == 1
    assert len(await tokens.list()) == 1


async def test_sessions_last_while_they_are_used_and_end(platform, now):
    authenticator = await platform()
    sessions = authenticator.store.sessions
    ada = Principal(subject="ada", means="oidc")
    cookie, session = await sessions.begin(ada, now=now)
    assert (await authenticator.principal(session=cookie)).subject == "ada"
    used = await sessions.get(cookie, now=now + timedelta(minutes=50))
    assert used.expires_at == now + timedelta(minutes=110)
    with pytest.raises(TokenExpired):
        await sessions.get(cookie, now=now + timedelta(hours=3))
    for half_hours in range(1, 24):
        await sessions.get(cookie, now=now + timedelta(minutes=30) * half_hours)
    with pytest.raises(TokenExpired):  # however much it is used
        await sessions.get(cookie, now=now + timedelta(hours=12))
    other, _ = await sessions.begin(ada, now=now)
    await sessions.end(other)
    with pytest.raises(TokenInvalid, match="ended"):
        await authenticator.principal(session=other)
    with pytest.raises(TokenInvalid):
        await authenticator.principal(session="../../keys")
    assert session.csrf != (await sessions.begin(ada, now=now))[1].csrf


async def test_a_code_is_good_once_for_one_of_many_and_not_for_long(platform, now):
    sessions = (await platform()).store.sessions
    code = await sessions.issue_code(Principal(subject="ada", means="local"), now=now)
    won = await asyncio.gather(
        *(sessions.redeem(code, Principal, now=now) for _ in range(8)), return_exceptions=True
    )
    assert [each.subject for each in won if isinstance(each, Principal)] == ["ada"]
    assert sum(isinstance(each, TokenReplayed) for each in won) == 7
    late = await sessions.issue_code(Principal(subject="ada", means="local"), now=now)
    with pytest.raises(TokenExpired):
        await sessions.redeem(late, Principal, now=now + timedelta(hours=1))
    with pytest.raises(TokenInvalid):
        await sessions.redeem("made-up", Principal, now=now)
    assert await sessions.sweep(now=now + timedelta(days=3)) == 3
    assert await sessions.sweep(now=now + timedelta(days=3)) == 0


async def test_administrators_of_the_settings_need_no_document(platform):
    authenticator = await platform(admins=["user:ada"])
    principal = await caller(authenticator, token())
    assert decide(await authenticator.access(), principal, "access.publish").allowed
    with pytest.raises(SettingsInvalid, match="does not name an administrator"):
        await platform(admins=["ada"])


async def test_keys_come_by_discovery_rotate_and_outlive_their_issuer(tmp_path):
    """One request for a new key, none for made-up ones, and the known ones while the issuer is away."""
    requests: list[str] = []
    published = [PUBLIC]
    app = web.Application()

    async def discovery(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.json_response({"issuer": base, "jwks_uri": f"{base}/keys"})

    async def keys(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.json_response({"keys": published})

    app.add_routes([web.get("/.well-known/openid-configuration", discovery), web.get("/keys", keys)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = Settings.load(
        data=tmp_path,
        store="memory:///",
        issuers=[{"issuer": base, "client_id": "bondstone", "algorithms": ["ES256"]}],
    )
    source = IssuerKeys()
    authenticator = Authenticator(await Store.open(settings, create_keys=True), settings, keys=source)
    try:
        assert (await caller(authenticator, token(iss=base))).subject == "ada"
        assert requests == ["/.well-known/openid-configuration", "/keys"]
        for number in range(20):
            with pytest.raises(TokenForeign):
                await caller(authenticator, token(iss=base, key_id=f"made-up-{number}"))
        assert len(requests) == 2
        new, public = key_pair("k2")
        published.append(public)
        source._known[base].tried -= 60  # half a minute later
        assert (await caller(authenticator, token(new, iss=base, key_id="k2"))).subject == "ada"
        assert requests[2:] == ["/keys"]
    finally:
        await runner.cleanup()
    source._known[base].fetched -= 3600
    source._known[base].tried -= 3600
    assert (await caller(authenticator, token(iss=base))).subject == "ada"
    source._known[base].fetched -= 2 * 86400
    source._known[base].tried -= 3600
    with pytest.raises(Unreachable):
        await caller(authenticator, token(iss=base, key_id="k3"))
    await authenticator.close()


def test_no_secret_of_a_token_is_in_the_environment_of_children(tmp_path):
    settings = Settings.load(
        data=tmp_path, issuers=[{"issuer": ISSUER, "client_id": "bondstone"}], admins=["user:ada"]
    )
    with patch.dict(os.environ, dict(settings.as_environment())):
        again = Settings.load()
    assert again.issuers == settings.issuers
    assert again.admins == ("user:ada",)


async def test_the_api_process_sweeps_now_and_again_also_after_the_store_was_away():
    class Sweeps:
        """Sessions whose store fails at first."""

        def __init__(self):
            self.count = 0
            self.again = asyncio.Event()

        async def sweep(self, *, now):
            assert now.tzinfo is not None
            self.count += 1
            if self.count == 1:
                raise StoreUnavailable("away")
            self.again.set()
            return 0

    sweeps = Sweeps()
    task = asyncio.create_task(keep_swept(sweeps, every_seconds=0.01))
    await asyncio.wait_for(sweeps.again.wait(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
