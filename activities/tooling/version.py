"""Asking a tool for its version."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from typing import Final

from bondstone.base.errors import ToolUnavailable

ANSWER_SECONDS: Final = 20
"""A cold Terraform may take seconds to say its version."""


async def first_line(command: Sequence[str]) -> str:
    """The first line that a command prints.

    Args:
        command: The program and its arguments.

    Raises:
        ToolUnavailable: when it cannot be run, prints nothing, or is silent for `ANSWER_SECONDS`.
    """
    try:
        return await asyncio.wait_for(_run(command), ANSWER_SECONDS)
    except (OSError, TimeoutError) as error:
        reason = str(error) or f"no answer in {ANSWER_SECONDS} s"
        raise ToolUnavailable(f"{command[0]} does not say its version: {reason}") from error


async def _run(command: Sequence[str]) -> str:
    # Standard input stays open: its end would tell the shim that this worker died.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={**os.environ, "CHECKPOINT_DISABLE": "1"}
    )
    try:
        output = await process.stdout.read() if process.stdout else b""
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    line = output.decode(errors="replace").partition("\n")[0].strip()
    if not line:
        raise ToolUnavailable(f"{command[0]} does not say its version: exit status {process.returncode}")
    return line
