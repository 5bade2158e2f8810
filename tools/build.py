"""Build the pinned Go programs that are missing: `make tools`, or `python -m tools.build [NAME …]`.

What was built from the same pins, and what PATH has in the right version, is left alone, so that a second run has
nothing to do. The Go command fetches the toolchain that `go.mod` names and every module by its own proxy settings,
and checks all of it against `go.sum`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from harness.pinned import BENCHES, BUILT, PEERS, SOURCES, TOOLS, Tool

FLAGS: Final = ("-mod=readonly", "-buildvcs=false", "-trimpath")
LINK: Final = "-s -w"  # without symbol tables and debug data: a third smaller


class BuildFailed(Exception):
    """Something could not be built; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing; the exit status."""
    parser = argparse.ArgumentParser(description="Build the pinned Go programs that are missing.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(TOOLS)}")
    parser.add_argument("--jobs", type=int, default=0, help="compilers at once; default: one a core")
    options = parser.parse_args(arguments)
    known = TOOLS | PEERS | BENCHES
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"no such tool: {', '.join(unknown)}")
    BUILT.mkdir(parents=True, exist_ok=True)
    try:
        with _alone():
            for name in options.names or TOOLS:
                _provide(known[name], options.jobs)
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _provide(tool: Tool, jobs: int) -> None:
    pins = _pins(tool)
    note = BUILT / f".{tool.name}.pins"
    if tool.built.exists() and note.exists() and note.read_text(encoding="utf-8") == pins:
        return
    installed = tool.on_path()
    if installed:
        tool.built.unlink(missing_ok=True)
        print(f"{tool.name} {tool.version}: {installed}")
        return
    print(f"{tool.name} {tool.version}: building ...", flush=True)
    began, cpu = time.monotonic(), _cpu_seconds()
    _build(tool, jobs)
    note.write_text(pins, encoding="utf-8")
    took = f"{time.monotonic() - began:.0f} s, {_cpu_seconds() - cpu:.0f} CPU s"
    print(f"{tool.name} {tool.version}: built in {took}", flush=True)


def _build(tool: Tool, jobs: int) -> None:
    go = shutil.which("go")
    if go is None:
        raise BuildFailed(
            f"{tool.name} {tool.version} has to be built, and there is no Go: install Go 1.21 or newer (it fetches"
            f" the {_toolchain(tool)} that is needed), or put {tool.name} {tool.version} on PATH"
        )
    new = BUILT / f".{tool.name}.new"
    command = [go, "build", *FLAGS, f"-ldflags={_link_flags(tool)}", "-o", str(new), tool.import_path]
    if jobs:
        command[2:2] = ["-p", str(jobs)]
    # Flags of the user's own (GOFLAGS) might change what is built; where modules come from stays theirs.
    environment = {**os.environ, "GOTOOLCHAIN": _toolchain(tool), "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run(command, cwd=SOURCES / tool.folder, env=environment, check=False)
    if done.returncode:
        raise BuildFailed(
            f"{tool.name} {tool.version} could not be built: {' '.join(command)}, in tools/go/{tool.folder},"
            f" ended with {done.returncode}; what Go said stands above"
        )
    new.rename(tool.built)


def _link_flags(tool: Tool) -> str:
    major, minor, *_ = tool.version.split(".")
    values = (text.format(version=tool.version, major=major, minor=minor) for text in tool.stamp)
    return " ".join([LINK, *(f"-X {value}" for value in values)])


def _toolchain(tool: Tool) -> str:
    line = re.search(r"^toolchain (\S+)$", _source(tool, "go.mod"), re.MULTILINE)
    if not line:
        raise BuildFailed(f"tools/go/{tool.folder}/go.mod names no toolchain")
    return line[1]


def _pins(tool: Tool) -> str:
    """Changes with anything that the program is made of."""
    made_of = [tool.import_path, _link_flags(tool), *FLAGS, _source(tool, "go.mod"), _source(tool, "go.sum")]
    if tool.source:
        folder = SOURCES / tool.folder / tool.source
        made_of += [path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())]
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()


def _source(tool: Tool, name: str) -> str:
    return (SOURCES / tool.folder / name).read_text(encoding="utf-8")


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _alone() -> Iterator[None]:
    """Two builds at once would only wait for each other's compilers."""
    with (BUILT / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another build runs; waiting for it ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
