"""Plans: what a step would do, kept until it is done, and proof of what was approved."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from bondstone.base.canonical import digest
from bondstone.base.errors import ObjectCorrupt
from bondstone.model.plan import Change, ChangeCounts, Planned, PlanRef
from bondstone.model.service import ServiceId
from bondstone.store import object_keys
from bondstone.store.sealed import SealedObjects


class Plans:
    """Plan objects under `plans/<team>/<service>/<operation>/<step>/<digest>/`: artefact, document, changes.

    All three are sealed: artefacts and documents of Terraform hold sensitive values.

    Args:
        sealed: Where they are kept.
    """

    def __init__(self, sealed: SealedObjects) -> None:
        self._sealed = sealed

    async def store(
        self, service: ServiceId, operation: int, step: str, planned: Planned, *, destroy: bool, log: str
    ) -> PlanRef:
        """Keep a plan; the reference is what everything else carries.

        Args:
            service: Whose plan.
            operation: Number of the operation.
            step: Id of the step.
            planned: What the executor gave.
            destroy: Whether it takes everything down.
            log: Key of the log of the run that made it.
        """
        artefact = bytes(planned.artefact)
        sha256 = digest(artefact)
        key = f"{object_keys.plans_of_step(service, operation, step)}/{sha256}"
        changes = [change.model_dump(mode="json") for change in planned.changes]
        await asyncio.gather(
            self._sealed.put(f"{key}/artefact", artefact),
            self._sealed.put(f"{key}/document", json.dumps(dict(planned.document)).encode()),
            self._sealed.put(f"{key}/changes", json.dumps(changes).encode()),
        )
        return PlanRef(
            digest=sha256,
            key=key,
            counts=ChangeCounts.of(planned.changes),
            empty=planned.empty,
            destroy=destroy,
            position=planned.position,
            tool=planned.tool,
            log=log,
            failed_checks=tuple(planned.failed_checks),
        )

    async def artefact(self, ref: PlanRef) -> bytes:
        """The artefact, byte for byte as it was stored.

        Raises:
            ObjectCorrupt: when its digest is not the one that was approved.
            ObjectMissing: when it is gone.
        """
        data = await self._sealed.get(f"{ref.key}/artefact")
        if digest(data) != ref.digest:
            raise ObjectCorrupt(
                "the plan in the store is not the one that was approved",
                where=ref.key,
                hint="plan again; if it happens twice, find out who writes to the object store",
            )
        return data

    async def changes(self, ref: PlanRef) -> list[Change]:
        """The change set, sensitive values masked."""
        return [Change.model_validate(item) for item in await self._json(f"{ref.key}/changes", list)]

    async def document(self, ref: PlanRef) -> dict[str, Any]:
        """What policies see as `input.plan`. Not masked: never show it."""
        document: dict[str, Any] = await self._json(f"{ref.key}/document", dict)
        return document

    async def _json(self, key: str, kind: type) -> Any:
        data = await self._sealed.get(key)
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, kind):
            raise ObjectCorrupt("the object is not valid", where=key, hint="plan again") from None
        return value
