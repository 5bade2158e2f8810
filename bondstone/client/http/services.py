"""Services over the HTTP API. `Bondstone.services`."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from typing_extensions import override

from bondstone.client.http.transport import Transport, segments, service_path
from bondstone.client.operations import Operation
from bondstone.client.services import Services

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.documents.service import ArchivedDocument, RecordDocument, ServiceDocument
    from bondstone.client.services import RequestOptions
    from bondstone.model.service import KeptManifest
    from bondstone.model.service_row import ServiceRow

PAGE = 500


class HttpServices(Services):
    """Services over the HTTP API.

    Args:
        transport: Connections to the API.
        bond: The client, for the handles on operations.
    """

    def __init__(self, transport: Transport, bond: Bondstone) -> None:
        self._bond = bond
        self._http = transport

    # Reading -----------------------------------------------------------------------------------------------------

    @override
    async def get(self, service: str) -> ServiceDocument:
        return _document(await self._http.get(service_path(service)))

    @override
    async def outputs(self, service: str, *, reveal: bool = False) -> dict[str, Any]:
        outputs: dict[str, Any] = await self._http.get(service_path(service, "outputs"), {"reveal": reveal})
        return outputs

    @override
    async def history(self, service: str) -> list[RecordDocument]:
        from bondstone.client.documents.service import RecordDocument  # noqa: PLC0415 - this verb only

        records = await self._http.get(service_path(service, "history"))
        return [RecordDocument.model_validate(record) for record in records]

    @override
    async def list_archive(self, service: str) -> list[ArchivedDocument]:
        from bondstone.client.documents.service import ArchivedDocument  # noqa: PLC0415 - this verb only

        items = await self._http.get(service_path(service, "archive"))
        return [ArchivedDocument.model_validate(item) for item in items]

    @override
    async def read_archive(self, service: str, name: str) -> bytes:
        path = service_path(service, "archive") + segments(*name.split("/"))
        return (await self._http.send("GET", path)).body

    @override
    async def list(
        self,
        *,
        team: str = "",
        promise: str = "",
        phase: str = "",
        labels: Mapping[str, str] | None = None,
        ended: bool = False,
    ) -> list[ServiceRow]:
        from bondstone.model.service_row import ServiceRow  # noqa: PLC0415 - this verb only

        chosen: dict[str, Any] = {"team": team, "promise": promise, "phase": phase, "ended": ended, "limit": PAGE}
        chosen["label"] = [f"{key}={value}" for key, value in (labels or {}).items()]
        rows: list[ServiceRow] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._http.get("/services", {**chosen, "cursor": cursor})
            rows += map(ServiceRow.from_json, page["items"])
            cursor = page["next"]
        return rows

    @override
    async def wait(
        self, service: str, on_change: Callable[[ServiceDocument], None] | None = None
    ) -> ServiceDocument:
        from bondstone.client.http.follow import follow  # noqa: PLC0415 - this verb only

        async for document in follow(self._http, service_path(service, "events"), "service", _document):
            if on_change is not None:
                on_change(document)
            statuses = [operation.status for operation in document.operations if not operation.status.ended]
            if not statuses or "awaiting-approval" in statuses:
                return document
        return await self.get(service)

    # Asking for work ---------------------------------------------------------------------------------------------

    @override
    async def request(
        self,
        promise: str,
        service: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        on_failure: Literal["keep", "destroy"] = "keep",
        **options: Unpack[RequestOptions],
    ) -> Operation:
        body = {
            "promise": promise,
            "service": service,
            "inputs": dict(inputs or {}),
            "version": version,
            "labels": dict(labels or {}),
            "on_failure": on_failure,
        }
        return await self._ask("/services", body, options)

    @override
    async def adopt(
        self,
        promise: str,
        service: str,
        states: Mapping[str, bytes],
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        reason: str = "",
    ) -> Operation:
        body = {
            "promise": promise,
            "service": service,
            "states": {step: base64.b64encode(state).decode() for step, state in states.items()},
            "inputs": dict(inputs or {}),
            "version": version,
            "labels": dict(labels or {}),
        }
        return await self._ask("/services/adopt", body, {"request_id": request_id, "reason": reason})

    @override
    async def update(
        self, service: str, inputs: Mapping[str, Any], **options: Unpack[RequestOptions]
    ) -> Operation:
        return await self._ask(service_path(service, "update"), {"inputs": dict(inputs)}, options)

    @override
    async def patch(self, service: str, *, to: str = "", **options: Unpack[RequestOptions]) -> Operation:
        return await self._ask(service_path(service, "patch"), {"to": to}, options)

    @override
    async def upgrade(
        self,
        service: str,
        *,
        to: str = "",
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RequestOptions],
    ) -> Operation:
        body = {"to": to, "inputs": dict(inputs or {})}
        return await self._ask(service_path(service, "upgrade"), body, options)

    @override
    async def rollback(self, service: str, **options: Unpack[RequestOptions]) -> Operation:
        return await self._ask(service_path(service, "rollback"), {}, options)

    @override
    async def reconcile(
        self, service: str, *, repair: bool = False, parts: bool = False, **options: Unpack[RequestOptions]
    ) -> Operation:
        return await self._ask(service_path(service, "reconcile"), {"repair": repair, "parts": parts}, options)

    @override
    async def decommission(self, service: str, **options: Unpack[RequestOptions]) -> Operation:
        return await self._ask(service_path(service, "decommission"), {}, options)

    @override
    async def retry(self, service: str, *, reason: str = "", request_id: str | None = None) -> Operation:
        return await self._ask(service_path(service, "retry"), {}, {"reason": reason, "request_id": request_id})

    # Telling it --------------------------------------------------------------------------------------------------

    @override
    async def cancel(self, service: str, *, reason: str = "") -> Operation:
        accepted = await self._http.post(service_path(service, "cancel"), {"reason": reason})
        return Operation(self._bond, accepted["id"])

    @override
    async def pause(self, service: str, *, reason: str = "") -> ServiceDocument:
        return _document(await self._http.post(service_path(service, "pause"), {"reason": reason}))

    @override
    async def resume(self, service: str, *, reason: str = "") -> ServiceDocument:
        return _document(await self._http.post(service_path(service, "resume"), {"reason": reason}))

    @override
    async def abandon(self, service: str, *, reason: str) -> ServiceDocument:
        return _document(await self._http.post(service_path(service, "abandon"), {"reason": reason}))

    @override
    async def set_labels(
        self,
        service: str,
        labels: Mapping[str, str],
        *,
        remove: Sequence[str] = (),
        applied: KeptManifest | None = None,
    ) -> dict[str, str]:
        body: dict[str, Any] = {"set": dict(labels), "remove": list(remove)}
        if applied is not None:
            body["applied"] = applied.model_dump(mode="json")
        known: dict[str, str] = await self._http.post(service_path(service, "labels"), body)
        return known

    # Helpers -----------------------------------------------------------------------------------------------------

    async def _ask(self, path: str, body: dict[str, Any], options: Mapping[str, Any]) -> Operation:
        settings = {
            name: value for name, value in options.items() if name not in {"request_id", "applied"} and value
        }
        if (applied := options.get("applied")) is not None:
            settings["applied"] = applied.model_dump(mode="json")
        key = options.get("request_id") or f"req-{uuid.uuid4()}"
        accepted = await self._http.post(path, {**body, **settings}, key=key)
        return Operation(self._bond, accepted["id"], accepted["warnings"])


def _document(value: Any) -> ServiceDocument:
    from bondstone.client.documents.service import ServiceDocument  # noqa: PLC0415 - lists need none

    return ServiceDocument.model_validate(value)
