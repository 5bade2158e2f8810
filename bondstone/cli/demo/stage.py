"""What every tour of `bond demo` needs: a platform, and a way of saying what happens."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import typer

from bondstone.base.printable import visible
from bondstone.cli import context
from bondstone.terminal.output import is_terminal, progress, say

DEMO_DIRECTORY: Final = "demo"
"""Inside the user's data directory, so that a tour leaves the platform there alone."""


def choose_data() -> Path:
    """`--data` or `BOND_DATA`; else the user's own directory if a platform runs there; else one inside it."""
    from bondstone.base.data_directory import default_data_dir  # noqa: PLC0415
    from bondstone.base.platform_file import Platform  # noqa: PLC0415 - see bondstone.cli.session

    usual = default_data_dir().absolute()
    if context.options.data is not None:
        return context.options.data.absolute()
    running = Platform.read(usual)
    if os.environ.get("BOND_DATA") or (running is not None and running.alive):
        return usual
    return usual / DEMO_DIRECTORY


def start(data: Path) -> None:
    """Start the platform unless it runs."""
    from bondstone.base.platform_file import Platform  # noqa: PLC0415 - see bondstone.cli.session

    platform = Platform.read(data)
    if platform is None or not platform.alive:
        with progress("starting Temporal, a control worker and an executor worker"):
            bond(data, "up", "--detach", "--port", "0")
        platform = Platform.read(data)
    if platform is not None:
        versions = ", ".join(f"{name} {version}" for name, version in platform.versions.items())
        say(f"  running: {versions}")
        say(f"  {platform.settings.get('temporal_ui', '')}")


def bond(data: Path, *arguments: str) -> None:
    """Run another `bond` command on the platform; what it says on failure becomes our error."""
    from bondstone.base.errors import ErrorInfo, OperationFailed, from_info  # noqa: PLC0415 - see bondstone.cli.session

    command = [sys.executable, "-m", "bondstone.cli.app", "--data", str(data), *arguments]
    if arguments[0] == "up":
        command += ["-o", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if ran.returncode == 0:
        return
    last = ran.stderr.strip().rpartition("\n")[2]
    try:
        raise from_info(ErrorInfo.model_validate(json.loads(last)["error"]))
    except (ValueError, KeyError):
        raise OperationFailed(f"`bond {arguments[0]}` failed: {last}", where=str(data)) from None


def command(data: Path, line: str) -> str:
    """A `bond` command as the person would have to type it here."""
    from bondstone.base.data_directory import default_data_dir  # noqa: PLC0415 - see bondstone.cli.session

    program = Path(sys.argv[0])
    if shutil.which("bond") == str(program.absolute()) or program.name != "bond":
        name = "bond"
    elif program.absolute().is_relative_to(Path.cwd()):
        name = str(program.absolute().relative_to(Path.cwd()))
    else:
        name = str(program.absolute())
    option = "" if data == default_data_dir().absolute() else f" --data {shlex.quote(str(data))}"
    return f"{name}{option} {line}"


def heading(title: str, text: str) -> None:
    """Begin a stop of the tour."""
    say()
    typer.echo(f"{typer.style(title, bold=True) if is_terminal(sys.stdout) else title}: {visible(text)}")
    sys.stdout.flush()


def shell(data: Path, line: str) -> None:
    """Show a command."""
    say(f"  $ {command(data, line)}")
    sys.stdout.flush()


def error(text: str) -> None:
    """Show an error as `bond` prints it."""
    for line in text.split("\n"):
        typer.echo(f"  {visible(line)}")
    sys.stdout.flush()
