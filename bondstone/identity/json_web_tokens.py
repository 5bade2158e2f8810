"""Checking the JWTs of trusted issuers: signature, issuer, audience, times, and what may be used once.

The library takes 2 MiB, so processes load it with the first token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bondstone.base.errors import (
    BondError,
    TokenAudience,
    TokenExpired,
    TokenForeign,
    TokenInvalid,
    TokenNotYetValid,
    TokenReplayed,
    TokenUnsigned,
)
from bondstone.base.issuer_settings import IssuerSettings
from bondstone.identity.issuer_keys import IssuerKeys
from bondstone.model.identity import Principal

MAX_TOKEN_BYTES: Final = 16 * 1024
LEEWAY: Final = timedelta(seconds=60)
"""How far clocks may differ."""
_MAX_CLAIMS: Final = 100
_MAX_CLAIM_LENGTH: Final = 1024
_MAX_GROUPS: Final = 1_000
_MAX_SUBJECT: Final = 256

TakeOnce = Callable[[str], Awaitable[bool]]
"""Told the name of a token that is good once; False when it was told before."""


class JsonWebTokens:
    """The JWTs that the platform accepts.

    Args:
        issuers: Those it trusts.
        keys: Where their public keys come from.
        take_once: Remembers tokens of issuers with `once`.
    """

    def __init__(self, issuers: Sequence[IssuerSettings], keys: IssuerKeys, take_once: TakeOnce) -> None:
        self._issuers = {each.issuer: each for each in issuers}
        self._keys = keys
        self._take_once = take_once

    async def principal(self, token: str, *, nonce: str = "") -> Principal:
        """The caller that a token proves.

        Args:
            token: The JWT as it came.
            nonce: Of a sign-in: the token must have been made for it.

        Raises:
            Unauthenticated: of the kind that says what is wrong.
            Unreachable: the issuer's keys cannot be fetched.
        """
        settings, header = self._issuer_of(token)
        key = await self._keys.key(settings, str(header.get("kid") or ""))
        claims = _decoded(token, key, settings)
        _check_claims(claims, settings, nonce)
        principal = _principal(claims, settings)
        if settings.once:
            await self._once(claims, settings)
        return principal

    def _issuer_of(self, token: str) -> tuple[IssuerSettings, Mapping[str, Any]]:
        """Whose token it says to be; nothing of it is believed yet."""
        import jwt  # noqa: PLC0415 - see above

        if len(token) > MAX_TOKEN_BYTES:
            raise TokenInvalid(f"the token is larger than {MAX_TOKEN_BYTES // 1024} KiB")
        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.exceptions.PyJWTError as error:
            raise TokenInvalid(
                f"the token cannot be read: {error}", hint="send it whole, as it was issued"
            ) from None
        algorithm = str(header.get("alg", ""))
        if algorithm.lower() in {"", "none"} or token.endswith("."):
            raise TokenUnsigned("the token is not signed (alg: none)", hint="use a token of a trusted issuer")
        settings = self._issuers.get(str(claims.get("iss", "")))
        if settings is None:
            known = ", ".join(sorted(self._issuers)) or "none"
            raise TokenForeign(
                f"the issuer {str(claims.get('iss', ''))[:200]!r} is not trusted", hint=f"trusted issuers: {known}"
            )
        if algorithm not in settings.algorithms:
            raise TokenInvalid(
                f"the token is signed with {algorithm[:20]!r}, which is not accepted of {settings.issuer}",
                hint=f"accepted: {', '.join(settings.algorithms)}",
            )
        return settings, header

    async def _once(self, claims: Mapping[str, Any], settings: IssuerSettings) -> None:
        name = claims.get("jti")
        if not isinstance(name, str) or not name:
            raise TokenInvalid(
                f"tokens of {settings.issuer} are good once, and this one has no `jti` to tell it by"
            )
        told = hashlib.sha256(f"{settings.issuer}\n{name}".encode()).hexdigest()
        if not await self._take_once(told):
            raise TokenReplayed(
                "the token is good once, and was used before", hint="get a new one for each request"
            )


def _decoded(token: str, key: Any, settings: IssuerSettings) -> dict[str, Any]:
    import jwt  # noqa: PLC0415 - see above

    try:
        return jwt.decode(
            token,
            key,
            algorithms=list(settings.algorithms),
            audience=list(settings.audiences),
            issuer=settings.issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "iss", "aud"], "strict_aud": False},
        )
    except jwt.exceptions.PyJWTError as error:
        raise _in_words(error, token, settings) from None


def _in_words(error: Exception, token: str, settings: IssuerSettings) -> BondError:
    """The refusal for what the library found."""
    import jwt  # noqa: PLC0415 - see above

    claims = jwt.decode(token, options={"verify_signature": False})
    now = datetime.now(UTC)
    if isinstance(error, jwt.exceptions.ExpiredSignatureError):
        return TokenExpired(
            f"the token expired at {_time(claims.get('exp'))}, and it is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint="get a new one (`bond login`); if it is new, the clocks differ",
        )
    if isinstance(error, jwt.exceptions.ImmatureSignatureError):
        since = claims.get("nbf", claims.get("iat"))
        return TokenNotYetValid(
            f"the token is valid from {_time(since)}, and it is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint=f"the clocks of the issuer and of the platform differ by more than {LEEWAY.seconds} seconds",
        )
    if isinstance(error, jwt.exceptions.InvalidAudienceError):
        return TokenAudience(
            f"the token was issued for {claims.get('aud')!s:.200}",
            hint=f"this platform takes tokens for {' or '.join(settings.audiences)}",
        )
    if isinstance(error, jwt.exceptions.InvalidSignatureError | jwt.exceptions.InvalidKeyError):
        return TokenForeign(f"the token was not signed by {settings.issuer}", hint="use a token as it was issued")
    if isinstance(error, jwt.exceptions.MissingRequiredClaimError):
        return TokenInvalid(f"the token has no `{error.claim}`")
    return TokenInvalid(f"the token is not valid: {error}")


def _check_claims(claims: Mapping[str, Any], settings: IssuerSettings, nonce: str) -> None:
    if nonce and claims.get("nonce") != nonce:
        raise TokenReplayed("the token was made for another sign-in", hint="start the sign-in again")
    if float(claims["exp"]) - float(claims["iat"]) > timedelta(hours=settings.max_hours).total_seconds():
        raise TokenInvalid(
            f"the token is valid for longer than {settings.max_hours} hours",
            hint="have the issuer make shorter ones, or raise max_hours of the issuer's settings",
        )
    client = claims.get("azp")
    if settings.for_people and not settings.audience and client is not None and client != settings.client_id:
        raise TokenAudience(f"the token was issued to the client {str(client)[:200]!r}")
    for name, value in settings.required_claims.items():
        if str(claims.get(name)) != value:
            raise TokenForeign(
                f"tokens of {settings.issuer} must have {name}={value}", hint="see `required_claims` of the issuer"
            )


def _principal(claims: Mapping[str, Any], settings: IssuerSettings) -> Principal:
    subject = claims.get(settings.subject_claim)
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise TokenInvalid(f"the token's claim {settings.subject_claim!r} does not name anybody")
    if settings.subject_claim == "email" and claims.get("email_verified") is not True:
        raise TokenInvalid("the token's e-mail address is not verified", where=subject)
    if not settings.subject_prefix and subject.startswith(("local:", "token:")):
        raise TokenInvalid("the token's subject is a name of the platform's own", where=subject)
    groups = claims.get(settings.groups_claim, ()) if settings.groups_claim else ()
    if isinstance(groups, str):
        groups = [groups]
    if not isinstance(groups, list | tuple) or len(groups) > _MAX_GROUPS:
        raise TokenInvalid(f"the token's claim {settings.groups_claim!r} is not a list of groups")
    kept = {name: value for name, value in claims.items() if _plain(value)}
    return Principal(
        subject=settings.subject_prefix + subject,
        means="oidc" if settings.for_people else "workload",
        issuer=settings.issuer,
        groups=tuple(settings.subject_prefix + str(group) for group in groups),
        claims=dict(list(kept.items())[:_MAX_CLAIMS]),
        display_name=str(claims.get("name") or claims.get("email") or subject)[:_MAX_SUBJECT],
        expires_at=datetime.fromtimestamp(float(claims["exp"]), UTC),
    )


def nonce_of(token: str) -> str:
    """The `nonce` of a token that its provider itself handed over; the API checks the rest of it."""
    import jwt  # noqa: PLC0415 - see above

    try:
        return str(jwt.decode(token, options={"verify_signature": False}).get("nonce", ""))
    except jwt.exceptions.PyJWTError:
        return ""


def _plain(value: Any) -> bool:
    """Whether access documents can refer to it: texts, numbers, and lists of them."""
    values = value if isinstance(value, list) else [value]
    return len(values) <= _MAX_CLAIMS and all(
        isinstance(each, str | int | bool) and len(str(each)) <= _MAX_CLAIM_LENGTH for each in values
    )


def _time(value: Any) -> str:
    try:
        return f"{datetime.fromtimestamp(float(value), UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (TypeError, ValueError, OverflowError, OSError):
        return "an unreadable time"
