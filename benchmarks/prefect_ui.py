"""Prefect's server with its own pages: a peer of the console, a run in its list for each service, at most 1,000.

It is no dependency. `pip install prefect` in an environment of its own, and `--prefect PATH/bin/prefect`, run it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from harness.servers.process import LOOPBACK, Server, free_port
from harness.waiting import until_async

START_SECONDS: Final = 180
AT_ONCE: Final = 4
MAX_RUNS: Final = 1000
"""More are not made: each takes its server 30 to 150 ms, and its pages show the first ones."""
PAGES: Final = {"Prefect's UI, runs": ("/runs", "text=/^service-\\d+$/")}
_CREATED: Final = 201


def program(named: str) -> Path | None:
    """The command `prefect`; None where there is none.

    Args:
        named: Its path; empty for the one on PATH.
    """
    path = shutil.which(named or "prefect")
    return Path(path) if path else None


class Prefect:
    """A server that runs.

    Args:
        url: Where.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def fill(self, numbers: range) -> None:
        """Make runs that have succeeded, at most `MAX_RUNS` in all.

        Args:
            numbers: Theirs; a run is called by its number.
        """
        async with httpx2.AsyncClient(base_url=f"{self.url}/api", timeout=120, trust_env=False) as client:
            flow = (await client.post("/flows/", json={"name": "provision"})).raise_for_status().json()["id"]
            places = asyncio.Semaphore(AT_ONCE)

            async def created(body: dict[str, Any]) -> bool:
                return (await client.post("/flow_runs/", json=body)).status_code == _CREATED

            async def make(number: int) -> None:
                state = {"type": "COMPLETED", "name": "Completed"}
                body = {"flow_id": flow, "name": f"service-{number:05}", "state": state}
                async with places:
                    # Its SQLite database is locked now and then, and it answers 503.
                    await until_async(lambda: created(body), f"flow run {number}")

            await asyncio.gather(*map(make, numbers[: max(0, MAX_RUNS - numbers.start)]))


@asynccontextmanager
async def serving(command: Path, folder: Path) -> AsyncIterator[Prefect]:
    """A server on a new database, for as long as it is needed.

    Args:
        command: `prefect`.
        folder: For its data and its log.
    """
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"

    def ready() -> bool:
        try:
            return httpx2.get(f"{url}/api/health", timeout=5, trust_env=False).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    arguments = (str(command), "server", "start", "--host", LOOPBACK, "--port", str(port))
    server = Server("prefect", arguments, folder / "prefect.log", ready)
    server.environment = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PATH": os.environ.get("PATH", ""),
    }
    server.launch()  # not in a thread: it would end with that thread
    try:
        await asyncio.to_thread(server.wait, START_SECONDS)
        yield Prefect(url)
    finally:
        server.kill()
