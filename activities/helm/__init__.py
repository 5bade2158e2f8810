"""The adapter to Helm. Importing it costs next to nothing: what works is imported by the call that needs it."""

from bondstone.activities.helm.executor import HelmExecutor

__all__ = ["HelmExecutor"]
