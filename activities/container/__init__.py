"""The adapter to containers. Importing it costs nothing: the collector of each Job is a module below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bondstone.activities.container.executor import ContainerExecutor

__all__ = ["ContainerExecutor"]


def __getattr__(name: str) -> Any:
    """Import the executor when it is named, with the models of its section."""
    if name != "ContainerExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bondstone.activities.container.executor import ContainerExecutor as Executor  # noqa: PLC0415

    return Executor
