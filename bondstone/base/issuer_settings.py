"""Issuers of tokens that the platform trusts: sign-in providers of people, and those that vouch for workloads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from bondstone.base.models import Manifest

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that may be accepted. All are asymmetric: nobody who can check a token can make one."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


class IssuerSettings(Manifest):
    """One trusted issuer. In `bond.toml`: `[[issuers]]`; as a variable: a JSON list."""

    issuer: str
    """The `iss` of its tokens, an `https://` URL; its keys are found by OpenID Connect discovery."""
    audience: tuple[str, ...] = ()
    """The `aud` that its tokens must have; by default `client_id`."""
    client_id: str = ""
    """The client that `bond login` and the console sign people in with; empty: an issuer for workloads only."""
    title: str = Field(default="", max_length=60)
    """What the console's sign-in button calls it; default: its host."""
    client_secret_file: Path | None = None
    """A file with the client's secret, for the console. Terminals are public clients and have none."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What a sign-in asks for."""
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    """Signatures that its tokens may have."""
    keys_file: Path | None = None
    """A JWKS file with its public keys, for an issuer out of reach, as a cluster's service accounts often are."""
    subject_claim: str = "sub"
    """The claim that names the caller. `email` counts only beside `email_verified: true`."""
    subject_prefix: str = ""
    """Stands before every subject and group of this issuer, as in `ci:`. At most one issuer may do without."""
    groups_claim: str = ""
    """The claim that lists the caller's groups, as in `groups`; empty: no groups are read."""
    required_claims: dict[str, str] = {}
    """Claims that must have these values, as in `{"repository_owner": "acme"}`."""
    max_hours: int = Field(default=24, ge=1, le=720)
    """Tokens that are valid for longer are refused."""
    once: bool = False
    """Each token is good for one request: its `jti` is remembered. For issuers that make one for each call."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        parts = urlsplit(self.issuer)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)
        if not secure or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("issuer must be an https:// URL (http:// on loopback), without a query")
        if not self.audience and not self.client_id:
            raise ValueError("say which audience its tokens must have, or the client_id for signing in")
        if not self.algorithms:
            raise ValueError("name at least one algorithm")
        return self

    @property
    def audiences(self) -> tuple[str, ...]:
        """What `aud` may be, with the default filled in."""
        return self.audience or (self.client_id,)

    @property
    def name(self) -> str:
        """What people know it as."""
        return self.title or urlsplit(self.issuer).netloc

    @property
    def for_people(self) -> bool:
        """Whether people sign in here."""
        return bool(self.client_id)


def check_issuers(issuers: tuple[IssuerSettings, ...]) -> tuple[IssuerSettings, ...]:
    """The issuers, when their subjects cannot be mistaken for each other's.

    Raises:
        ValueError: two have the same URL or the same prefix.
    """
    for field in ("issuer", "subject_prefix"):
        values = [getattr(each, field) for each in issuers]
        for value in values:
            if values.count(value) > 1:
                raise ValueError(
                    f"two issuers have the {field} {value!r}; subjects of one could pass for those of the other"
                )
    for each in issuers:
        if each.subject_prefix.startswith(("local:", "token:")):
            raise ValueError(f"the subject_prefix {each.subject_prefix!r} is the platform's own")
    return issuers
