"""The secret store: JSON values that everything else knows only by reference."""

from __future__ import annotations

import json
from typing import Any

from bondstone.base.canonical import canonical
from bondstone.base.errors import InvalidInput, NotFound, ObjectCorrupt, ObjectMissing, Refused
from bondstone.model.secret import SecretRef
from bondstone.model.service import ServiceId
from bondstone.store import object_keys
from bondstone.store.objects import segment
from bondstone.store.sealed import SealedObjects


class Secrets:
    """Values under `secrets/<team>/<service>/<path>/<fingerprint>`.

    A reference never changes its meaning: another value of the same path gets another key, and the old one stays
    readable until the service's secrets are erased. The same value again gets the same reference, so that what is
    tried twice is kept once.

    Args:
        sealed: Where they are kept.
    """

    def __init__(self, sealed: SealedObjects) -> None:
        self._sealed = sealed

    async def put(self, service: ServiceId, path: str, value: Any) -> SecretRef:
        """Keep a value.

        Args:
            service: Whose it is; only that service may use the reference.
            path: What it is, as in `inputs/adminPassword` or `steps/database/outputs/password`.
            value: Any JSON value.

        Raises:
            InvalidInput: when the value is not JSON.
        """
        try:
            data = canonical(value)
        except (TypeError, ValueError):  # their text may quote the value
            raise InvalidInput("the secret is not a JSON value", where=f"{service} {path}") from None
        name = self._sealed.keys.fingerprint(f"{service}\0{path}\0".encode() + data, purpose="secret name")
        key = "/".join([object_keys.secrets(service), *map(segment, path.split("/")), name])
        await self._sealed.put(key, data)
        return SecretRef(key=key)

    async def reveal(self, ref: SecretRef, *, service: ServiceId | None = None) -> Any:
        """The value of a reference.

        Args:
            ref: The reference.
            service: On whose behalf. Pass it wherever the reference came from outside.

        Raises:
            Refused: when the reference is another service's, or not one to a secret at all.
            NotFound: when it was erased, or never existed.
            ObjectCorrupt: when it cannot be decrypted.
        """
        if not ref.key.startswith(f"{object_keys.secrets(service)}/" if service else f"{object_keys.SECRETS}/"):
            raise Refused(
                f"the reference is not one to a secret of {service}"
                if service
                else "the reference is not to a secret",
                where=ref.key[:200],
                hint="give the value itself: Bondstone keeps it as a secret and makes the reference",
            )
        try:
            data = await self._sealed.get(ref.key)
        except ObjectMissing as error:
            raise NotFound(
                "the secret was erased or never existed", where=ref.key, hint="give the value again"
            ) from error
        try:
            return json.loads(data)
        except ValueError:
            raise ObjectCorrupt("the secret is not JSON", where=ref.key) from None

    async def erase(self, service: ServiceId) -> int:
        """Remove every secret of a service; how many there were."""
        return await self._sealed.objects.delete_prefix(object_keys.secrets(service))
