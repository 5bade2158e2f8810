"""A confidential client of a provider: the secret of `client_secret_file` proves it, as the provider takes it."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl

import pytest

from bondstone.base.errors import SettingsInvalid, Unauthenticated
from bondstone.base.issuer_settings import IssuerSettings
from bondstone.identity.issuer_keys import IssuerKeys
from bondstone.identity.provider import Provider

SECRET = "canary/of+the=client"


@contextmanager
def provider(*methods: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A provider that takes these ways of authentication; its issuer, and what its token endpoint was asked."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, document: dict[str, object]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer(200, {
                "issuer": issuer, "jwks_uri": f"{issuer}/keys", "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token", "token_endpoint_auth_methods_supported": list(methods),
            })  # fmt: skip

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            received.append({**form, "authorization": self.headers.get("Authorization", "")})
            basic = self.headers.get("Authorization", "").removeprefix("Basic ")
            secret = base64.b64decode(basic).decode().partition(":")[2] if basic else form.get("client_secret")
            if secret != SECRET:
                self._answer(401, {"error": "invalid_client"})
            else:
                self._answer(200, {"token_type": "Bearer", "access_token": "a", "id_token": "i", "expires_in": 60})

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer, received
    finally:
        server.shutdown()
        server.server_close()


async def redeem(issuer: str, secret_file: Path | None) -> str:
    """The ID token that a sign-in ends with."""
    keys = IssuerKeys()
    client = Provider(IssuerSettings(issuer=issuer, client_id="bondstone", client_secret_file=secret_file), keys)
    attempt = client.begin("http://127.0.0.1:1/sign-in/callback")
    try:
        assert SECRET not in await client.authorization_url(attempt, "state")
        return (await client.redeem(attempt, "a-code")).id_token
    finally:
        await keys.close()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "client-secret"
    file.write_text(f"{SECRET}\n")  # as an editor ends it
    return file


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_the_secret_of_the_file_proves_the_client_in_the_way_the_provider_takes(secret_file, method):
    with provider("private_key_jwt", method) as (issuer, received):
        assert await redeem(issuer, secret_file) == "i"
    [sent] = received
    assert sent["code"] == "a-code"
    assert sent["code_verifier"]
    assert bool(sent["authorization"]) == (method == "client_secret_basic")
    assert ("client_secret" in sent) == (method == "client_secret_post")


async def test_without_the_file_the_client_is_public_and_names_itself_only():
    with (
        provider("client_secret_basic") as (issuer, received),
        pytest.raises(Unauthenticated, match="invalid_client"),
    ):
        await redeem(issuer, None)
    [sent] = received
    assert (sent["client_id"], sent["authorization"]) == ("bondstone", "")
    assert "client_secret" not in sent


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
async def test_a_file_that_cannot_be_read_is_named_and_asks_the_provider_nothing(tmp_path, content):
    file = tmp_path / "absent"
    if content is not None:
        file.write_bytes(content)
    unreadable = pytest.raises(SettingsInvalid, match="the client's secret cannot be read")
    with provider("client_secret_basic") as (issuer, received), unreadable as refusal:
        await redeem(issuer, file)
    assert refusal.value.where == str(file)
    assert received == []


async def test_a_provider_that_refuses_the_secret_does_not_get_it_into_the_message(tmp_path):
    file = tmp_path / "client-secret"
    file.write_text("wrong-secret-of-the-client")
    with provider("client_secret_post") as (issuer, _), pytest.raises(Unauthenticated) as refusal:
        await redeem(issuer, file)
    assert "wrong-secret" not in str(refusal.value)
