"""What is kept of a step: its inventory in the state log, and its plans. Both are kept sealed. Pure."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from bondstone.activities.clusters.manifests import Ref
from bondstone.base.canonical import canonical
from bondstone.base.errors import ObjectCorrupt
from bondstone.base.models import Wire

D = TypeVar("D", "Inventory", "KubernetesPlan")


class Named(Wire):
    """An object by what a cluster finds it by."""

    api_version: str
    kind: str
    namespace: str = ""
    name: str
    uid: str = ""
    """Which of the objects that have had this name; empty when it is not known (yet)."""

    @property
    def ref(self) -> Ref:
        """The object."""
        return Ref(self.api_version, self.kind, self.namespace, self.name)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same for each version of its API group."""
        return self.ref.key


class Held(Named):
    """An object of the inventory."""

    manifest: dict[str, Any] = {}
    """As it was last applied."""


class LastApply(Wire):
    """The apply that came last, done or not: what tells an attempt that it continues its own work."""

    plan: str
    """Digest of the artefact."""
    base: int
    """Position of the log that the plan was made at."""
    done: bool = False


class Inventory(Wire):
    """What a step has applied, or is about to: the state of the step."""

    format: Literal["bondstone-kubernetes 1"] = "bondstone-kubernetes 1"
    cluster: str = ""
    namespace: str = ""
    objects: tuple[Held, ...] = ()
    run: LastApply | None = None
    outputs: str = ""
    """Digest of what the section said of outputs and waits when it was last applied."""

    @property
    def by_key(self) -> dict[tuple[str, str, str, str], Held]:
        """Its objects."""
        return {item.key: item for item in self.objects}

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


Action = Literal["create", "update", "replace", "none"]


class Item(Named):
    """An object that a plan is about; its uid is that of the live one when the plan was made."""

    action: Action
    manifest: dict[str, Any]
    resource_version: str = ""
    """Of the live one when the plan was made."""
    difference: str = ""
    """Digest of what would change, values as they are."""
    force: bool = False
    """Fields of others are taken: the section says so, or they were this step's before."""


class KubernetesPlan(Wire):
    """The plan artefact."""

    format: Literal["bondstone-kubernetes 1"] = "bondstone-kubernetes 1"
    destroy: bool = False
    cluster: str
    namespace: str
    items: tuple[Item, ...] = ()
    """In the order in which they are applied."""
    removed: tuple[Named, ...] = ()
    """What is taken away, in that order."""
    kept: tuple[Held, ...] = ()
    """What stays in the inventory although nothing declares it (`prune: false`)."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self.removed and all(item.action == "none" for item in self.items)

    def pack(self) -> bytes:
        """As bytes."""
        return canonical(self.model_dump(mode="json"))


def read_inventory(payload: bytes | None) -> Inventory:
    """What the state log holds; empty when it holds nothing.

    Raises:
        ObjectCorrupt: when it is not what this executor wrote.
    """
    if payload is None:
        return Inventory()
    try:
        return _read(Inventory, payload)
    except ValueError:
        raise ObjectCorrupt(
            "the step's state is not one of the kubernetes executor",
            hint="did another kind of step have this id before? Give the kubernetes step an id of its own",
        ) from None


def inventory_addresses(payload: bytes) -> tuple[str, ...] | None:
    """The objects of an inventory; None when some bytes are none."""
    try:
        return tuple(item.ref.address for item in _read(Inventory, payload).objects)
    except ValueError:
        return None


def read_plan(artefact: bytes) -> KubernetesPlan:
    """Take an artefact apart.

    Raises:
        ObjectCorrupt: when it was not written by this executor.
    """
    try:
        return _read(KubernetesPlan, artefact)
    except ValueError:
        raise ObjectCorrupt("the plan artefact is not one of the kubernetes executor", hint="plan again") from None


def _read(model: type[D], data: bytes) -> D:
    document = model.model_validate_json(data)
    if "format" not in document.model_fields_set:
        raise ValueError("it has no `format`, so its content is unknown")
    return document
