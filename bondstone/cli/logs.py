"""Step logs as people read them: what has been printed so far, or as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bondstone.terminal.output import note, say

if TYPE_CHECKING:
    from bondstone.client import Bondstone, Operation


async def show_logs(bond: Bondstone, operation: Operation, *, step: str = "", follow: bool = False) -> None:
    """Print the logs of an operation, each line with its step and verb.

    Raises:
        NotFound: there is no such operation, or no such step.
    """
    empty = True
    async for line in bond.logs.read(operation.id, step=step, follow=follow):
        empty = False
        say(f"{line.step} {line.verb} | {line.text}")
    if empty:
        status = (await operation.get()).status
        note(f"{operation.id} has no log{f' of step {step}' if step else ''}; it is {status}")
