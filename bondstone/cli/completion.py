"""Names for the shell: answered from a small cache within a keystroke, and refreshed behind it.

Asking the platform takes as long as a command. So each answer comes from the last list that is known; when that is
older than `FRESH_SECONDS`, a process of its own lists everything anew for the next keystroke. Where no name is
known yet, the keystroke waits for that list, `FIRST_SECONDS` at most.

    python -m bondstone.cli.completion FILE    list the platform of this environment, and write it to FILE
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bondstone.cli import context

if TYPE_CHECKING:
    from bondstone.client import Bondstone

FRESH_SECONDS: Final = 5.0
"""Older than this what is known is listed anew, in the background."""
FIRST_SECONDS: Final = 3.0
"""How long a keystroke waits for the first list of a platform."""
MAX_NAMES: Final = 5000
"""Of each kind; a cache is read at every keystroke."""
_RUNNING_SECONDS: Final = 60.0
"""A refresh that began this long ago has died."""

Known = dict[str, Any]


def promises(incomplete: str) -> list[str]:
    """Names of promises."""
    return _starting(_known().get("promises", {}), incomplete)


def revisions(incomplete: str) -> list[str]:
    """Promises, and once there is an `@` their versions."""
    known = _known().get("promises", {})
    if "@" not in incomplete:
        return _starting(known, incomplete)
    name = incomplete.partition("@")[0]
    return _starting((f"{name}@{version}" for version in known.get(name, {}).get("versions", ())), incomplete)


def services(incomplete: str) -> list[str]:
    """`TEAM/NAME` of services."""
    return _starting(_known().get("services", {}), incomplete)


def operations(incomplete: str) -> list[str]:
    """`TEAM/NAME/op/N` of operations."""
    return _starting(_known().get("operations", ()), incomplete)


def campaigns(incomplete: str) -> list[str]:
    """Names of campaigns."""
    return _starting(_known().get("campaigns", ()), incomplete)


def schedules(incomplete: str) -> list[str]:
    """Names of schedules."""
    return _starting(_known().get("schedules", ()), incomplete)


def freezes(incomplete: str) -> list[str]:
    """Names of freezes."""
    return _starting(_known().get("freezes", ()), incomplete)


def contexts(incomplete: str) -> list[str]:
    """Names of contexts."""
    from bondstone.base.contexts import read_contexts  # noqa: PLC0415 - one kind of name

    return _starting(read_contexts().known, incomplete)


def inputs(incomplete: str) -> list[str]:
    """`KEY=` of the inputs of a promise, that which is named or that of the service; then its values."""
    known = _known()
    declared = known.get("promises", {}).get(_promise_named(known), {}).get("inputs", {})
    key, equals, _ = incomplete.partition("=")
    if equals:
        return _starting((f"{key}={value}" for value in declared.get(key, ())), incomplete)
    return _starting((f"{name}=" for name in declared), incomplete)


def input_names(incomplete: str) -> list[str]:
    """Names of the inputs of a promise, that which is named or that of the service."""
    return [text.removesuffix("=") for text in inputs(incomplete.partition("=")[0])]


NAMES: Final[dict[str, Callable[[str], list[str]]]] = {
    function.__name__: function
    for function in (
        promises, revisions, services, operations, campaigns, schedules, freezes, contexts, inputs, input_names,
    )
}  # fmt: skip
"""What a parameter may name: commands say which with `autocompletion=`, and the table of commands by name."""


# Helpers ----------------------------------------------------------------------------------------------------


def _promise_named(known: Known) -> str:
    """The promise that stands on the line, else that of the service; an option without its value hides both."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    for word in line.split():
        if word in known.get("promises", {}):
            return word
        if promise := known.get("services", {}).get(word):
            return str(promise)
    return ""


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _known() -> Known:
    """What is known of the platform that the command line names."""
    file = cache_file()
    known, age = _read(file)
    if age > FRESH_SECONDS:
        _refresh_behind(file)
        if not known and _ends(file.with_suffix(".lock")):
            known, _ = _read(file)
    return known


def cache_file() -> Path:
    """Where the names of the chosen platform are kept."""
    import hashlib  # noqa: PLC0415 - not for verbs and options

    import platformdirs  # noqa: PLC0415

    variables = ("BOND_DATA", "BOND_API", "BOND_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS", "TEMPORAL_PROFILE")
    data = str(context.options.data.absolute()) if context.options.data else ""
    parts = [data, json.dumps(dict(context.options.values), sort_keys=True), *map(os.environ.get, variables)]
    name = hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:24]
    return Path(platformdirs.user_cache_dir("bondstone", appauthor=False)) / "completion" / f"{name}.json"


def _read(file: Path) -> tuple[Known, float]:
    """What is kept, and how old it is in seconds."""
    try:
        age = time.time() - file.stat().st_mtime
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, float("inf")
    return (known if isinstance(known, dict) else {}), age


def _refresh_behind(file: Path) -> None:
    """List everything anew in a process of its own, unless one does so already."""
    from bondstone.base.files import create_private  # noqa: PLC0415 - only where the list is old

    lock = file.with_suffix(".lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if lock.exists() and time.time() - lock.stat().st_mtime > _RUNNING_SECONDS:
            lock.unlink()
        os.close(create_private(lock))
    except OSError:
        return
    environment = {name: value for name, value in os.environ.items() if name != "_BOND_COMPLETE"}
    if context.options.data:
        environment["BOND_DATA"] = str(context.options.data.absolute())
    environment |= {f"BOND_{name.upper()}": value for name, value in context.options.values.items()}
    _start([sys.executable, "-m", "bondstone.cli.completion", str(file)], environment)


def _ends(lock: Path) -> bool:
    """Whether the process that lists everything has ended within `FIRST_SECONDS`."""
    deadline = time.monotonic() + FIRST_SECONDS
    while lock.exists():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _start(command: list[str], environment: dict[str, str]) -> None:
    import subprocess  # noqa: PLC0415 - not for each keystroke

    subprocess.Popen(  # noqa: S603 - our own module
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def names(bond: Bondstone) -> Known:
    """Every name that can be completed; what cannot be listed now is left out."""
    from bondstone.base.errors import BondError  # noqa: PLC0415 - the refresh only

    known: Known = {}
    for kind, read in _READERS.items():
        try:
            known[kind] = await read(bond)
        except BondError:
            continue
    return known


async def _promises(bond: Bondstone) -> Known:
    known: Known = {}
    for row in await bond.promises.list(every_version=True):
        known.setdefault(row.promise, {"versions": [], "inputs": {}})["versions"].append(row.version)
    for name, entry in known.items():
        document = await bond.promises.get(name)
        entry["inputs"] = {item.name: [str(value) for value in item.values] for item in document.inputs}
    return known


async def _services(bond: Bondstone) -> Known:
    return {row.id: row.promise for row in (await bond.services.list())[:MAX_NAMES]}


async def _operations(bond: Bondstone) -> list[str]:
    return [row.id for row in (await bond.operations.list())[:MAX_NAMES]]


async def _campaigns(bond: Bondstone) -> list[str]:
    return [row.name for row in (await bond.campaigns.list())[:MAX_NAMES]]


async def _schedules(bond: Bondstone) -> list[str]:
    return [row.name for row in (await bond.schedules.list())[:MAX_NAMES]]


async def _freezes(bond: Bondstone) -> list[str]:
    return [freeze.name for freeze in (await bond.freezes.list())[:MAX_NAMES]]


_READERS: Final[dict[str, Callable[[Bondstone], Awaitable[Any]]]] = {
    "promises": _promises,
    "services": _services,
    "operations": _operations,
    "campaigns": _campaigns,
    "schedules": _schedules,
    "freezes": _freezes,
}


async def _refresh(file: Path) -> None:
    from bondstone.base.files import write_durably  # noqa: PLC0415 - the refresh only
    from bondstone.client import connect  # noqa: PLC0415

    try:
        async with connect(quiet=True) as bond:
            known = await names(bond)
        before, _ = _read(file)
        write_durably(file.parent, file.name, json.dumps({**before, **known}).encode(), create=False)
    finally:
        file.with_suffix(".lock").unlink(missing_ok=True)


if __name__ == "__main__":
    context.run(_refresh(Path(sys.argv[1])))
