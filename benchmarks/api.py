"""The HTTP API at 100 and 10,000 services: list pages, open streams under load, the command, memory, kills.

Pages, streams, the command and memory are measured on the API process of `harness.light_api`: the real application
with its index and store, whose services come from a list instead of Temporal's visibility. Kills are of a real API
process on a real platform, under requests that create services; each client sends a request again, under its key,
until it is answered.

    python -m benchmarks.api --only pages --services 10000
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx2
import psutil

from benchmarks import stacks
from benchmarks.report import Report, parser, run, say
from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from harness import processes
from harness.api_process import ApiProcess
from harness.local_platform import running
from harness.waiting import until_async

FEW: Final = 100
NOTHING: Final = """
import asyncio, http.client, ssl, typer
app = typer.Typer()
@app.command()
def nothing(text: str = "") -> None: ...
app()
"""
"""The least that a command by Typer takes which asks something by HTTP."""
PARTS: Final = ("pages", "streams", "command", "memory", "kills")
QUERIES: Final[Mapping[str, Mapping[str, str]]] = {
    "first page": {},
    "first page, newest first": {"sort": "-changed_at"},
    "first page of a team": {"team": "team-3"},
    "first page by `where`": {"where": "phase == 'ready' && promise == 'promise-3'"},
}
PAGE_AIM_MS: Final = 200.0
PAGE_AIM_RATIO: Final = 2.0
COMMAND_AIM: Final = (0.35, 0.1)
"""Of the time that the SDK's import takes, and seconds on top."""
COMPLETION_SECONDS: Final = 0.3
PROMISE: Final = "one-stack"
CLIENTS: Final = 4
BETWEEN_KILLS_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 2.0


async def measure(options: argparse.Namespace) -> Report:
    """The parts that were asked for."""
    done = Report("the HTTP API")
    parts = options.only or PARTS
    if {"pages", "memory"} & set(parts):
        await _pages_and_memory(done, options)
    if "streams" in parts:
        await _streams(done, options)
    if "command" in parts:
        _command(done, options)
    if "kills" in parts:
        await _kills(done, options)
    return done


async def _pages_and_memory(done: Report, options: argparse.Namespace) -> None:
    first: dict[int, float] = {}
    for services in (FEW, options.services):
        say(f"{services} services")
        with _light(services) as (api, process):
            async with _client(api) as client:
                (await client.get("/services")).raise_for_status()  # the index is filled, and the connection open
                times = {name: await _times(client, query, options.runs) for name, query in QUERIES.items()}
                times["last page"] = [await _last_page(client)]
                times["counts"] = await _times(client, {}, options.runs, path="/fleet")
            for name, values in times.items():
                done.add(f"{name}, {services} services", "ms", *values, at_most=PAGE_AIM_MS)
            first[services] = min(times["first page"])
            done.add(f"memory, {services} services", "MiB", processes.resident_mib(process))
    done.add("first page, many to few", "x", first[options.services] / first[FEW], at_most=PAGE_AIM_RATIO)


async def _times(
    client: httpx2.AsyncClient, query: Mapping[str, str], runs: int, path: str = "/services"
) -> list[float]:
    milliseconds = []
    for _ in range(runs):
        began = time.perf_counter()
        (await client.get(path, params=dict(query))).raise_for_status()
        milliseconds.append((time.perf_counter() - began) * 1000)
    return milliseconds


async def _last_page(client: httpx2.AsyncClient) -> float:
    """How long the page takes that ends the list: the slowest, if any is."""
    cursor: str | None = ""
    while True:
        began = time.perf_counter()
        page = (await client.get("/services", params={"limit": "500", "cursor": cursor or ""})).json()
        took = (time.perf_counter() - began) * 1000
        cursor = page["next"]
        if cursor is None:
            return took


async def _streams(done: Report, options: argparse.Namespace) -> None:
    say(f"{options.streams} streams, {options.rate} requests a second for {options.seconds} s")
    with _light(options.services) as (api, process):
        async with _client(api) as client, asyncio.TaskGroup() as tasks:
            opened = [asyncio.Event() for _ in range(options.streams)]
            ended: list[str] = []
            following = [tasks.create_task(_follow(client, event, ended)) for event in opened]
            for event in opened:
                await event.wait()
            cpu = processes.cpu_seconds(process)
            failures, slowest = await _paced(client, options.rate, options.seconds)
            cpu = processes.cpu_seconds(process) - cpu
            alive = sum(not task.done() for task in following)
            for task in following:
                task.cancel()
    for failure, times in Counter(failures).items():
        say(f"failed {times} times: {failure}")
    done.add("requests under open streams", "", int(options.rate * options.seconds))
    done.add("of these, failed", "", len(failures), at_most=0)
    done.add("streams that broke", "", options.streams - alive, at_most=0)
    done.add("slowest request", "ms", slowest * 1000)
    done.add("CPU of the process meanwhile", "s/s", cpu / options.seconds)


async def _follow(client: httpx2.AsyncClient, opened: asyncio.Event, ended: list[str]) -> None:
    try:
        async with client.stream("GET", "/fleet/events", timeout=None) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    opened.set()
    except httpx2.HTTPError as error:
        ended.append(str(error))
    finally:
        opened.set()


async def _paced(client: httpx2.AsyncClient, rate: float, seconds: float) -> tuple[list[str], float]:
    """Send requests at a rate whether or not those before are answered: what failed, in words; the slowest."""
    took: list[float] = []
    failures: list[str] = []

    async def one() -> None:
        began = time.perf_counter()
        try:
            answer = await client.get("/services", params={"limit": "20"})
            if answer.status_code != httpx2.codes.OK:
                failures.append(f"{answer.status_code} {answer.text[:200]}")
        except httpx2.HTTPError as error:
            failures.append(f"{type(error).__name__}: {error}")
        took.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.create_task(one())
    return failures, max(took)


def _command(done: Report, options: argparse.Namespace) -> None:
    """`bond service list` through the API, and the import that it must do without; by turns."""
    say("the command")
    with _light(FEW) as (api, _), tempfile.TemporaryDirectory() as empty:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("BOND_", "TEMPORAL_"))},
            "BOND_API": api.url,
            "BOND_TOKEN": api.token,
            "BOND_DATA": empty,
        }
        bond = str(processes.BOND)
        completing = {"_BOND_COMPLETE": "complete_bash", "COMP_WORDS": "bond service sho", "COMP_CWORD": "2"}
        sides = {
            "python -c 'import temporalio.client'": ([sys.executable, "-c", "import temporalio.client"], {}),
            "a Typer command with one option that does nothing": ([sys.executable, "-c", NOTHING], {}),
            "bond service list, through the API": ([bond, "service", "list"], {}),
            "completion of a word by the shell": ([bond], completing),
        }
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(options.runs):
            for name, (command, more) in sides.items():
                spent[name].append(_spent(command, {**environment, **more}))
    sdk, _, listing, completion = sides
    part, fixed = COMMAND_AIM
    walls, cpus = ([each[kind] for each in spent[sdk]] for kind in (0, 1))
    aims: dict[str, list[dict[str, float]]] = {
        listing: [{"at_most": part * median(walls) + fixed}, {"at_most": part * min(cpus) + fixed}],
        completion: [{"at_most": COMPLETION_SECONDS}, {"at_most": COMPLETION_SECONDS}],
    }
    for name, each in spent.items():
        wall_aim, cpu_aim = aims.get(name, [{}, {}])
        done.add(name, "s", *(wall for wall, _ in each), **wall_aim)
        # Of the processor the least counts: it does not grow when others work.
        done.add("  of it on the processor, at least", "CPU-s", min(cpu for _, cpu in each), **cpu_aim)


def _spent(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds that a process takes, and of the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=dict(environment))
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _kills(done: Report, options: argparse.Namespace) -> None:
    say(f"{options.kills} kills under load")
    with processes.scratch() as directory, running(directory / "data") as platform:
        await processes.publish(platform.settings, stacks.promise(directory, PROMISE, slow=False))
        with ApiProcess(platform, "killed") as api:
            over = asyncio.Event()
            numbers = itertools.count()
            async with asyncio.TaskGroup() as tasks:
                clients = [tasks.create_task(_request_until(api, over, numbers)) for _ in range(CLIENTS)]
                for _ in range(options.kills):
                    await asyncio.sleep(BETWEEN_KILLS_SECONDS)
                    if api.server.process is not None:
                        api.server.process.kill()
                        await asyncio.to_thread(api.server.process.wait)
                    await asyncio.to_thread(api.server.start)
                over.set()
            accepted = dict(itertools.chain.from_iterable(task.result()[0] for task in clients))
            again = sum(task.result()[1] for task in clients)
            lost = doubled = 0
            async with httpx2.AsyncClient(
                base_url=f"{api.url}/api/v1", headers=api.bearer, trust_env=False, timeout=60
            ) as client:
                for service, operation in accepted.items():
                    answer = await client.get(f"/operations/{operation}")
                    lost += answer.status_code != httpx2.codes.OK
                    shown = (await client.get(f"/services/{service}")).json()
                    doubled += len(shown.get("operations", ())) > 1
    done.add("kills of the API process", "", options.kills)
    done.add("requests accepted meanwhile", "", len(accepted))
    done.add("sent again because no answer came", "", again)
    done.add("accepted requests that were lost", "", lost, at_most=0)
    done.add("requests that were carried out twice", "", doubled, at_most=0)


async def _request_until(
    api: ApiProcess, over: asyncio.Event, numbers: Iterator[int]
) -> tuple[list[tuple[str, str]], int]:
    """Request services, one after the other: each with its operation; and how often one was sent again."""
    accepted: list[tuple[str, str]] = []
    sent = 0
    while not over.is_set():
        service = f"kills/s{next(numbers)}"
        body = json.dumps({"promise": PROMISE, "service": service})
        headers = {**api.bearer, "Idempotency-Key": service.replace("/", "-"), "Content-Type": "application/json"}

        async def answered(body: str = body, headers: dict[str, str] = headers) -> httpx2.Response | None:
            nonlocal sent
            sent += 1
            async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
                answer = await client.post(f"{api.url}/api/v1/services", content=body, headers=headers)
            return answer if answer.status_code < httpx2.codes.INTERNAL_SERVER_ERROR else None

        answer = await until_async(answered, service, not_yet=(httpx2.HTTPError,))
        accepted.append((service, answer.raise_for_status().json()["id"]))
    return accepted, sent - len(accepted)


class _Light:
    """An API process without Temporal.

    Args:
        url: Its address.
        token: Of the holder of its data directory.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token


@contextmanager
def _light(services: int) -> Iterator[tuple[_Light, psutil.Process]]:
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        command = [sys.executable, "-m", "harness.light_api", str(data), str(services)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                if process.stdout is None:
                    raise AssertionError("asked for a pipe")
                url = process.stdout.readline().strip()
                token = (data / LOCAL_TOKEN_FILE).read_text(encoding="ascii").strip()
                time.sleep(SETTLE_SECONDS)
                yield _Light(url, token), psutil.Process(process.pid)
            finally:
                process.kill()


@asynccontextmanager
async def _client(api: _Light) -> AsyncIterator[httpx2.AsyncClient]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    headers: dict[str, Any] = {"Authorization": f"Bearer {api.token}"}
    async with httpx2.AsyncClient(
        base_url=f"{api.url}/api/v1", headers=headers, trust_env=False, timeout=60, limits=limits
    ) as client:
        yield client


def main() -> None:
    """Read the options and measure."""
    options = parser(__doc__)
    options.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    options.add_argument("--services", type=int, default=10_000)
    options.add_argument("--streams", type=int, default=500)
    options.add_argument("--rate", type=float, default=200, help="requests a second beside the streams")
    options.add_argument("--seconds", type=float, default=20, help="for how long")
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--runs", type=int, default=10, help="of each page and of the command")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
