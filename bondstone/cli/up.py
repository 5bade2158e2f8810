"""`bond up`, `down`, `status` and `config`: the embedded platform, and the settings in force."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bondstone.base.forking import Start, load, spawn
from bondstone.base.processes import READY_FD, birth, is_alive, leave
from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, note, progress, say, table
from bondstone.terminal.platform import print_summary
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from bondstone.base.platform_file import Platform
    from bondstone.base.settings import Settings

app = typer.Typer()
config = typer.Typer(help="The effective settings, and where each comes from.", no_args_is_help=True)
app.add_typer(config, name="config")

_SUPERVISOR: Final = "bondstone.workers.embedded"
EXIT_UNREACHABLE: Final = 6
DOWN_MARGIN_SECONDS: Final = 60
"""Beyond `drain_seconds`, what a platform may take to stop: its own deadlines are shorter."""


@app.command(
    epilog=examples(
        "bond up                                 in the foreground; Ctrl-C stops it, draining what runs",
        "bond up --detach                        in the background; `bond down` stops it",
        "bond up --data ./platform --port 8300   a second one beside the first",
    )
)
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="run in the background")] = False,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="N",
            envvar="BOND_UP_PORT",
            help="Temporal's port; its UI takes N+1000, the HTTP API 8080 or N+2000; 0: any that are free",
        ),
    ] = 7233,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Start the embedded platform: Temporal, a control worker and an executor worker.

    Waits until all are healthy and prints where they are. The data directory keeps everything; started again on
    it, everything continues where it was.
    """
    arguments = ["--port", str(port), "--output", str(output)]
    if context.options.data is not None:
        arguments += ["--data", str(context.options.data)]
    if not detach:
        leave(load(_SUPERVISOR).main(arguments))
    _start_detached(arguments)
    platform, data = _read_platform()
    if platform is not None:
        value = platform.model_dump(exclude={"born": True, "processes": {"__all__": {"born"}}})
        emit(value, output, lambda: print_summary(platform, data, detached=True))


@app.command(epilog=examples("bond down", "bond down --data ./platform"))
def down() -> None:
    """Stop the embedded platform in order: work in flight gets time to finish. Its data stays."""
    from bondstone.base.errors import OperationFailed  # noqa: PLC0415 - see bondstone.cli.app
    from bondstone.base.platform_file import lock_holder  # noqa: PLC0415

    platform, data = _read_platform()
    pid = lock_holder(data)
    if pid is None:
        note(f"no platform runs on {data}")
        return
    born = birth(pid) or ""
    os.kill(pid, 15)
    began = time.monotonic()
    patience = context.settings().drain_seconds + DOWN_MARGIN_SECONDS
    with progress("stopping the platform") as update:
        while is_alive(pid, born):  # for a moment longer than it holds the lock
            waited = time.monotonic() - began
            if waited > patience:
                raise OperationFailed(
                    f"the platform (process {pid}) is still there after {waited:.0f} s",
                    where=str(data),
                    hint=f"`kill -9 {pid}` ends it at once; what was in flight continues at the next `bond up`",
                )
            update(f"stopping the platform; work in flight may take a while ({waited:.0f} s)")
            time.sleep(0.05)
    where = platform.settings.get("temporal_address", "") if platform else ""
    say(f"stopped {where} after {duration(timedelta(seconds=time.monotonic() - began))}; the data stays in {data}")


@app.command(epilog=examples("bond status", "bond status -o json"))
def status(output: Output = OutputFormat.TABLE) -> None:
    """Show what runs, which versions, where, since when, and whether a worker polls each pool.

    Exit code 0 when all is healthy, 6 when not.
    """
    view = _status_view()
    emit(view, output, lambda: _print_status(view))
    if not view["healthy"]:
        raise typer.Exit(EXIT_UNREACHABLE)


@config.command(epilog=examples("bond config show", "BOND_LOG_LEVEL=debug bond config show -o json"))
def show(output: Output = OutputFormat.TABLE) -> None:
    """Print the effective settings and where each comes from; credentials in URLs are masked."""
    settings = context.settings()
    rows = [
        {"setting": name, "value": _masked(value), "origin": _origin(name)}
        for name, value in settings.model_dump(mode="json").items()
    ]
    filled = {"store": settings.store_url, "keys": str(settings.key_file), "work": str(settings.work_dir)}
    for row in rows:
        row["value"] = _masked(filled[row["setting"]]) if row["setting"] in filled else row["value"]
    emit(
        {row["setting"]: {"value": row["value"], "origin": row["origin"]} for row in rows},
        output,
        lambda: table(["setting", "value", "origin"], [list(row.values()) for row in rows]),
    )


# Helpers ----------------------------------------------------------------------------------------------------


def _start_detached(arguments: Sequence[str]) -> None:
    """Start the supervisor in a session of its own and wait until it says that all is healthy, or why not."""
    command = (sys.executable, "-m", _SUPERVISOR, *arguments)
    reader, writer = os.pipe()
    with Path(os.devnull).open("wb") as nowhere:
        environment = {**os.environ, READY_FD: str(writer)}
        _, reap = spawn(Start(command, environment, nowhere.fileno(), keep=(writer,), ends_with_parent=False))
    os.close(writer)
    with progress("starting the platform"):
        # While the supervisor starts, not before it.
        from bondstone.base.errors import ErrorInfo, OperationFailed, from_info  # noqa: PLC0415 - see bondstone.cli.app

        with os.fdopen(reader, encoding="utf-8") as pipe:
            line = pipe.readline()
    told: dict[str, Any] = json.loads(line) if line else {}
    if told.get("ready"):
        return
    status = reap()
    if "error" in told:
        raise from_info(ErrorInfo.model_validate(told["error"]))
    raise OperationFailed(
        f"the platform ended before it was ready (exit status {status})",
        hint="`bond up` without --detach shows what it says",
    )


def _read_platform() -> tuple[Platform | None, Path]:
    from bondstone.base.platform_file import Platform  # noqa: PLC0415 - see bondstone.cli.app

    data = context.settings().data.absolute()
    return Platform.read(data), data


def _status_view() -> dict[str, Any]:
    settings = context.settings()
    platform, data = _read_platform()
    from bondstone.base.platform_file import SANDBOX  # noqa: PLC0415 - see bondstone.cli.app

    running = platform is not None and platform.alive
    versions = platform.versions if platform else {}
    view: dict[str, Any] = {
        "healthy": False,
        "embedded": platform is not None,
        "status": platform.status if platform and running else "stopped" if platform else "not embedded",
        "data": str(data),
        "since": platform.started_at if platform and running else None,
        "pid": platform.pid if platform and running else None,
        "versions": {name: version for name, version in versions.items() if name != SANDBOX},
        "sandbox": versions.get(SANDBOX),
        "temporal": settings.temporal_address or None,
        "ui": settings.temporal_ui or None,
        "api": settings.api or None,
        "store": _masked(settings.store_url),
        "processes": _process_rows(platform) if platform and running else [],
        "queues": [],
        "problem": None,
    }
    if platform and not running:
        view["problem"] = "the platform is not running; `bond up` starts it"
        return view
    view["queues"], view["problem"] = context.run(
        _queues(settings, platform.pools if platform else settings.pools)
    )
    view["healthy"] = (
        not view["problem"]
        and all(queue["workers"] for queue in view["queues"])
        and all(process["status"] == "running" for process in view["processes"])
        and view["status"] in {"running", "not embedded"}
    )
    return view


def _process_rows(platform: Platform) -> list[dict[str, Any]]:
    import psutil  # noqa: PLC0415 - only for status

    supervisor = {"name": "supervisor", "pid": platform.pid, "status": "running", "restarts": 0}
    rows: list[dict[str, Any]] = [
        {**supervisor, "since": platform.started_at},
        *(
            {
                "name": process.name,
                "pid": process.pid,
                "status": process.status if process.alive else "ended",
                "restarts": process.restarts,
                "since": process.started_at,
            }
            for process in platform.processes
        ),
    ]
    for row in rows:
        try:
            row["memory_bytes"] = psutil.Process(row["pid"]).memory_info().rss
        except psutil.Error:
            row["memory_bytes"] = None
    return rows


async def _queues(settings: Settings, pools: tuple[str, ...]) -> tuple[list[dict[str, Any]], str | None]:
    """Who polls the control queue and each pool's; and in words, why that could not be asked."""
    from bondstone.base.errors import Unreachable  # noqa: PLC0415 - see bondstone.cli.app
    from bondstone.base.process_identity import is_gone  # noqa: PLC0415
    from bondstone.client import connect  # noqa: PLC0415

    async with connect(settings, quiet=True) as bond:
        try:
            queues = await bond.workers.queues(pools)
        except Unreachable as error:
            return [], f"{error.message}: {error.hint}"
    rows = []
    for queue in queues:
        identities = [poller.identity for poller in queue.pollers if not is_gone(poller.identity)]
        rows.append(
            {"queue": queue.queue, "pool": queue.pool, "workers": len(identities), "identities": identities}
        )
    return rows, None


def _print_status(view: dict[str, Any]) -> None:
    health = "healthy" if view["healthy"] else "not healthy"
    fields(
        {
            "platform": f"{view['status']}, {health}" if view["status"] != "stopped" else "stopped",
            "problem": view["problem"],
            "since": view["since"],
            "Temporal": view["temporal"],
            "Temporal UI": view["ui"],
            "HTTP API": view["api"],
            "data": view["data"],
            "store": view["store"],
            "sandbox of tools": view["sandbox"],
            **{f"{name} version": version for name, version in view["versions"].items()},
        }
    )
    if view["processes"]:
        say()
        columns = ["name", "pid", "status", "restarts", "since", "memory_bytes"]
        table(
            ["process", "pid", "status", "restarts", "since", "memory"],
            [
                [f"{row[key] >> 20} MiB" if key == "memory_bytes" and row[key] else row[key] for key in columns]
                for row in view["processes"]
            ],
        )
    if view["queues"]:
        say()
        table(["queue", "workers"], [[row["queue"], row["workers"]] for row in view["queues"]])


def _origin(name: str) -> str:
    """Which source a setting comes from, in the order `bondstone.base.settings` looks."""
    import tomllib  # noqa: PLC0415 - only for config show

    from bondstone.base.data_directory import PLATFORM_FILE  # noqa: PLC0415 - see bondstone.cli.app
    from bondstone.base.settings import Settings  # noqa: PLC0415 - see bondstone.cli.app

    variable = f"BOND_{name.upper()}"
    file = Path(os.environ.get("BOND_CONFIG", Settings.config_file))
    platform, data = _read_platform()
    written = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if name == "data" and context.options.data is not None:
        return "--data"
    if any(key.upper() == variable for key in os.environ):
        return variable
    if name in written:
        return str(file)
    if platform is not None and name in platform.settings:
        return str(data / PLATFORM_FILE)
    return "default"


def _masked(value: object) -> object:
    """A value without what stands before the `@` of a URL."""
    if not isinstance(value, str) or "://" not in value:
        return value
    scheme, _, rest = value.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{'***@' + host.rpartition('@')[2] if '@' in host else host}{slash}{path}"
