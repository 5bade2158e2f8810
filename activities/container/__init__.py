"""The adapter to containers. Importing it costs next to nothing: what works is imported by who needs it."""

from bondstone.activities.container.executor import ContainerExecutor

__all__ = ["ContainerExecutor"]
