"""What a Kratix promise does once for the platform, as the draft of a promise of its own."""

from __future__ import annotations

from bondstone.activities.kratix.scaffold import platform_draft as draft

__all__ = ["draft"]
