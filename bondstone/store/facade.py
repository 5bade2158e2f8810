"""The stores of one platform, opened together."""

from __future__ import annotations


class Store:
    """Everything that is kept, under one object-store URL and one key ring."""
