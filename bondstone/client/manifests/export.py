"""A service as a manifest that `bond apply` takes without a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bondstone.base.redact import MASK
from bondstone.client.manifests.services import is_alive
from bondstone.client.manifests.three_way import MISSING, at, leaves, same, tree
from bondstone.model.promise import API_VERSION
from bondstone.promise.inputs import fill_defaults

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.documents.service import ServiceDocument


async def export(bond: Bondstone, service: str) -> tuple[dict[str, Any], list[str]]:
    """The manifest of a service, and the secrets that it has and that no manifest can hold.

    Inputs that are what they are by default are left out.

    Args:
        bond: The client.
        service: `TEAM/NAME`.

    Raises:
        NotFound: there is no such service.
    """
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    document = await bond.services.get(service)
    if not is_alive(document):
        raise NotFound(
            f"{service} is {document.phase}", hint=f"`bond service history {service}` shows its records"
        )
    standing = document.ahead or document
    promise, _, version = standing.revision.partition("@")
    schema = (await bond.promises.get(promise, version)).input_schema
    return manifest_of(document, promise, version, fill_defaults(schema, {}))


def manifest_of(
    document: ServiceDocument, promise: str, version: str, defaults: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """As `export`, from what was read."""
    inputs = document.ahead.inputs if document.ahead is not None else document.inputs
    applied = document.applied.inputs if document.applied is not None else {}
    written: dict[tuple[str, ...], Any] = {}
    hidden: list[str] = []
    for path, value in leaves(inputs):
        if value == MASK:
            source = at(applied, path)
            if source is MISSING:
                hidden.append(".".join(path))
            else:
                written[path] = source
        elif not same(value, at(defaults, path)):
            written[path] = value
    metadata: dict[str, Any] = {"team": document.team, "name": document.name}
    if document.labels:
        metadata["labels"] = dict(sorted(document.labels.items()))
    spec: dict[str, Any] = {"promise": promise, "version": version}
    if written:
        spec["inputs"] = tree(written)
    return {"apiVersion": API_VERSION, "kind": "Service", "metadata": metadata, "spec": spec}, hidden
