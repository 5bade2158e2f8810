"""The steps of an operation as a drawing: what needs what, how each stands, and how long it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from markupsafe import Markup

from bondstone.client.documents.step import StepDocument
from bondstone.console.rendering import legible, symbol, tone
from bondstone.console.timeline import steady
from bondstone.model.service import StepStatus
from bondstone.terminal.times import duration

PARTS: Final[Mapping[str, str]] = {
    "before": "before", "": "", "after": "after", "removed": "no longer in the revision", "rollback": "roll back",
    "final": "at the end",
}  # fmt: skip
"""Parts of an operation in the order in which they run, with their titles."""

_WIDTH: Final = 188
_HEIGHT: Final = 62
_ACROSS: Final = 40
_DOWN: Final = 14
_TOP: Final = 24
"""Room for the titles of parts, where there are several."""
_NAME_CHARS: Final = 21
_WORDS_CHARS: Final = 28
_UNDECIDED: Final = frozenset({StepStatus.PENDING, StepStatus.BLOCKED, StepStatus.SKIPPED, StepStatus.DEFERRED})

Place = tuple[int, int]
"""Column and row."""


@dataclass(frozen=True, slots=True)
class _Node:
    step: StepDocument
    place: Place

    @property
    def left(self) -> int:
        return self.place[0] * (_WIDTH + _ACROSS)

    def top(self, head: int) -> int:
        return head + self.place[1] * (_HEIGHT + _DOWN)


def step_graph(
    steps: Sequence[StepDocument], needs: Mapping[str, Sequence[str]], now: datetime, *, backwards: bool = False
) -> Markup:
    """The drawing: a column for steps that need nothing, then one for those that need these, and so on.

    Args:
        steps: Of an operation.
        needs: By step, the steps that it needs; steps of another part of the operation do not count.
        now: The reader's time.
        backwards: A step comes before those it needs, as when a service is taken down.
    """
    if not steps:
        return Markup()
    nodes: list[_Node] = []
    titles: list[tuple[str, int]] = []
    edges: list[tuple[_Node, _Node]] = []
    column = 0
    ordered = sorted(steps, key=lambda step: list(PARTS).index(step.part))
    for part, members in groupby(ordered, key=lambda step: step.part):
        those = list(members)
        before = _before(those, needs, backwards=backwards)
        placed = {step.id: _Node(step, place) for step, place in _placed(those, before, column)}
        titles.append((PARTS[part], column))
        nodes += placed.values()
        edges += [(placed[need], node) for node in placed.values() for need in before[node.step.id]]
        column = max(node.place[0] for node in placed.values()) + 1
    head = _TOP if any(title for title, _ in titles) else 0
    width = column * (_WIDTH + _ACROSS) - _ACROSS
    height = head + (max(node.place[1] for node in nodes) + 1) * (_HEIGHT + _DOWN) - _DOWN
    body = [Markup('<text class="soft" x="{}" y="14">{}</text>').format(at * (_WIDTH + _ACROSS), title)
            for title, at in titles if title]  # fmt: skip
    body += [_edge(start, end, head) for start, end in edges]
    body += [_box(node, head, now) for node in nodes]
    return legible(
        Markup(
            '<svg class="timeline steps" viewBox="0 -2 {w} {h}" width="{w}" height="{h}" role="group" '
            'aria-label="{words}">{body}</svg>'
        ).format(w=width, h=height + 4, words=_words(nodes, edges), body=Markup().join(body))
    )


def lasted(step: StepDocument, now: datetime) -> str:
    """How long a step took, or has been running; empty before it begins.

    Args:
        step: The step.
        now: The reader's time; what runs is told as of a round time, so that a page does not change all the time.
    """
    if step.started_at is None:
        return ""
    end = step.finished_at or max(steady(now), step.started_at)
    return duration(end - step.started_at)


# Helpers ---------------------------------------------------------------------------------------------------------


def _before(
    steps: Sequence[StepDocument], needs: Mapping[str, Sequence[str]], *, backwards: bool
) -> dict[str, list[str]]:
    """By step, those that it comes after."""
    ids = [step.id for step in steps]
    before: dict[str, list[str]] = {each: [] for each in ids}
    for each in ids:
        for need in needs.get(each, ()):
            if need in before and need != each:
                before[need if backwards else each].append(each if backwards else need)
    return before


def _placed(
    steps: Sequence[StepDocument], before: Mapping[str, Sequence[str]], first: int
) -> Iterator[tuple[StepDocument, Place]]:
    """Each step with its place: one column after the last of those that it comes after."""
    columns: dict[str, int] = {}
    left = [step.id for step in steps]
    while left:
        ready = [each for each in left if all(need in columns for need in before[each])] or left[:1]
        for each in ready:
            columns[each] = max((columns[need] + 1 for need in before[each] if need in columns), default=0)
        left = [each for each in left if each not in columns]
    rows: dict[int, int] = {}
    for step in steps:
        column = columns[step.id]
        rows[column] = rows.get(column, -1) + 1
        yield step, (first + column, rows[column])


def _box(node: _Node, head: int, now: datetime) -> Markup:
    step, x, y = node.step, node.left, node.top(head)
    took = lasted(step, now)
    words = f"{step.status} {took}".strip()
    changes = "" if step.status in _UNDECIDED else str(step.changes)
    below = ", ".join(part for part in (step.executor, changes) if part)
    kind = "idle" if step.status is StepStatus.PENDING else tone(step.status)
    label = f"{step.id}: {words}, {below}"
    return Markup(
        '<a href="#plan-{id}" aria-label="{label}"><title>{label}</title>'
        '<rect class="box {tone}" x="{x}" y="{y}" width="{w}" height="{h}" rx="8"/>'
        '<rect class="edge {tone}" x="{x}" y="{stripe}" width="4" height="{long}"/>'
        '<text class="name" x="{text}" y="{first}">{name}</text>'
        '<text class="state {tone}" x="{text}" y="{second}">{symbol} {words}</text>'
        '<text class="soft" x="{text}" y="{third}">{below}</text></a>'
    ).format(
        id=step.id, label=label, tone=kind, x=x, y=y, w=_WIDTH, h=_HEIGHT, stripe=y + 8,
        long=_HEIGHT - 16, text=x + 14, first=y + 20, second=y + 37, third=y + 53, name=_cut(step.id, _NAME_CHARS),
        symbol="○" if kind == "idle" else symbol(step.status), words=_cut(words, _WORDS_CHARS),
        below=_cut(below, _WORDS_CHARS),
    )  # fmt: skip


def _edge(start: _Node, end: _Node, head: int) -> Markup:
    x1, y1 = start.left + _WIDTH, start.top(head) + _HEIGHT // 2
    x2, y2 = end.left, end.top(head) + _HEIGHT // 2
    bend = (x1 + x2) // 2
    return Markup('<path class="needs" d="M{} {}C{} {} {} {} {} {}M{} {}l-7 -4v8z"/>').format(
        x1, y1, bend, y1, bend, y2, x2 - 6, y2, x2, y2
    )


def _words(nodes: Iterable[_Node], edges: Sequence[tuple[_Node, _Node]]) -> str:
    parts = []
    for node in nodes:
        after = [start.step.id for start, end in edges if end is node]
        parts.append(f"{node.step.id} {node.step.status}" + (f" after {' and '.join(after)}" if after else ""))
    return "Steps: " + "; ".join(parts)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
