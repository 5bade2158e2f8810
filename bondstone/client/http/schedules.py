"""Schedules over the HTTP API. `Bondstone.schedules`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from bondstone.client.documents.schedule import ScheduleDocument, ScheduleRow
from bondstone.client.http.transport import Transport, segments
from bondstone.client.schedules import DEFAULT_CATCH_UP, TIMES_SHOWN, Schedules

if TYPE_CHECKING:
    from bondstone.model.campaign.schedule import Overlap, ScheduleEntry
    from bondstone.model.manifest import KeptPlatformManifest


class HttpSchedules(Schedules):
    """Schedules over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def create(
        self,
        name: str,
        data: bytes,
        file: str = "strategy",
        *,
        cron: str,
        time_zone: str = "UTC",
        overlap: Overlap = "skip",
        jitter: timedelta = timedelta(0),
        catch_up: timedelta = DEFAULT_CATCH_UP,
        reason: str = "",
        paused: bool = False,
        applied: KeptPlatformManifest | None = None,
    ) -> ScheduleDocument:
        body = {
            "name": name,
            "source": data.decode(errors="replace"),
            "file": file,
            "cron": cron,
            "time_zone": time_zone,
            "overlap": overlap,
            "jitter_seconds": _seconds(jitter),
            "catch_up_seconds": _seconds(catch_up),
            "reason": reason,
            "paused": paused,
            "applied": _kept(applied),
        }
        return ScheduleDocument.model_validate(await self._http.post("/schedules", body))

    @override
    async def update(
        self,
        name: str,
        data: bytes | None = None,
        file: str = "strategy",
        *,
        cron: str = "",
        time_zone: str = "",
        overlap: Overlap | None = None,
        jitter: timedelta | None = None,
        catch_up: timedelta | None = None,
        reason: str = "",
        applied: KeptPlatformManifest | None = None,
        expected: str = "",
    ) -> ScheduleDocument:
        body = {
            "source": data.decode(errors="replace") if data is not None else None,
            "file": file,
            "cron": cron,
            "time_zone": time_zone,
            "overlap": overlap,
            "jitter_seconds": None if jitter is None else _seconds(jitter),
            "catch_up_seconds": None if catch_up is None else _seconds(catch_up),
            "reason": reason,
            "applied": _kept(applied),
            "expected": expected,
        }
        return await self._tell(name, "update", body)

    @override
    async def list(self) -> list[ScheduleRow]:
        return [ScheduleRow.model_validate(row) for row in await self._http.get("/schedules")]

    @override
    async def get(self, name: str, *, count: int = TIMES_SHOWN, time_zone: str = "") -> ScheduleDocument:
        document = await self._http.get(segments("schedules", name), {"count": count, "time_zone": time_zone})
        return ScheduleDocument.model_validate(document)

    @override
    async def history(self, name: str) -> Sequence[ScheduleEntry]:
        from bondstone.model.campaign.schedule import ScheduleEntry  # noqa: PLC0415 - this verb only

        entries = await self._http.get(segments("schedules", name, "history"))
        return [ScheduleEntry.model_validate(entry) for entry in entries]

    @override
    async def pause(self, name: str, *, reason: str) -> ScheduleDocument:
        return await self._tell(name, "pause", {"reason": reason})

    @override
    async def resume(self, name: str, *, reason: str = "") -> ScheduleDocument:
        return await self._tell(name, "resume", {"reason": reason})

    @override
    async def trigger(
        self, name: str, *, overlap: Overlap | None = None, reason: str = "", request_id: str = ""
    ) -> str:
        body = {"overlap": overlap, "reason": reason}
        started = await self._http.post(segments("schedules", name, "trigger"), body, key=request_id)
        return str(started["campaign"])

    @override
    async def backfill(
        self,
        name: str,
        begin: datetime,
        end: datetime,
        *,
        overlap: Overlap = "buffer-all",
        reason: str = "",
        request_id: str = "",
    ) -> tuple[datetime, ...]:
        body = {"begin": begin.isoformat(), "end": end.isoformat(), "overlap": overlap, "reason": reason}
        filled = await self._http.post(segments("schedules", name, "backfill"), body, key=request_id)
        return tuple(datetime.fromisoformat(at) for at in filled["times"])

    @override
    async def delete(self, name: str, *, reason: str = "") -> None:
        await self._http.post(segments("schedules", name, "delete"), {"reason": reason})

    async def _tell(self, name: str, verb: str, body: dict[str, Any]) -> ScheduleDocument:
        return ScheduleDocument.model_validate(await self._http.post(segments("schedules", name, verb), body))


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def _kept(applied: KeptPlatformManifest | None) -> dict[str, Any] | None:
    return applied.model_dump(mode="json") if applied is not None else None
