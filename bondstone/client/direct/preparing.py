"""What a request needs before it is sent: its revision found, its inputs checked, its secrets stored."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from bondstone.model.promise import Promise
from bondstone.model.service import OperationKind, Request, RevisionRef, ServiceId
from bondstone.promise import versions
from bondstone.promise.inputs import complete_inputs, split_secrets
from bondstone.store import Store
from bondstone.store.revisions import RevisionInfo
from bondstone.temporal.service_ids import service_id


class Preparation:
    """Requests made ready with the platform's stores. It knows promises and schemas, which other verbs never load.

    Args:
        store: The platform's stores.
        by: Who asks.
    """

    def __init__(self, store: Store, by: str) -> None:
        self._store = store
        self._by = by

    async def revision(self, promise: str, version: str) -> RevisionInfo:
        """The revision that is asked for; without a version the newest."""
        revisions = self._store.revisions
        return await (revisions.get(promise, version) if version else revisions.newest(promise))

    async def manifest(self, revision: RevisionRef) -> Promise:
        """What a revision offers."""
        return await self._store.revisions.promise(revision)

    async def first_request(
        self,
        promise: str,
        service: str,
        inputs: Mapping[str, Any] | None,
        *,
        version: str = "",
        request_id: str | None = None,
        **fields: Any,
    ) -> Request:
        """The request of a new service, its inputs checked and its secrets stored.

        Raises:
            InputsInvalid: with each field named.
            NotFound: no such promise or version.
        """
        target = service_id(service)
        revision = (await self.revision(promise, version)).ref
        manifest = await self.manifest(revision)
        values = dict(inputs or {})
        complete_inputs(manifest, values)
        public, secret = split_secrets(manifest, values)
        return Request(
            request_id=request_id or f"req-{uuid.uuid4()}",
            kind=OperationKind.PROVISION,
            promise=promise,
            version=revision.version,
            inputs=await self._with_references(target, public, secret),
            requested_by=self._by,
            **fields,
        )

    async def without_secrets(
        self, service: str, inputs: Mapping[str, Any], revision: RevisionRef
    ) -> dict[str, Any]:
        """Inputs as they may be sent: what is a secret for this revision stored, and a reference in its place."""
        manifest = await self.manifest(revision)
        public, secret = split_secrets(manifest, inputs)
        return await self._with_references(service_id(service), public, secret)

    async def upgrade_target(self, current: RevisionRef, wanted: str) -> RevisionInfo:
        """The revision that an upgrade leads to.

        Raises:
            Refused, NotFound: it leads nowhere, see `bondstone.promise.versions.target`.
        """
        listed = await self._store.revisions.list(current.promise)
        version = versions.target(
            OperationKind.UPGRADE,
            promise=current.promise,
            current=current.version,
            wanted=wanted,
            available=[info.ref.version for info in listed if info.status == "active"],
        )
        return await self._store.revisions.get(current.promise, version)

    async def _with_references(
        self, service: ServiceId, public: dict[str, Any], secret: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Inputs with every secret value stored and replaced by a reference."""
        inputs = dict(public)
        for path, value in secret.items():
            ref = await self._store.secrets.put(service, f"inputs/{path}", value)
            _place(inputs, path.split("."), ref.as_json())
        return inputs


def _place(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
