"""Manifests in files, compared with what is there and applied: `bond apply`, `bond diff` and `bond export`.

All of it stands on the nouns of the client, so that it means the same over every transport.

    from bondstone.client.manifests import apply, compare, read_manifests

    manifests = read_manifests([Path("services")])
    comparison = await compare(bond, manifests)
    applied = await apply(bond, comparison)
"""

from __future__ import annotations

from bondstone.client.manifests.applying import apply
from bondstone.client.manifests.comparing import Comparison, compare
from bondstone.client.manifests.entries import Manifests
from bondstone.client.manifests.export import export
from bondstone.client.manifests.files import read_manifests

__all__ = ["Comparison", "Manifests", "apply", "compare", "export", "read_manifests"]
