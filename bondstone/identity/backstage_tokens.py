"""Callers that Backstage vouches for: a plugin's own token, and inside it that of the person who is signed in.

Both are checked: the plugin's token against the keys of that plugin, the person's against those of Backstage's
`auth` plugin. Without a person the caller only reads. What tokens look like is in Backstage's `backend-defaults`
0.19, `entrypoints/auth`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2

from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.connection_words import connection_words
from bondstone.base.errors import (
    SettingsInvalid,
    TokenAudience,
    TokenExpired,
    TokenForeign,
    TokenInvalid,
    Unreachable,
)
from bondstone.identity.issuer_keys import IssuerKeys
from bondstone.model.identity import Principal

if TYPE_CHECKING:
    from jwt import PyJWK

AUDIENCE: Final = "bondstone"
"""The plugin that the platform is to Backstage."""
PROXY: Final = "proxy"
"""The plugin that calls go to where Backstage knows no actions; it passes their tokens on."""
PLUGIN_TYPE: Final = "vnd.backstage.plugin"
PERSON_TYPE: Final = "vnd.backstage.limited-user"
ALGORITHMS: Final = ("ES256", "RS256")
LEEWAY: Final = timedelta(seconds=60)
MAX_TOKEN_BYTES: Final = 16 * 1024
GROUPS_SECONDS: Final = 60.0
MAX_KNOWN_PEOPLE: Final = 10_000
_TIMEOUT_SECONDS: Final = 5.0
_MAX_GROUPS: Final = 1_000


def is_backstage_token(token: str) -> bool:
    """Whether it says to be a token of Backstage's plugins; nothing of it is believed yet."""
    import jwt  # noqa: PLC0415 - see `bondstone.identity.json_web_tokens`

    try:
        return jwt.get_unverified_header(token).get("typ") == PLUGIN_TYPE
    except jwt.exceptions.PyJWTError:
        return False


class BackstageTokens:
    """Tokens that one Backstage makes.

    Args:
        settings: Of that Backstage.
        keys: Fetches its public keys.
        client: Reads groups from its catalog; by default one of its own.
    """

    def __init__(
        self, settings: BackstageSettings, keys: IssuerKeys, client: httpx2.AsyncClient | None = None
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._client = client
        self._audiences = (AUDIENCE, PROXY) if settings.proxy else (AUDIENCE,)
        self._groups: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()

    async def principal(self, token: str) -> Principal:
        """The caller that a plugin's token proves.

        Raises:
            Unauthenticated: of the kind that says what is wrong.
            Unreachable: Backstage does not answer.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenInvalid(f"the token is larger than {MAX_TOKEN_BYTES // 1024} KiB")
        plugin = _unverified(token).get("sub")
        if plugin not in self._settings.plugins:
            raise TokenForeign(
                f"calls of Backstage's plugin {str(plugin)[:60]!r} are not accepted",
                hint=f"accepted: {', '.join(self._settings.plugins)} (`plugins` of the settings)",
            )
        claims = await self._claims(
            token, f"/api/{plugin}/.backstage/auth/v1/jwks.json", PLUGIN_TYPE, self._audiences
        )
        person = claims.get("obo")
        if person is None:
            return Principal(
                subject=f"backstage:{plugin}",
                means="backstage",
                issuer=self._settings.base_url,
                display_name=f"Backstage ({plugin})",
                expires_at=datetime.fromtimestamp(float(claims["exp"]), UTC),
                reads_only=True,
            )
        return await self._person(str(person))

    async def _person(self, token: str) -> Principal:
        claims = await self._claims(token, "/api/auth/.well-known/jwks.json", PERSON_TYPE, ())
        if float(claims["exp"]) - float(claims["iat"]) > timedelta(hours=self._settings.max_hours).total_seconds():
            raise TokenInvalid(f"the person's token is valid for longer than {self._settings.max_hours} hours")
        reference = str(claims["sub"])
        subject = self._name(reference, "user", self._settings.person)
        if subject is None or not subject.isprintable() or subject.startswith(("local:", "token:", "backstage:")):
            raise TokenForeign(
                f"{reference[:200]!r} is not a user here",
                hint=f"users of the namespace {self._settings.namespace!r} count (`namespace` of the settings)",
            )
        return Principal(
            subject=subject,
            means="backstage",
            issuer=self._settings.base_url,
            groups=await self._groups_of(reference),
            display_name=reference,
            expires_at=datetime.fromtimestamp(float(claims["exp"]), UTC),
        )

    async def _claims(self, token: str, path: str, kind: str, audiences: Sequence[str]) -> dict[str, Any]:
        header = _header(token)
        if header.get("typ") != kind:
            raise TokenInvalid(f"the token is of type {str(header.get('typ'))[:60]!r}, not {kind}")
        if header.get("alg") not in ALGORITHMS:
            raise TokenInvalid(f"the token is signed with {str(header.get('alg'))[:20]!r}, which is not accepted")
        key = await self._keys.key_at(self._settings.base_url + path, str(header.get("kid") or ""))
        return _verified(token, key, audiences)

    async def _groups_of(self, reference: str) -> tuple[str, ...]:
        """The groups of a user as the catalog has them; none where the settings name no token for it."""
        path = self._settings.catalog_token_file
        if path is None:
            return ()
        at, groups = self._groups.get(reference, (-GROUPS_SECONDS, ()))
        if time.monotonic() - at < GROUPS_SECONDS:
            return groups
        groups = await self._read_groups(reference, path)
        self._groups[reference] = (time.monotonic(), groups)
        self._groups.move_to_end(reference)
        if len(self._groups) > MAX_KNOWN_PEOPLE:
            self._groups.popitem(last=False)
        return groups

    async def _read_groups(self, reference: str, path: Path) -> tuple[str, ...]:
        namespace, name = _parts(reference)[1:]
        url = f"{self._settings.base_url}/api/catalog/entities/by-name/user/{namespace}/{name}"
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)
        token = await asyncio.to_thread(read_secret, path)
        try:
            answer = await self._client.get(url, headers={"Authorization": f"Bearer {token}"})
            if answer.status_code == httpx2.codes.NOT_FOUND:
                return ()
            relations = answer.raise_for_status().json().get("relations", [])
        except (httpx2.HTTPError, ValueError) as error:
            raise Unreachable(
                f"Backstage does not say which groups {reference} is in: {connection_words(error)}",
                where=url,
                hint="check `catalog_token_file` and that Backstage accepts the token for its catalog",
            ) from error
        names = [
            self._name(str(relation.get("targetRef")), "group", self._settings.group)
            for relation in relations[:_MAX_GROUPS]
            if relation.get("type") == "memberOf"
        ]
        return tuple(sorted({each for each in names if each is not None}))

    def _name(self, reference: str, kind: str, pattern: str) -> str | None:
        """What an entity is called here; None for one that does not count."""
        found_kind, namespace, name = _parts(reference)
        if found_kind != kind or not name or namespace != self._settings.namespace:
            return None
        return pattern.replace("{namespace}", namespace).replace("{name}", name)


def read_secret(path: Path) -> str:
    """A secret that a file holds.

    Raises:
        SettingsInvalid: it cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"a file of the settings cannot be read: {error}", where=str(path)) from error
    if not text:
        raise SettingsInvalid("a file of the settings is empty", where=str(path))
    return text


def _parts(reference: str) -> tuple[str, str, str]:
    """Kind, namespace and name of `kind:namespace/name`; empty where it is none."""
    kind, _, rest = reference.lower().partition(":")
    namespace, _, name = rest.partition("/")
    return kind, namespace, name


def _header(token: str) -> dict[str, Any]:
    import jwt  # noqa: PLC0415 - see `bondstone.identity.json_web_tokens`

    try:
        return jwt.get_unverified_header(token)
    except jwt.exceptions.PyJWTError as error:
        raise TokenInvalid(f"the token cannot be read: {error}") from None


def _unverified(token: str) -> dict[str, Any]:
    import jwt  # noqa: PLC0415 - see `bondstone.identity.json_web_tokens`

    try:
        return jwt.decode(token, options={"verify_signature": False})
    except jwt.exceptions.PyJWTError as error:
        raise TokenInvalid(f"the token cannot be read: {error}") from None


def _verified(token: str, key: PyJWK, audiences: Sequence[str]) -> dict[str, Any]:
    import jwt  # noqa: PLC0415 - see `bondstone.identity.json_web_tokens`

    required = ["exp", "iat", "sub"] + (["aud"] if audiences else [])
    options: Any = {"require": required, "verify_aud": bool(audiences)}
    try:
        return jwt.decode(
            token, key, algorithms=list(ALGORITHMS), audience=audiences or None, leeway=LEEWAY, options=options
        )
    except jwt.exceptions.ExpiredSignatureError:
        raise TokenExpired(
            "the person's session in Backstage has expired" if not audiences else "the token has expired",
            hint="sign in to Backstage again",
        ) from None
    except jwt.exceptions.InvalidAudienceError:
        raise TokenAudience(f"the token was made for another plugin than {audiences[0]}") from None
    except jwt.exceptions.InvalidSignatureError:
        raise TokenForeign("the token was not signed by that Backstage") from None
    except jwt.exceptions.PyJWTError as error:
        raise TokenInvalid(f"the token is not valid: {error}") from None
