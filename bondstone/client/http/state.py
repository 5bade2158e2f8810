"""Terraform states over the HTTP API. `Bondstone.state`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base.names import parse_service
from bondstone.client.documents.state import Pushed, StateEntryDocument, StateFile
from bondstone.client.http.transport import Transport, segments
from bondstone.client.state import State

if TYPE_CHECKING:
    from bondstone.client.documents.state import HolderDocument


class HttpState(State):
    """Terraform states over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def pull(self, service: str, *, step: str = "") -> StateFile:
        answer = await self._http.send("GET", _path(service), query={"step": step})
        at = answer.headers.get("Bond-Archived-At")
        return StateFile(
            service=service,
            step=answer.headers.get("Bond-Step", step),
            content=answer.body,
            archived_as=answer.headers.get("Bond-Archived-As", ""),
            archived_at=datetime.fromisoformat(at) if at else None,
        )

    @override
    async def push(
        self,
        service: str,
        state: bytes,
        *,
        step: str = "",
        force: bool = False,
        force_lineage: bool = False,
        reason: str = "",
        on_wait: Callable[[HolderDocument], None] | None = None,
    ) -> Pushed:
        del on_wait  # the API waits, and does not say for whom
        answer = await self._http.send(
            "PUT",
            _path(service),
            query={"step": step, "force": force, "force_lineage": force_lineage, "reason": reason},
            content=state,
            headers={"Content-Type": "application/octet-stream"},
        )
        return Pushed.model_validate(answer.json())

    @override
    async def log(self, service: str, *, step: str = "") -> list[StateEntryDocument]:
        entries = await self._http.get(_path(service, "log"), {"step": step})
        return [StateEntryDocument.model_validate(entry) for entry in entries]


def _path(service: str, *more: str) -> str:
    return segments("state", *parse_service(service), *more)
