"""The API process, `python -m bondstone.workers.api`: the door for people, portals and programs.

It holds nothing that matters: start as many as wanted, kill any. On SIGTERM it takes no new connection, ends event
streams so that their clients go to another, and lets requests finish for `drain_seconds`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Final, Protocol

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI

from bondstone.agents import door
from bondstone.api.announcements import announce_beside
from bondstone.api.app import create_app
from bondstone.api.events.logs import LogChunks
from bondstone.api.events.watchers import Watchers
from bondstone.api.index.services import ServiceIndex
from bondstone.api.rates import Rates
from bondstone.api.refusals import RequestRefusals
from bondstone.api.state import ApiState
from bondstone.backstage import routes as backstage
from bondstone.backstage.refresh import poll_seconds
from bondstone.base import logs
from bondstone.base.errors import BondError, SettingsInvalid, StoreError
from bondstone.base.platform_file import CREATE_KEYS, ready_pipe
from bondstone.base.processes import allocate_from_one_arena, give_back_memory, hide_memory, leave
from bondstone.base.settings import Settings
from bondstone.base.tracing import export
from bondstone.console import app as console
from bondstone.identity.authenticator import Authenticator
from bondstone.store import Store
from bondstone.store.signing import Signer
from bondstone.temporal.fleet_list import KeptFleet
from bondstone.temporal.service_changes import ServiceVisibility
from bondstone.workers.runtime import connect_when_up

ROUTERS: Sequence[APIRouter] = ()
"""What is served beside `/api/v1`: add the router of a package that has pages or a feed of its own."""

REQUESTS_PER_SECOND: Final = 500.0
"""What one caller may send for good."""
BURST: Final = 1000

BACKLOG: Final = 1024
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the 60 s after which load balancers commonly close an idle connection themselves."""
SWEEP_SECONDS: Final = 3600.0
"""How often old sessions and kept answers are removed."""

log = structlog.get_logger(__name__)


def main() -> int:
    """Serve until told to stop; the exit status."""
    hide_memory()
    allocate_from_one_arena()
    try:
        settings = Settings.load()
        logs.configure(settings, process="api")
        export.start("bondstone-api")
        try:
            return asyncio.run(_serve(settings))
        finally:
            export.stop()
    except BondError as error:
        from bondstone.terminal.output import OutputFormat, print_error  # noqa: PLC0415 - only failures; loads the CLI's

        print_error(error.info(), OutputFormat.TABLE)
        return error.exit_code


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[ApiState]:
    """The connections of this process.

    Raises:
        Unreachable: Temporal does not answer for a minute.
        StoreError: the object store or the key ring cannot be opened.
    """
    temporal = await connect_when_up(settings)
    store = await Store.open(settings, create_keys=CREATE_KEYS in os.environ)
    key = settings.attestation_key_file
    signer = await asyncio.to_thread(Signer.load, key) if await asyncio.to_thread(key.exists) else None
    if signer is not None:
        await store.platform_keys.register("attestation", signer)
    elif settings.attestation == "required":
        raise SettingsInvalid(
            "attestations are required, and the API has no keys to sign them with",
            where=str(key),
            hint="`bond setup` makes them; name the file with BOND_ATTESTATION_KEYS",
        )
    authenticator = await Authenticator.open(settings, store)
    services = ServiceIndex(ServiceVisibility(temporal), KeptFleet(store), poll_seconds=poll_seconds(settings))
    refusals = RequestRefusals(store.refusals)
    keepers = (services.keep(), keep_swept(store.sessions), keep_swept(store.kept_answers), refusals.keep())
    tasks = [asyncio.create_task(keeper) for keeper in keepers]
    try:
        yield ApiState(
            settings=settings,
            temporal=temporal,
            store=store,
            authenticator=authenticator,
            signer=signer,
            services=services,
            watchers=Watchers(),
            chunks=LogChunks(store.logs),
            rates=Rates(REQUESTS_PER_SECOND, BURST),
            refusals=refusals,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StoreError):
            await refusals.flush()
        await authenticator.close()


class Swept(Protocol):
    """What has objects that are over by themselves."""

    async def sweep(self, *, now: datetime) -> int:
        """Remove what has been over for long; how many objects."""


async def keep_swept(objects: Swept, *, every_seconds: float = SWEEP_SECONDS) -> None:
    """Remove sessions, sign-ins or kept answers that ended long ago, now and again, until cancelled.

    Args:
        objects: Those of the platform; other API processes may do the same.
        every_seconds: Between two sweeps.
    """
    while True:
        try:
            removed = await objects.sweep(now=datetime.now(UTC))
            log.debug("removed old objects", family=type(objects).__name__, count=removed)
        except StoreError as error:
            log.warning("cannot remove old objects", family=type(objects).__name__, error=error.message)
        await asyncio.sleep(every_seconds)


class _Server(uvicorn.Server):
    """Says when it serves, and ends its event streams when it is to stop.

    Args:
        config: Of the server.
        watchers: Of its streams.
    """

    def __init__(self, config: uvicorn.Config, watchers: Watchers) -> None:
        super().__init__(config)
        self._watchers = watchers

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override] # passed on
        await super().startup(sockets)  # type: ignore[arg-type] # passed on
        if self.started:
            log.info("ready", bind=f"{self.config.host}:{self.config.port}")
            with ready_pipe() as tell:
                tell({"ready": True})
            give_back_memory()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain."""
        log.info("stopping", signal=sig)
        self.should_exit = True
        asyncio.get_running_loop().call_soon_threadsafe(self._watchers.closing.set)
        del frame


def _application(settings: Settings, state: ApiState) -> FastAPI:
    app = create_app(settings, state, ROUTERS)
    console.mount(app)
    door.mount(app)
    backstage.mount(app, state)
    announce_beside(app, state)
    return app


async def _serve(settings: Settings) -> int:
    host, _, port = settings.api_bind.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsInvalid("BOND_API_BIND is not HOST:PORT", where=settings.api_bind)
    async with opened(settings) as state:
        server = _Server(
            uvicorn.Config(
                _application(settings, state),
                host=host.strip("[]"),
                port=int(port),
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                lifespan="on",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=settings.drain_seconds,
            ),
            state.watchers,
        )
        try:
            await server.serve()
        except SystemExit as error:  # how uvicorn says that the port is taken
            raise SettingsInvalid(
                "the API cannot listen", where=settings.api_bind, hint="set BOND_API_BIND; the log says why"
            ) from error
    log.info("stopped")
    return 0


if __name__ == "__main__":
    leave(main())
