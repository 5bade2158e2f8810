"""Who is told: subscriptions, and the secrets that their messages are signed with.

Objects: `notifications/subscriptions/<name>` plain; `notifications/secrets/<name>` sealed.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from pydantic import ValidationError

from bondstone.base.errors import AlreadyExists, NotFound, ObjectCorrupt, ObjectMissing, Refused
from bondstone.base.names import check_name
from bondstone.model.notification import Subscription
from bondstone.store.objects import Objects
from bondstone.store.sealed import SealedObjects

MAX_SUBSCRIPTIONS: Final = 50
_SUBSCRIPTIONS: Final = "notifications/subscriptions"
_SECRETS: Final = "notifications/secrets"
_SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every one begins with


class Notifications:
    """The subscriptions of one platform.

    Args:
        objects: Where they are kept.
        sealed: Where their secrets are.
    """

    def __init__(self, objects: Objects, sealed: SealedObjects) -> None:
        self._objects = objects
        self._sealed = sealed

    async def create(self, subscription: Subscription) -> str:
        """Keep a new one; the secret that its messages are signed with, shown this once.

        Raises:
            AlreadyExists: there is one of that name.
            Refused: there are as many as may be.
        """
        check_name("subscription", subscription.name)
        if len(await self._objects.list(_SUBSCRIPTIONS)) >= MAX_SUBSCRIPTIONS:
            raise Refused(
                f"there are {MAX_SUBSCRIPTIONS} subscriptions already", hint="delete one that is not used"
            )
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        key = f"{_SUBSCRIPTIONS}/{subscription.name}"
        if not await self._objects.put_if_absent(key, subscription.model_dump_json().encode()):
            raise AlreadyExists(f"there is a subscription {subscription.name!r} already", where=subscription.name)
        await self._sealed.put(f"{_SECRETS}/{subscription.name}", secret.encode())
        return secret

    async def list(self) -> list[Subscription]:
        """All of them, by name."""
        subscriptions = []
        for info in await self._objects.list(_SUBSCRIPTIONS):
            try:
                subscriptions.append(await self.get(info.key.rpartition("/")[2]))
            except NotFound:
                continue  # deleted meanwhile
        return subscriptions

    async def get(self, name: str) -> Subscription:
        """One of them.

        Raises:
            NotFound: there is none of that name.
        """
        check_name("subscription", name)
        try:
            return Subscription.model_validate_json(await self._objects.get(f"{_SUBSCRIPTIONS}/{name}"))
        except ObjectMissing:
            raise NotFound(f"there is no subscription {name!r}", where=name) from None
        except ValidationError as error:
            raise ObjectCorrupt("a subscription is not readable", where=name) from error

    async def secret(self, name: str) -> bytes:
        """What messages are signed with.

        Raises:
            NotFound: there is no such subscription.
        """
        try:
            text = (await self._sealed.get(f"{_SECRETS}/{name}")).decode()
        except ObjectMissing:
            raise NotFound(f"there is no subscription {name!r}", where=name) from None
        return base64.b64decode(text.removeprefix(SECRET_PREFIX))

    async def delete(self, name: str) -> Subscription:
        """Forget one; what is on its way to it ends.

        Raises:
            NotFound: there is none of that name.
        """
        subscription = await self.get(name)
        await self._objects.delete(f"{_SUBSCRIPTIONS}/{name}", f"{_SECRETS}/{name}")
        return subscription
