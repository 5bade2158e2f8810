"""Policy sets in the object store. `Bondstone.policies`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base.errors import NotFound
from bondstone.client.documents.policy import (
    PolicyCheck,
    PolicySetDocument,
    PolicySetRow,
    PublishedPolicies,
    RuleDocument,
    set_fields,
)
from bondstone.client.policies import Policies

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller
    from bondstone.model.manifest import KeptPlatformManifest


class DirectPolicies(Policies):
    """Policy sets in the object store; only `check` asks Temporal, for the fleet.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def publish(
        self, directory: Path, *, applied: KeptPlatformManifest | None = None, expected: int | None = None
    ) -> PublishedPolicies:
        sets = await self._caller.connection.policies()
        ref, new = await sets.publish_once(directory, by=self._caller.by, applied=applied, expected=expected)
        return PublishedPolicies(**set_fields(ref), published=new)

    @override
    async def get(self, version: int | None = None) -> PolicySetDocument:
        sets = await self._caller.connection.policies()
        policies = await (sets.current() if version is None else sets.get(version))
        if policies is None:
            raise NotFound("no policies are published", hint="`bond policy publish DIR` publishes a set")
        rules = [
            RuleDocument(rule=str(rule), level=rule.level, file=module.name)
            for module in policies.modules()
            for rule in module.rules
        ]
        sources = {file.name: file.source for file in policies.files}
        return PolicySetDocument(**set_fields(policies.ref), rules=tuple(rules), sources=sources)

    @override
    async def list(self) -> list[PolicySetRow]:
        sets = await self._caller.connection.policies()
        return [PolicySetRow.of(ref) for ref in await sets.list()]

    @override
    async def check(
        self, directory: Path | None = None, *, on_service: Callable[[int, int], None] | None = None
    ) -> PolicyCheck:
        from bondstone.client.direct.policy_check import check  # noqa: PLC0415 - this verb only
        from bondstone.policy.modules import load_valid  # noqa: PLC0415

        if directory is not None:
            modules = load_valid(directory)
        else:
            current = await (await self._caller.connection.policies()).current()
            if current is None:
                raise NotFound("no policies are published", hint="name the folder: `bond policy check DIR`")
            modules = current.modules()
        store, temporal = await self._caller.connection.store(), await self._caller.connection.temporal()
        return await check(store, temporal, modules, on_service=on_service or (lambda _done, _all: None))
