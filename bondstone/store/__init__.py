"""What must be kept: objects, state, secrets, the ledger."""

from __future__ import annotations

from bondstone.store.store import Store

__all__ = ["Store"]
