"""The stores of one platform, opened together."""

from __future__ import annotations

import asyncio
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bondstone.base.errors import KeyMissing
from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId
from bondstone.store import object_keys
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects
from bondstone.store.sealed import SealedObjects

if TYPE_CHECKING:
    from bondstone.store.access import AccessDocuments
    from bondstone.store.archive import Archive
    from bondstone.store.campaigns import CampaignStore
    from bondstone.store.kept_answers import KeptAnswers
    from bondstone.store.ledger import LedgerStore
    from bondstone.store.logs import LogStore
    from bondstone.store.notifications import Notifications
    from bondstone.store.plans import Plans
    from bondstone.store.policies import PolicySets
    from bondstone.store.refusals import Refusals
    from bondstone.store.revisions import Revisions
    from bondstone.store.secrets import Secrets
    from bondstone.store.sessions import Sessions
    from bondstone.store.signing import PlatformKeys
    from bondstone.store.state.log import StateLog
    from bondstone.store.tokens import Tokens
    from bondstone.store.vouched import Vouched

"""Below it an empty object for each key that ever was active: their names only. `bond up` and `bond setup`
write the first, so a store without one is no platform's."""


class Store:
    """Everything that is kept, under one object-store URL and one key ring.

    A command uses one or two of the stores, so each is imported when it is first asked for.

    Args:
        objects: The object store.
        keys: What secrets, state, plans and logs are encrypted with.
    """

    def __init__(self, objects: Objects, keys: KeyRing) -> None:
        self.objects = objects
        self.sealed = SealedObjects(objects, keys)
        self.active_key = keys.active

    @classmethod
    async def open(cls, settings: Settings, *, create_keys: bool = False) -> Store:
        """Open the store that the settings name.

        Args:
            settings: Where the objects and the key ring are.
            create_keys: Make the key ring when there is none. Only for whoever owns the platform (`bond up`).

        Raises:
            SettingsInvalid: when the URL or the key ring is not usable.
            KeyMissing: when the key ring is not the one that the store was written with.
            StoreUnavailable: when the store does not answer.
        """
        objects = await Objects.open(settings.store_url)
        used = {info.key.rpartition("/")[2] for info in await objects.list(object_keys.KEY_IDS)}
        ring = await asyncio.to_thread(_load_ring, settings.key_file, used, create=create_keys)
        if ring.active not in used:
            await objects.put_if_absent(f"{object_keys.KEY_IDS}/{ring.active}", b"")
        return cls(objects, ring)

    @cached_property
    def secrets(self) -> Secrets:
        """Secret inputs and outputs."""
        from bondstone.store.secrets import Secrets  # noqa: PLC0415 - see the class

        return Secrets(self.sealed)

    @cached_property
    def archive(self) -> Archive:
        """What is kept of services that are gone."""
        from bondstone.store.archive import Archive  # noqa: PLC0415 - see the class

        return Archive(self.sealed)

    @cached_property
    def plans(self) -> Plans:
        """Plans, and what they would change."""
        from bondstone.store.plans import Plans  # noqa: PLC0415 - see the class

        return Plans(self.sealed)

    @cached_property
    def ledger(self) -> LedgerStore:
        """What happened to each service."""
        from bondstone.store.ledger import LedgerStore  # noqa: PLC0415 - see the class

        return LedgerStore(self.objects)

    @cached_property
    def logs(self) -> LogStore:
        """What the tools said."""
        from bondstone.store.logs import LogStore  # noqa: PLC0415 - see the class

        return LogStore(self.sealed)

    @cached_property
    def revisions(self) -> Revisions:
        """Published promises."""
        from bondstone.store.revisions import Revisions  # noqa: PLC0415 - see the class

        return Revisions(self.objects)

    @cached_property
    def policies(self) -> PolicySets:
        """The organisation's rules."""
        from bondstone.store.policies import PolicySets  # noqa: PLC0415 - see the class

        return PolicySets(self.objects)

    @cached_property
    def access(self) -> AccessDocuments:
        """Who may do what."""
        from bondstone.store.access import AccessDocuments  # noqa: PLC0415 - see the class

        return AccessDocuments(self.objects)

    @cached_property
    def notifications(self) -> Notifications:
        """Who is told of what happens."""
        from bondstone.store.notifications import Notifications  # noqa: PLC0415 - see the class

        return Notifications(self.objects, self.sealed)

    @cached_property
    def refusals(self) -> Refusals:
        """Who was refused what."""
        from bondstone.store.refusals import Refusals  # noqa: PLC0415 - see the class

        return Refusals(self.objects)

    @cached_property
    def platform_keys(self) -> PlatformKeys:
        """Public keys that attestations and permits are checked by."""
        from bondstone.store.signing import PlatformKeys  # noqa: PLC0415 - see the class

        return PlatformKeys(self.objects)

    @cached_property
    def vouched(self) -> Vouched:
        """What workers have checked."""
        from bondstone.store.vouched import Vouched  # noqa: PLC0415 - see the class

        return Vouched(self.objects)

    @cached_property
    def tokens(self) -> Tokens:
        """API tokens of programs."""
        from bondstone.store.tokens import Tokens  # noqa: PLC0415 - see the class

        return Tokens(self.objects)

    @cached_property
    def sessions(self) -> Sessions:
        """Browsers that have signed in, and codes that are good once."""
        from bondstone.store.sessions import Sessions  # noqa: PLC0415 - see the class

        return Sessions(self.sealed)

    @cached_property
    def kept_answers(self) -> KeptAnswers:
        """How changes were answered, by their request ids."""
        from bondstone.store.kept_answers import KeptAnswers  # noqa: PLC0415 - see the class

        return KeptAnswers(self.sealed)

    @cached_property
    def campaigns(self) -> CampaignStore:
        """Campaigns and freezes."""
        from bondstone.store.campaigns import CampaignStore  # noqa: PLC0415 - see the class

        return CampaignStore(self.sealed)

    def state(self, service: ServiceId, step: str) -> StateLog:
        """The state log of a step."""
        from bondstone.store.state.log import StateLog  # noqa: PLC0415 - see the class

        return StateLog(self.sealed, service, step)

    async def stateful_steps(self, service: ServiceId) -> list[str]:
        """Every step that ever had a state, hooks and steps of earlier revisions too."""
        prefix = f"{object_keys.states(service)}/"
        listing = await self.objects.list(prefix)
        return sorted({info.key.removeprefix(prefix).partition("/")[0] for info in listing})


def _load_ring(path: Path, used: set[str], *, create: bool) -> KeyRing:
    """The key ring, if it is the one the store was written with: found out now rather than half-way."""
    if create and not (used and not path.exists()):
        ring = KeyRing.load_or_create(path)
    elif create:
        raise KeyMissing(
            f"the object store needs the keys {', '.join(sorted(used))}, and there is no key ring file",
            where=str(path),
            hint="put that key ring back, name it with BOND_KEYS, or start with an empty store",
        )
    else:
        ring = KeyRing.load(path)
    if used and not used & set(ring.keys):
        raise KeyMissing(
            f"this key ring is not the one of this object store, which needs {', '.join(sorted(used))}",
            where=str(path),
            hint="name the right key ring with BOND_KEYS, or the right store with BOND_STORE",
        )
    return ring
