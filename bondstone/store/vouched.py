"""What workers have checked and vouch for: facts that permits rest on, never what a workflow merely claims.

Objects under `vouched/`: `requests/<id>`, each accepted request; `operations/<team>/<service>/<number>`, the
request of each operation; `facts/<team>/<service>/<kind>/<digest>`, empty ones; `plans/<digest>`, each plan as an
executor made it; `decisions/<digest>`, what policies said of it; below `applies/<team>/<service>/<operation>`,
which activity used the permit of a plan. Whoever reaches only Temporal can write none of them.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ValidationError

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import ObjectCorrupt, ObjectMissing
from bondstone.base.models import Wire
from bondstone.model.permit_calls import AcceptedRequest
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.service import ServiceId
from bondstone.store.objects import Objects, segment

PREFIX: Final = "vouched"

Fact = Literal["basis", "labels"]
"""`basis`: a revision with inputs that an accepted request came to. `labels`: those after an accepted change."""


class VouchedPlan(Wire):
    """A plan, and what it was made from."""

    ref: PlanRef
    basis: str
    """Digest of revision and inputs."""
    labels: str


class Vouched:
    """All that workers vouch for.

    Args:
        objects: Where it is kept.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def accepted(self, request_id: str) -> AcceptedRequest | None:
        """An accepted request; None when it was never accepted."""
        key = f"{PREFIX}/requests/{request_id}"
        try:
            return AcceptedRequest.model_validate_json(await self._objects.get(key))
        except ObjectMissing:
            return None
        except ValidationError as error:
            raise ObjectCorrupt("an accepted request cannot be read", where=key) from error

    async def accept(self, request_id: str, request: AcceptedRequest) -> AcceptedRequest:
        """Keep a request as accepted; what is kept, which is another one when the id was taken by that."""
        data = request.model_dump_json().encode()
        if await self._objects.put_if_absent(f"{PREFIX}/requests/{request_id}", data):
            return request
        return await self.accepted(request_id) or request

    async def bind(self, request_id: str, service: ServiceId, number: int) -> bool:
        """Make a request the one of an operation; False when either has another already."""
        operation = f"{service.team}/{service.name}/{number:08}"
        mine = await self._put(f"{PREFIX}/operations/{operation}", request_id.encode())
        return mine and await self._put(f"{PREFIX}/numbers/{request_id}", operation.encode())

    async def request_of(self, service: ServiceId, number: int) -> str:
        """The id of an operation's accepted request; empty when none was bound to it."""
        try:
            digest = await self._objects.get(f"{PREFIX}/operations/{service.team}/{service.name}/{number:08}")
        except ObjectMissing:
            return ""
        return digest.decode()

    async def add(self, service: ServiceId, kind: Fact, digest: str) -> None:
        """Vouch for a fact."""
        await self._objects.put_if_absent(_fact(service, kind, digest), b"")

    async def knows(self, service: ServiceId, kind: Fact, digest: str) -> bool:
        """Whether a fact is vouched for."""
        return await self._objects.exists(_fact(service, kind, digest))

    async def add_outputs(self, service: ServiceId, step: str, digest: str) -> None:
        """Vouch for the outputs of a step: what it was applied to."""
        await self._objects.put_if_absent(_outputs(service, step, digest), b"")

    async def knows_outputs(self, service: ServiceId, step: str, digest: str) -> bool:
        """Whether a step had these outputs."""
        return await self._objects.exists(_outputs(service, step, digest))

    async def decide(self, digest: str, decision: Decision) -> None:
        """Keep what the policies said of a plan."""
        await self._objects.put(f"{PREFIX}/decisions/{digest}", decision.model_dump_json().encode())

    async def decision(self, digest: str) -> Decision | None:
        """What the policies said of a plan."""
        try:
            return Decision.model_validate_json(await self._objects.get(f"{PREFIX}/decisions/{digest}"))
        except ObjectMissing:
            return None

    async def add_plan(self, plan: VouchedPlan) -> None:
        """Vouch for a plan."""
        await self._objects.put(f"{PREFIX}/plans/{_plan(plan.ref)}", plan.model_dump_json().encode())

    async def plan(self, ref: PlanRef) -> VouchedPlan | None:
        """A plan as the executor made it; None when none did."""
        try:
            document = await self._objects.get(f"{PREFIX}/plans/{_plan(ref)}")
        except ObjectMissing:
            return None
        return VouchedPlan.model_validate_json(document)

    async def use(self, service: ServiceId, operation: int, step: str, plan: PlanRef, user: str) -> bool:
        """Use the permit of a plan; False when another activity did. The same may go on with it after a crash."""
        key = f"{_applied(service, operation, step, plan.digest)}/{plan.position}"
        return await self._put(key, user.encode())

    async def was_applied(self, service: ServiceId, operation: int, step: str, plan: str) -> bool:
        """Whether an executor was permitted to apply a plan, and began."""
        return bool(await self._objects.list(_applied(service, operation, step, plan)))

    async def forget(self, service: ServiceId) -> None:
        """Vouch for nothing of a service that is gone: the next of its name starts anew."""
        await self._objects.delete_prefix(f"{PREFIX}/facts/{service.team}/{service.name}")

    async def _put(self, key: str, data: bytes) -> bool:
        """Whether the object is there with this content, now or before."""
        return await self._objects.put_if_absent(key, data) or await self._objects.get(key) == data


def _applied(service: ServiceId, operation: int, step: str, plan: str) -> str:
    return f"{PREFIX}/applies/{service.team}/{service.name}/{operation:08}/{segment(step)}/{plan}"


def _plan(ref: PlanRef) -> str:
    return digest(canonical([ref.key, ref.position, ref.destroy]))


def _fact(service: ServiceId, kind: Fact, digest: str) -> str:
    return f"{PREFIX}/facts/{service.team}/{service.name}/{kind}/{digest}"


def _outputs(service: ServiceId, step: str, digest: str) -> str:
    return f"{PREFIX}/facts/{service.team}/{service.name}/outputs/{segment(step)}/{digest}"
