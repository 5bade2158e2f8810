"""Secrets have no place in a campaign: its document is kept, and is in the history of every target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bondstone.campaign.document import Flaw
from bondstone.promise.schema import secret_paths
from bondstone.store import Store

MAX_VERSIONS_CHECKED: Final = 50
"""Versions whose schemas are asked whether an input of an update is a secret."""


async def secret_inputs(
    store: Store, promise: str, inputs: Mapping[str, Any], versions: Iterable[str] | None = None
) -> list[Flaw]:
    """Each input of a campaign or strategy that some version of the promise keeps secret.

    Args:
        store: Where the promises are.
        promise: What the targets are made of.
        inputs: What the campaign would change.
        versions: Those that the targets stand on; default: the newest ones that were published.
    """
    if not inputs:
        return []
    if versions is None:
        versions = [info.ref.version for info in (await store.revisions.list(promise))[:MAX_VERSIONS_CHECKED]]
    paths: dict[str, None] = {}
    for version in sorted(versions)[:MAX_VERSIONS_CHECKED]:
        info = await store.revisions.get(promise, version)
        secrets = secret_paths(await store.revisions.promise(info.ref))
        paths.update(dict.fromkeys(path for path in sorted(secrets) if _holds(inputs, path)))
    return [
        Flaw(
            ("spec", "inputs", path.split(".")[0]),
            f"{path} is a secret, which every target and this file would share",
            "leave it out, and use `bond service update --secret` for each service",
        )
        for path in paths
    ]


def _holds(inputs: Mapping[str, Any], path: str) -> bool:
    value: Any = inputs
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return value is not None
