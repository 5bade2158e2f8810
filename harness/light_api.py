"""The API and console of this process on a real store, without Temporal: who somebody is, and what they may do.

Whatever asks Temporal is refused as `UNREACHABLE`. Signing in, tokens, access documents and policies work.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import structlog
import uvicorn
from temporalio.client import Client

from bondstone.api.app import create_app
from bondstone.api.events.logs import LogChunks
from bondstone.api.events.watchers import Watchers
from bondstone.api.index.services import ServiceIndex
from bondstone.api.rates import Rates
from bondstone.api.refusals import RequestRefusals
from bondstone.api.state import ApiState
from bondstone.backstage import routes as backstage
from bondstone.backstage.refresh import poll_seconds
from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.errors import Unreachable
from bondstone.base.settings import Settings
from bondstone.console import app as console
from bondstone.identity.authenticator import Authenticator
from bondstone.identity.local_token import ensure_local_token
from bondstone.model.rows import ListedService
from bondstone.model.service_row import ServiceRow
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.temporal.service_changes import ServiceVisibility
from bondstone.workers.api import BACKLOG, KEEP_ALIVE_SECONDS
from harness.servers.process import LOOPBACK, free_port

START_SECONDS = 60
LOAD_RATE = 5000.0


class _NoTemporal:
    """Stands where the connection to Temporal would, which does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise Unreachable("this API has no Temporal", where=name)


class Listed:
    """Stands where Temporal's visibility would: a list of services that a test may change.

    Args:
        services: What there is at first.
    """

    def __init__(self, services: Sequence[ListedService] = ()) -> None:
        self.services = list(services)

    async def listed(
        self, *, since: datetime | None = None, pause_seconds: float = 0.0
    ) -> AsyncIterator[list[ListedService]]:
        """As `ServiceVisibility.listed`."""
        del pause_seconds
        yield [each for each in self.services if since is None or each.stamp >= since]

    async def count_alive(self) -> int:
        """As `ServiceVisibility.count_alive`."""
        return sum(each.alive for each in self.services)


@contextmanager
def serving(data: Path, listed: Listed | None = None, *, rate: float = 500, **settings: Any) -> Iterator[Settings]:
    """Serve for as long as a test needs it; the settings, with the address.

    Args:
        data: A data directory, made when missing.
        listed: The services that there are.
        rate: Requests a second that one caller may send.
        **settings: Further settings.
    """
    port = free_port()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    effective = Settings(data=data, api=f"http://{LOOPBACK}:{port}", **settings)
    KeyRing.load_or_create(effective.key_file)
    ensure_local_token(data)
    server: list[uvicorn.Server] = []
    started = threading.Event()

    async def serve() -> None:
        store = await Store.open(effective)
        authenticator = await Authenticator.open(effective, store)
        temporal = cast("Client", _NoTemporal())
        visibility = cast("ServiceVisibility", listed or Listed())
        services = ServiceIndex(visibility, poll_seconds=poll_seconds(effective))
        state = ApiState(
            settings=effective,
            temporal=temporal,
            store=store,
            authenticator=authenticator,
            signer=None,
            services=services,
            watchers=Watchers(),
            chunks=LogChunks(store.logs),
            rates=Rates(rate, int(2 * rate)),
            refusals=RequestRefusals(store.refusals),
        )
        app = create_app(effective, state)
        console.mount(app)
        backstage.mount(app, state)
        config = uvicorn.Config(
            app,
            host=LOOPBACK,
            port=port,
            access_log=False,
            log_config=None,
            backlog=BACKLOG,
            # With uvicorn's own 5 s, which clients have too, a request meets a connection that is being closed.
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        server.append(uvicorn.Server(config))
        keeper = asyncio.create_task(services.keep())
        started.set()
        try:
            await server[0].serve()
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await authenticator.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        if not started.wait(START_SECONDS):
            raise AssertionError("the API did not start")
        while not server[0].started:
            thread.join(0.02)
            if not thread.is_alive():
                raise AssertionError("the API ended instead of serving")
        yield effective
    finally:
        if server:
            server[0].should_exit = True
        thread.join(START_SECONDS)


def a_service(name: str, *, promise: str = "queue", phase: str = "ready", number: int = 0) -> ListedService:
    """One as visibility lists it.

    Args:
        name: `TEAM/NAME`.
        promise: Of which promise.
        phase: Where it stands.
        number: Seconds after an arbitrary moment at which it was last changed, a day after it was requested.
    """
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=number)
    team, _, short = name.partition("/")
    row = ServiceRow(
        id=name, team=team, name=short, promise=promise, revision="1.0.0", phase=phase, health="healthy",
        labels={}, changed_at=at, created_at=at - timedelta(days=1),
    )  # fmt: skip
    return ListedService(row=row, alive=True, stamp=at)


def publish_access(settings: Settings, source: str) -> None:
    """Put an access document in force, as the holder of the data directory."""
    token = (settings.data / LOCAL_TOKEN_FILE).read_text(encoding="ascii").strip()
    answer = httpx2.post(
        f"{settings.api}/api/v1/access",
        json={"source": source},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=30,
    )
    answer.raise_for_status()


def main(data: Path, services: int) -> None:
    """Serve so many services until killed; the address on standard output."""
    listed = Listed([
        a_service(f"team-{number % 20}/service-{number:05}", promise=f"promise-{number % 7}", number=number)
        for number in range(services)
    ])  # fmt: skip
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with serving(data, listed, rate=LOAD_RATE) as settings:
        print(settings.api, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
