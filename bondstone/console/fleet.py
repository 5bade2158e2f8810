"""The list of services: filtered, sorted and paged on the server, by its address; ticked for a campaign."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from bondstone.api.index.services import SORTS, Entry
from bondstone.api.state import State
from bondstone.client.row_filter import values_filter
from bondstone.console.campaigns.manifest_form import EVERY_SERVICE, OPERATIONS
from bondstone.console.pages import View, counts_of, shown
from bondstone.console.session import Visit

PAGE_SIZE: Final = 100
MAX_LABELS: Final = 8
"""Labels that one list is filtered by."""
MAX_LABEL_CHOICES: Final = 100
"""Labels that are offered, those of most services first."""
COLUMNS: Final = (
    ("id", "service"), ("promise", "revision"), ("phase", "phase"), ("", "health"), ("", "labels"),
    ("changed_at", "changed"),
)  # fmt: skip
"""What each column is sorted by, and its title."""
DESCENDING: Final = "-"
DRIFTED: Final = "found"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list's address says."""

    q: str = ""
    team: str = ""
    promise: str = ""
    phase: str = ""
    health: str = ""
    drift: str = ""
    """`DRIFTED`: those whose last drift check found something"""
    labels: tuple[str, ...] = ()
    """`key=value`; a service must have all of them"""
    where: str = ""
    sort: str = "id"
    """What it is sorted by; with a hyphen before it, the last first"""

    @property
    def by(self) -> str:
        """What it is sorted by."""
        return self.sort.removeprefix(DESCENDING)

    @property
    def descending(self) -> bool:
        """Whether the last comes first."""
        return self.sort.startswith(DESCENDING)

    @property
    def filtered(self) -> bool:
        """Whether it leaves services out."""
        return self != Listing(sort=self.sort)

    def address(self, after: str = "") -> str:
        """As the query of a page's address."""
        fields = [
            ("q", self.q), ("team", self.team), ("promise", self.promise), ("phase", self.phase),
            ("health", self.health), ("drift", self.drift), *(("label", label) for label in self.labels),
            ("where", self.where), ("sort", "" if self.sort == "id" else self.sort), ("after", after),
        ]  # fmt: skip
        return urlencode([(name, value) for name, value in fields if value])

    def sorted_by(self, column: str) -> str:
        """The address sorted by a column; a second time the other way round."""
        descending = column == self.by and not self.descending
        return replace(self, sort=f"{DESCENDING if descending else ''}{column}").address()

    def without(self, label: str) -> str:
        """The address without one of the labels."""
        return replace(self, labels=tuple(each for each in self.labels if each != label)).address()

    def matches(self, entry: Entry) -> bool:
        """Whether a service is in the list, but for `where`."""
        row = entry.row
        return (
            (not self.q or self.q in row.id)
            and (not self.team or row.team == self.team)
            and (not self.promise or row.promise == self.promise)
            and (not self.phase or row.phase == self.phase)
            and (not self.health or row.health == self.health)
            and (not self.drift or row.drift > 0)
            and all(row.labels.get(key) == value for key, value in map(_label, self.labels))
        )

    def expression(self) -> str:
        """The list, but for its promise, as the expression of a campaign's targets."""
        parts = [f"id.contains({json.dumps(self.q)})"] if self.q else []
        parts += [f"{name} == {json.dumps(value)}" for name, value in (("team", self.team), ("phase", self.phase),
                                                                  ("health", self.health))
                  if value]  # fmt: skip
        parts += ["drift > 0"] if self.drift else []
        parts += [f"labels[{json.dumps(key)}] == {json.dumps(value)}" for key, value in map(_label, self.labels)]
        parts += [f"({self.where})"] if self.where else []
        return " && ".join(parts) or EVERY_SERVICE


def listing(
    *,
    q: Annotated[str, Query(max_length=100)] = "",
    team: Annotated[str, Query(max_length=48)] = "",
    promise: Annotated[str, Query(max_length=48)] = "",
    phase: Annotated[str, Query(max_length=48)] = "",
    health: Annotated[str, Query(max_length=48)] = "",
    drift: Annotated[str, Query(max_length=48)] = "",
    label: Annotated[list[str] | None, Query(max_length=MAX_LABELS + 1)] = None,
    where: Annotated[str, Query(max_length=2000)] = "",
    sort: Annotated[str, Query(max_length=20)] = "id",
) -> Listing:
    """What a page's address says; what it does not know is left out."""
    labels = tuple(dict.fromkeys(each for each in label or () if "=" in each))[:MAX_LABELS]
    known = sort if sort.removeprefix(DESCENDING) in SORTS else "id"
    drifted = DRIFTED if drift else ""
    return Listing(q, team, promise, phase, health, drifted, labels, where, known)


@router.get("/services")
async def services(
    visitor: Visit,
    state: State,
    wanted: Annotated[Listing, Depends(listing)],
    after: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """The fleet, and what is done to the services that are ticked."""
    await state.services.ready()
    permitted = visitor.permissions.filter("service.read")
    expression = values_filter(wanted.where)
    ordered = (entry for _, entry in state.services.sorted_by(wanted.by, descending=wanted.descending, after=None))
    visible = [entry for entry in ordered if entry.alive and permitted(entry.target)]
    placed = [
        entry
        for entry in visible
        if wanted.matches(entry) and (not wanted.where or expression(entry.values))
    ]  # fmt: skip
    start = position_after(after, visible, placed)
    rows = [entry.row for entry in placed[start : start + PAGE_SIZE]]
    counts = counts_of(visitor, state)
    more = start + PAGE_SIZE < len(placed)
    view = View(
        "services.html", "/services", rows=rows, total=counts.total, matching=len(placed), wanted=wanted,
        facets=[(name, sorted(values.items()), getattr(wanted, name)) for name, values in
                (("team", counts.teams), ("promise", counts.promises), ("phase", counts.phases),
                 ("health", counts.health), ("drift", {DRIFTED: counts.drifted}))],
        labels=list(label_choices(placed, wanted.labels)), columns=COLUMNS, operations=OPERATIONS,
        next=wanted.address(rows[-1].id) if more else "", first=start + 1, last=start + len(rows),
        campaign=urlencode({"promise": wanted.promise, "where": wanted.expression()}),
        may_run=visitor.permissions.somewhere("campaign.preview"),
    )  # fmt: skip
    return shown(view, visitor)


def position_after(after: str, visible: Sequence[Entry], placed: Sequence[Entry]) -> int:
    """Where a page begins: behind a service, also one that the list has lost since the page before.

    Args:
        after: The last service of the page before; empty on the first page.
        visible: Every service that the visitor may see, in the list's order.
        placed: Those of the list, in the same order.
    """
    passed = 0
    for entry in visible if after else ():
        passed += passed < len(placed) and placed[passed] is entry
        if entry.row.id == after:
            return passed
    return 0


def label_choices(entries: list[Entry], chosen: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The labels that narrow a list down, with how many services each leaves, those of most services first.

    Args:
        entries: Of the list.
        chosen: Labels that it is filtered by already.
    """
    labels = chain.from_iterable(entry.row.labels.items() for entry in entries)
    for (key, value), count in sorted(Counter(labels).most_common(MAX_LABEL_CHOICES)):
        label = f"{key}={value}"
        if label not in chosen:
            yield label, count


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value
