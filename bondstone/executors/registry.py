"""Which executors are installed, found by entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

from bondstone.base.errors import InvalidInput
from bondstone.base.names import EXECUTORS_GROUP
from bondstone.executors.protocol import Executor


def load_executors() -> dict[str, Executor]:
    """Every installed executor by kind, executors by entry point.

    Raises:
        InvalidInput: when two claim one kind or one does not load; it names the distribution at fault.
    """
    executors: dict[str, Executor] = {}
    for entry in entry_points(group=EXECUTORS_GROUP):
        try:
            executor: Executor = entry.load()()
        except Exception as error:
            raise InvalidInput(
                f"executor {entry.name!r} does not load: {error}",
                where=entry.value,
                hint="reinstall or remove the package that registers it",
            ) from error
        if executor.kind in executors:
            raise InvalidInput(f"two executors claim the kind {executor.kind!r}", where=entry.value)
        executors[executor.kind] = executor
    return executors
