"""A Terraform state file as people bring one: what it is, and whether it may take another one's place. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from bondstone.base.errors import InvalidInput, Refused

FORMAT: Final = 4
"""The `version` of every state since Terraform 0.12; OpenTofu writes it too."""


@dataclass(frozen=True, slots=True)
class ParsedState:
    """One state."""

    raw: bytes = field(repr=False)
    lineage: str
    """Made once when a state begins; states of different lineages have nothing to do with each other."""
    serial: int
    """Grows by one with each write."""
    addresses: tuple[str, ...]
    """The managed objects in it."""


def read_state_file(raw: bytes, *, where: str = "") -> ParsedState:
    """Read a state.

    Raises:
        InvalidInput: when it is not a whole Terraform state of today's format.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise _not_a_state("it is not JSON", where) from None
    if not isinstance(content, dict) or "version" not in content:
        raise _not_a_state("it has no `version`", where)
    if content["version"] != FORMAT:
        raise _not_a_state(f"its format is {str(content['version'])[:20]}, not {FORMAT}", where)
    lineage, serial, resources = content.get("lineage"), content.get("serial"), content.get("resources", [])
    if not isinstance(lineage, str) or not lineage:
        raise _not_a_state("it has no `lineage`", where)
    if not isinstance(serial, int) or isinstance(serial, bool) or serial < 0:
        raise _not_a_state("it has no `serial`", where)
    if not isinstance(resources, list):
        raise _not_a_state("its `resources` are not a list", where)
    return ParsedState(raw=raw, lineage=lineage, serial=serial, addresses=tuple(_addresses(resources)))


def check_successor(
    new: ParsedState,
    current: ParsedState | None,
    *,
    force: bool = False,
    force_lineage: bool = False,
    where: str = "",
) -> None:
    """Refuse a state that would take the place of one that it does not continue.

    Args:
        new: The state to be written.
        current: The state that is there, if one is.
        force: Take an older or equal serial too.
        force_lineage: Take another lineage too.
        where: Whose state, for errors.

    Raises:
        Refused: in words why.
    """
    if current is None:
        return
    if new.lineage != current.lineage and not force_lineage:
        raise Refused(
            f"the state is of lineage {new.lineage[:36]}, the stored one has {current.lineage[:36]}",
            where=where,
            hint="it is the state of something else; to put it in place all the same, say --force-lineage",
        )
    if new.lineage == current.lineage and new.serial <= current.serial and not force:
        older = "older than" if new.serial < current.serial else "as old as, and not the same as,"
        raise Refused(
            f"the state (serial {new.serial}) is {older} the one that is there (serial {current.serial})",
            where=where,
            hint="start from `bond state pull`; to go back to an older state on purpose, say --force",
        )


def _not_a_state(why: str, where: str) -> InvalidInput:
    return InvalidInput(
        f"this is not a Terraform state: {why}",
        where=where,
        hint="`terraform state pull` and `bond state pull` write one; a plan or `show -json` is something else",
    )


def _addresses(resources: list[Any]) -> Iterator[str]:
    for item in resources:
        if not isinstance(item, dict) or item.get("mode") != "managed":
            continue
        module = f"{item['module']}." if item.get("module") else ""
        base = f"{module}{item.get('type', '')}.{item.get('name', '')}"
        for instance in item.get("instances") or ():
            key = instance.get("index_key") if isinstance(instance, dict) else None
            yield base if key is None else f"{base}[{json.dumps(key)}]"
