"""The entry point of the `bond` command: shells that complete a line are answered before anything is imported."""

from __future__ import annotations

import os
from typing import NoReturn


def run() -> NoReturn:
    """Run `bond` as a process of its own."""
    if completed_shell := os.environ.get("_BOND_COMPLETE", ""):
        from bondstone.cli.shell import complete  # noqa: PLC0415 - only for shells

        if (offered := complete(completed_shell)) is not None:
            print(offered, flush=True)  # noqa: T201 - a shell reads it
            raise SystemExit(0)
    from bondstone.cli.app import run as run_command  # noqa: PLC0415 - a quarter of a second

    run_command()


if __name__ == "__main__":
    run()
