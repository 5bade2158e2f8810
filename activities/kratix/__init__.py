"""The executor `kratix`: pipelines of Kratix promises, and what they write, applied to a cluster."""

from __future__ import annotations

from bondstone.activities.kratix.executor import KratixExecutor

__all__ = ["KratixExecutor"]
